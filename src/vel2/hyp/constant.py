"""Registers of vEL2 that are constant: what the machine is, and what it does not have.

A write to them is ignored, or there is none.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.state import Vcpu
from vel2.lang import mrs, resident, u64

__all__ = ("ignore", "no_refusal", "rmr", "rvbar", "zero")


@resident
def no_refusal(vcpu: Vcpu) -> u64:
    """Let an access pass."""
    return 0


@resident
def zero(vcpu: Vcpu) -> u64:
    """Read a register of which no bit is implemented."""
    return 0


@resident
def ignore(vcpu: Vcpu, value: u64) -> None:
    """Write a register of which no bit can change."""


@resident
def rmr(vcpu: Vcpu) -> u64:
    """Read RMR_EL2. A warm reset is not offered, as on QEMU's machine: AA64 is all that it has."""
    return sr.RMR_EL2.AA64.mask


@resident
def rvbar(vcpu: Vcpu) -> u64:
    """Read RVBAR_EL2: EL2 is the highest Exception level that L1 sees, whatever the machine has."""
    if sr.ID_AA64PFR0_EL1.EL3.get(mrs(sr.ID_AA64PFR0_EL1)) != 0:
        return 0
    return mrs(sr.RVBAR_EL2)

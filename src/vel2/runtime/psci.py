"""PSCI for its callers: the functions that our programs call, and the instruction that calls them.

The calling convention is SMCCC's (Arm DEN0028); `arch.psci` has the function identifiers.
"""

from enum import Enum

from vel2.arch.psci import SYSTEM_OFF
from vel2.lang import Assembler, extern, u64

__all__ = ("Conduit", "call_stub", "firmware_call", "firmware_call_3", "power_off")


class Conduit(Enum):
    """The instruction that reaches firmware from the program's Exception level."""

    HVC = "hvc"
    """At EL1 under a hypervisor."""
    SMC = "smc"
    """At EL2."""

    def emit(self, a: Assembler) -> None:
        """Emit the instruction."""
        (a.hvc if self is Conduit.HVC else a.smc)(0)


@extern("firmware_call")
def firmware_call(function: u64) -> u64:
    """Make an SMCCC call without arguments."""
    raise NotImplementedError("a call needs firmware, or a hypervisor")


@extern("firmware_call_3")
def firmware_call_3(function: u64, first: u64, second: u64, third: u64) -> u64:
    """Make an SMCCC call with three arguments."""
    raise NotImplementedError("a call needs firmware, or a hypervisor")


def call_stub(a: Assembler, conduit: Conduit) -> None:
    """Emit `firmware_call` and `firmware_call_3`: the arguments are where SMCCC wants them."""
    a.label("firmware_call")
    a.label("firmware_call_3")
    conduit.emit(a)
    a.ret()


def power_off(a: Assembler, conduit: Conduit) -> None:
    """Emit `power_off`, which ends the machine and does not return."""
    a.label("power_off")
    a.mov_imm(0, SYSTEM_OFF)
    conduit.emit(a)
    a.label(".halt")
    a.wfi()
    a.b(".halt")

"""AArch32 at EL0 of vEL1: hidden from L1, but entered anyway where the machine has it.

L1's identification registers say that the machine has AArch64 only, so an ERET to AArch32 should be
an illegal exception return. At vEL2 it is one, because L0 sees every ERET. L0 sees none of vEL1's
ERETs, short of trapping all of them, and hardware with AArch32 at EL0 enters it. What runs there
then runs and traps as on that hardware. EL1 is AArch64 (HCR_EL2.RW), so exceptions to EL2 take the
vectors for AArch64.

A trapped MCR, MRC, MCRR or MRRC is an access to a register that AArch64 has too, and L1's controls
cover both names. If one of them asks, the trap is forwarded unchanged. The rest L0 traps for
itself: those accesses are UNDEFINED, because they belong to a hidden feature.

Arm ARM: AArch32.CheckSystemAccess, "Instructions with register access reported by EC 0x03 to 0x0C".
"""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.esr import ISS_CP_32, ISS_CP_64
from vel2.hyp import finegrained, monitors, routing
from vel2.hyp.answer import forward, undefined
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Vcpu
from vel2.lang import inline, resident, u64

__all__ = ("debug", "pair", "single")

EL0_REGISTERS = Encoding(3, 3, 0, 0, 0).trap_key
"""The registers of coprocessor 15 that EL0 may use have op0=3, op1=3 in AArch64, and the same CRn,
CRm and op2."""
OP2_LSB = Encoding(0, 0, 0, 0, 1).trap_key.bit_length() - 1
CRN_LSB = Encoding(0, 0, 1, 0, 0).trap_key.bit_length() - 1
IMPDEF_CRN = 11
"""Of AArch64's IMPLEMENTATION DEFINED registers (HCR_EL2.TIDCP)."""
IMPDEF_C9 = 0b1_1110_0111
IMPDEF_C10 = 0b1_0001_0011
"""CRm of AArch32's in CRn 9 and 10, by bit; CRn 11 is as in AArch64."""

PAIRS = (
    (sr.CNTPCT_EL0, 0, 14),
    (sr.CNTVCT_EL0, 1, 14),
    (sr.CNTP_CVAL_EL0, 2, 14),
    (sr.CNTV_CVAL_EL0, 3, 14),
    (sr.CNTPCTSS_EL0, 8, 14),
    (sr.CNTVCTSS_EL0, 9, 14),
    (sr.PMCCNTR_EL0, 0, 9),
)
"""AArch64's name for what MCRR and MRRC of coprocessor 15 reach, by Opc1 and CRm."""
NO_PAIR = 0
TRACE = 1
"""Opc1 of the trace registers in coprocessor 14."""


@inline
def key_of_single(iss: u64) -> u64:
    """Give the trap key of AArch64's name for an MCR or MRC of coprocessor 15 at EL0."""
    crn = ISS_CP_32.CRn.get(iss)
    crm = ISS_CP_32.CRm.get(iss)
    if (crn == 9 and IMPDEF_C9 >> crm & 1 != 0) or (crn == 10 and IMPDEF_C10 >> crm & 1 != 0):
        crn = IMPDEF_CRN
    return u64(EL0_REGISTERS | ISS_CP_32.Opc2.get(iss) << OP2_LSB | crn << CRN_LSB | crm)


@resident
def key_of_pair(iss: u64) -> u64:
    """Give the trap key of AArch64's name for an MCRR or MRRC of coprocessor 15, or `NO_PAIR`."""
    for register, opc1, crm in PAIRS:
        if ISS_CP_64.Opc1.get(iss) == opc1 and ISS_CP_64.CRm.get(iss) == crm:
            return register.trap_key
    return NO_PAIR


@resident
def by_key(vcpu: Vcpu, key: u64) -> Outcome:
    """Forward an access that one of L1's controls traps; UNDEFINED if none does."""
    is_read = vcpu.trap.esr & ISS_CP_32.Direction.mask != 0
    control = routing.control_of(key)
    if control != routing.HIDDEN and (
        finegrained.asks(vcpu, key, is_read)
        or routing.asks(vcpu, control, is_read)
        or monitors.is_reserved(vcpu, key)
    ):
        return forward(vcpu)
    return undefined(vcpu)


@resident
def single(vcpu: Vcpu) -> Outcome:
    """Handle EC 0x03, MCR or MRC of coprocessor 15."""
    return by_key(vcpu, key_of_single(vcpu.trap.esr))


@resident
def pair(vcpu: Vcpu) -> Outcome:
    """Handle EC 0x04, MCRR or MRRC of coprocessor 15."""
    return by_key(vcpu, key_of_pair(vcpu.trap.esr))


@resident
def debug(vcpu: Vcpu) -> Outcome:
    """Handle EC 0x05, MCR or MRC of coprocessor 14: L0 itself traps trace alone (CPTR_EL2.TTA)."""
    if ISS_CP_32.Opc1.get(vcpu.trap.esr) == TRACE:
        return undefined(vcpu)
    return forward(vcpu)

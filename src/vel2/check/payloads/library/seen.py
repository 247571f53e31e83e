"""Print what an exception brought, for comparing two machines."""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ESR_ELx
from vel2.arch.pstate import SPSR_ELx
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.assembly import HVC_EL1_VECTOR
from vel2.check.payloads.library.checks import (
    put,
    put_byte,
    put_field,
    put_name,
)
from vel2.check.payloads.library.guest import HVC_IMMEDIATE
from vel2.lang import bytes_address, inline, mrs, resident, u64
from vel2.runtime.console import NEWLINE

VECTOR_NUMBER = 15
ALLINT = SPSR_ELx.ALLINT.mask
"""FEAT_NMI may be hidden from L1 while hardware has it: then only hardware sets this bit."""
UNKNOWN_IF_ILLEGAL = SPSR_ELx.compose(SSBS=1, BTYPE=3, UAO=1, DIT=1, TCO=1, PAN=1)
"""UNKNOWN after an illegal return (SetPSTATEFromPSR); PAN is not, but QEMU keeps the old one."""
SAME_KIND = 3
SYNCHRONOUS = 0
ABORTS = (EC.IABT_LOWER, EC.IABT_SAME, EC.DABT_LOWER, EC.DABT_SAME)
WITH_FAR = (*ABORTS, EC.WATCHPOINT_LOWER, EC.WATCHPOINT_SAME)
ABORTS_FROM_LOWER = (EC.IABT_LOWER, EC.DABT_LOWER)
FSC_TYPE = 0b11_1100


@resident
def saw(state: State, name: u64, subject: u64) -> None:
    """Print the last exception: what EL2 got, and, if L2's EL1 reported one, what EL1 got."""
    put(bytes_address(b"saw \0"))
    put_name(name, subject)
    put_field(bytes_address(b"vector\0"), state.vector)
    ec = ESR_ELx.EC.get(state.esr)
    if state.vector & SAME_KIND == SYNCHRONOUS:
        put_field(bytes_address(b"esr\0"), state.esr)
    put_field(bytes_address(b"elr\0"), state.elr)
    unknown = u64(ALLINT)
    if state.vector & SAME_KIND == SYNCHRONOUS and ec == EC.ILLEGAL_STATE:
        unknown = ALLINT | UNKNOWN_IF_ILLEGAL
    put_field(bytes_address(b"spsr\0"), state.spsr & ~unknown)
    put_field(bytes_address(b"pstate\0"), state.pstate & ~unknown)
    if ec in WITH_FAR:
        put_field(bytes_address(b"far\0"), state.far)
    if ec in ABORTS_FROM_LOWER and is_stage2_fault(state.esr):
        put_field(bytes_address(b"hpfar\0"), mrs(sr.HPFAR_EL2))
    if ec == EC.HVC64 and state.esr & HVC_IMMEDIATE & ~VECTOR_NUMBER == HVC_EL1_VECTOR:
        saw_by_el1()
    put_byte(NEWLINE)


@resident
def saw_by_el1() -> None:
    """Print what L2's EL1 got."""
    esr = mrs(sr.ESR_EL12)
    put_field(bytes_address(b"esr_el1\0"), esr)
    put_field(bytes_address(b"elr_el1\0"), mrs(sr.ELR_EL12))
    put_field(bytes_address(b"spsr_el1\0"), mrs(sr.SPSR_EL12) & ~ALLINT)
    if ESR_ELx.EC.get(esr) in WITH_FAR:
        put_field(bytes_address(b"far_el1\0"), mrs(sr.FAR_EL12))


@inline
def is_stage2_fault(esr: u64) -> bool:
    """Whether an abort's status is one of those that come with HPFAR_EL2."""
    return esr & FSC_TYPE <= FSC.PERMISSION


@resident
def say(name: u64, subject: u64, field: u64, value: u64) -> None:
    """Print one value, for comparing machines."""
    put(bytes_address(b"saw \0"))
    put_name(name, subject)
    put_field(field, value)
    put_byte(NEWLINE)

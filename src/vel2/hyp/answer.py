"""The answers to a trap that stand for themselves, and the constructors of what they ask for.

An exception record is made here and nowhere else: by `give`, `give_with_far` and
`give_stage2_fault` for a synchronous exception, by `interrupt` and `serror` for the others. Each
handler returns what they return. Arm ARM: ExceptionSyndrome, AArch64.ReportException.
"""

from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import SERROR, SYNC, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.state import Vcpu
from vel2.lang import inline, resident, u8, u32, u64

__all__ = (
    "UNDEFINED_SYNDROME",
    "forward",
    "forward_with_far",
    "give",
    "give_stage2_fault",
    "give_with_far",
    "inject",
    "inject_with_far",
    "interrupt",
    "return_to",
    "serror",
    "undefined",
)

UNDEFINED_SYNDROME = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)


@inline
def give(vcpu: Vcpu, target: u8, syndrome: u64) -> Outcome:
    """Give a target a synchronous exception that has no fault address."""
    exception = vcpu.exception
    exception.target = target
    exception.kind = SYNC
    exception.has_syndrome = 1
    exception.has_vaddress = 0
    exception.has_ipaddress = 0
    exception.syndrome = syndrome
    return Outcome.EXCEPTION


@inline
def give_with_far(vcpu: Vcpu, target: u8, syndrome: u64, vaddress: u64) -> Outcome:
    """Give a target a synchronous exception with a fault address."""
    exception = vcpu.exception
    exception.target = target
    exception.kind = SYNC
    exception.has_syndrome = 1
    exception.has_vaddress = 1
    exception.has_ipaddress = 0
    exception.syndrome = syndrome
    exception.vaddress = vaddress
    return Outcome.EXCEPTION


@inline
def give_stage2_fault(vcpu: Vcpu, syndrome: u64, vaddress: u64, ipaddress: u64) -> Outcome:
    """Give vEL2 a fault of its stage 2."""
    outcome = give_with_far(vcpu, TO_VEL2, syndrome, vaddress)
    vcpu.exception.has_ipaddress = 1
    vcpu.exception.ipaddress = ipaddress
    return outcome


@inline
def interrupt(vcpu: Vcpu, kind: u32) -> Outcome:
    """Give vEL2 an IRQ or FIQ, which writes no syndrome."""
    exception = vcpu.exception
    exception.target = TO_VEL2
    exception.kind = kind
    exception.has_syndrome = 0
    exception.has_vaddress = 0
    exception.has_ipaddress = 0
    return Outcome.EXCEPTION


@inline
def serror(vcpu: Vcpu, target: u8, syndrome: u64) -> Outcome:
    """Give a target an SError."""
    outcome = give(vcpu, target, syndrome)
    vcpu.exception.kind = SERROR
    return outcome


@inline
def return_to(vcpu: Vcpu, address: u64, spsr: u64) -> Outcome:
    """Return from vEL2 to an address, with a PSTATE as hardware is to have it."""
    vcpu.returning.address = address
    vcpu.returning.spsr = spsr
    return Outcome.RETURN


@resident
def forward(vcpu: Vcpu) -> Outcome:
    """Forward a trap of vEL1 with hardware's syndrome."""
    return give(vcpu, TO_VEL2, vcpu.trap.esr)


@resident
def inject(vcpu: Vcpu) -> Outcome:
    """Give an exception to the EL1 that runs, with hardware's syndrome."""
    return give(vcpu, TO_RUNNING_EL1, vcpu.trap.esr)


@resident
def forward_with_far(vcpu: Vcpu) -> Outcome:
    """Forward an exception of vEL1 with hardware's syndrome and fault address."""
    return give_with_far(vcpu, TO_VEL2, vcpu.trap.esr, vcpu.trap.far)


@resident
def inject_with_far(vcpu: Vcpu) -> Outcome:
    """Give an exception to the EL1 that runs, with hardware's syndrome and fault address."""
    return give_with_far(vcpu, TO_RUNNING_EL1, vcpu.trap.esr, vcpu.trap.far)


@resident
def undefined(vcpu: Vcpu) -> Outcome:
    """Answer an instruction that is UNDEFINED for the guest."""
    return give(vcpu, TO_RUNNING_EL1, UNDEFINED_SYNDROME)

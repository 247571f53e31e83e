"""The plain answers to a trap: forward it as it is, or say that it is UNDEFINED."""

from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Vcpu
from vel2.lang import resident, u64

UNDEFINED_SYNDROME = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)


@resident
def forward(vcpu: Vcpu) -> Outcome:
    """Forward a trap of vEL1 with hardware's syndrome."""
    vcpu.syndrome = vcpu.esr
    vcpu.syndrome_has_far = 0
    return Outcome.FORWARD


@resident
def inject(vcpu: Vcpu) -> Outcome:
    """Give an exception to the EL1 that runs, with hardware's syndrome."""
    vcpu.syndrome = vcpu.esr
    vcpu.syndrome_has_far = 0
    return Outcome.INJECT


@resident
def forward_with_far(vcpu: Vcpu) -> Outcome:
    """Forward an exception of vEL1 with hardware's syndrome and fault address."""
    vcpu.syndrome = vcpu.esr
    vcpu.syndrome_far = vcpu.far
    vcpu.syndrome_has_far = 1
    return Outcome.FORWARD


@resident
def inject_with_far(vcpu: Vcpu) -> Outcome:
    """Give an exception to the EL1 that runs, with hardware's syndrome and fault address."""
    vcpu.syndrome = vcpu.esr
    vcpu.syndrome_far = vcpu.far
    vcpu.syndrome_has_far = 1
    return Outcome.INJECT


@resident
def undefined(vcpu: Vcpu) -> Outcome:
    """Answer an instruction that is UNDEFINED for the guest."""
    vcpu.syndrome = UNDEFINED_SYNDROME
    vcpu.syndrome_has_far = 0
    return Outcome.INJECT


@resident
def refuse(vcpu: Vcpu, syndrome: u64) -> Outcome:
    """Give the EL1 that runs the exception that an access takes, by its syndrome."""
    vcpu.syndrome = syndrome
    vcpu.syndrome_has_far = 0
    return Outcome.INJECT

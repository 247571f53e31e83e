"""SVE: the vector length controls of vEL2 and vEL1 (FEAT_NV2 only).

While vEL2 runs, hardware's ZCR_EL1 is L1's ZCR_EL2 and hardware's ZCR_EL2 allows everything; while
vEL1 runs, ZCR_EL1 is vEL1's and ZCR_EL2 is L1's. Lazy switching by L1 works as for FP: its CPTR_EL2
traps are in hardware's CPTR_EL2 while vEL1 runs, and what traps is forwarded. L0 itself uses no
vector register.

An access to ZCR_ELx traps like a vector instruction, at EL2 too, so CPTR_EL2.TZ is cleared before.
"""

from vel2.arch import sysregs as sr
from vel2.arch.homes import slot
from vel2.hyp.answer import forward, undefined
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Vcpu, page_of, vm_of
from vel2.lang import inline, isb, mrs, msr, resident

ZCR_SLOT = slot(sr.ZCR_EL1)
ZCR_MAX = sr.ZCR_EL2.LEN.mask
CPTR_OPEN = sr.CPTR_EL2.res1 | sr.CPTR_EL2.compose(TSM=1, TTA=1, TAM=1)


@inline
def load_vel1_length(vcpu: Vcpu) -> None:
    """Change from vEL2's vector length to vEL1's; hardware's CPTR_EL2 is still vEL2's."""
    if vm_of(vcpu).has_sve != 0:
        vcpu.zcr_vel2 = mrs(sr.ZCR_EL1)
        msr(sr.ZCR_EL1, page_of(vcpu).slot[ZCR_SLOT])
        msr(sr.ZCR_EL2, vcpu.zcr_vel2)


@inline
def save_vel1_length(vcpu: Vcpu) -> None:
    """Change from vEL1's vector length to vEL2's."""
    if vm_of(vcpu).has_sve != 0:
        msr(sr.CPTR_EL2, CPTR_OPEN)
        isb()
        page_of(vcpu).slot[ZCR_SLOT] = mrs(sr.ZCR_EL1)
        msr(sr.ZCR_EL1, vcpu.zcr_vel2)
        msr(sr.ZCR_EL2, ZCR_MAX)


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Forward a trapped use of SVE: L1 asked for it. Without SVE in the VM it is UNDEFINED."""
    if vm_of(vcpu).has_sve != 0:
        return forward(vcpu)
    return undefined(vcpu)

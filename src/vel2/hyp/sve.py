"""SVE: the vector length controls of vEL2 and vEL1 (FEAT_NV2, and L1 with FEAT_VHE, only).

While vEL2 runs, hardware's ZCR_EL1 is L1's ZCR_EL2 and hardware's ZCR_EL2 allows everything; while
vEL1 runs, ZCR_EL1 is vEL1's and ZCR_EL2 is L1's. Lazy switching by L1 works as for FP: its CPTR_EL2
traps are in hardware's CPTR_EL2 while vEL1 runs, and what traps is forwarded. L0 itself uses no
vector register.

An access to ZCR_ELx traps like a vector instruction, at EL2 too, so CPTR_EL2.TZ is cleared before;
and L1's own CPTR_EL2 is asked when its access to ZCR_EL2, which FEAT_NV traps, is done here.

With FEAT_NV alone ZCR_EL1 of vEL1 could not be trapped apart from all of SVE. An nVHE L1 sees no
FEAT_VHE, without which no CPU has SVE: Linux's KVM refuses such a machine.
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ISS_FP, ESR_ELx
from vel2.hyp import controls
from vel2.hyp.answer import UNDEFINED_SYNDROME, forward, undefined
from vel2.hyp.homes import slot
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import GUEST_VHE, LEVEL_NV2, Vcpu, Vm, page_of, vm_of
from vel2.lang import inline, isb, mrs, msr, resident, u64

__all__ = ("from_vel1", "is_offered", "load_vel1_length", "refusal", "reset", "save_vel1_length")

ZCR_SLOT = slot(sr.ZCR_EL1)
ZCR_MAX = sr.ZCR_EL2.LEN.mask
CPTR_OPEN = sr.CPTR_EL2.res1 | sr.CPTR_EL2.compose(TSM=1, TTA=1, TAM=1)

ZEN_LOW = 1 << sr.CPTR_EL2_E2H.ZEN.lsb
FPEN_LOW = 1 << sr.CPTR_EL2_E2H.FPEN.lsb
"""Where these are 0 the field traps at EL2 too."""
TRAPPED_SVE = ESR_ELx.compose(EC=EC.SVE, IL=1)
TRAPPED_FP = ESR_ELx.compose(EC=EC.FP_ASIMD, IL=1, ISS=ISS_FP.compose(CV=1, COND=0b1110))


@inline
def is_offered(vm: Vm) -> bool:
    """Whether the VM has SVE."""
    if vm.config.guest_kind != GUEST_VHE or vm.config.nv_level != LEVEL_NV2:
        return False
    return sr.ID_AA64PFR0_EL1.SVE.get(mrs(sr.ID_AA64PFR0_EL1)) != 0


@resident
def reset(vm: Vm) -> None:
    """Give this pcpu the vector lengths of a PE out of reset, if the VM has SVE."""
    if vm.probed.has_sve != 0:
        msr(sr.CPTR_EL2, CPTR_OPEN)
        isb()
        msr(sr.ZCR_EL1, 0)
        msr(sr.ZCR_EL2, ZCR_MAX)


@inline
def load_vel1_length(vcpu: Vcpu) -> None:
    """Change from vEL2's vector length to vEL1's; hardware's CPTR_EL2 is still vEL2's."""
    if vm_of(vcpu).probed.has_sve != 0:
        vcpu.zcr_vel2 = mrs(sr.ZCR_EL1)
        msr(sr.ZCR_EL1, page_of(vcpu).slot[ZCR_SLOT])
        msr(sr.ZCR_EL2, vcpu.zcr_vel2)


@inline
def save_vel1_length(vcpu: Vcpu) -> None:
    """Change from vEL1's vector length to vEL2's."""
    if vm_of(vcpu).probed.has_sve != 0:
        msr(sr.CPTR_EL2, CPTR_OPEN)
        isb()
        page_of(vcpu).slot[ZCR_SLOT] = mrs(sr.ZCR_EL1)
        msr(sr.ZCR_EL1, vcpu.zcr_vel2)
        msr(sr.ZCR_EL2, ZCR_MAX)


@resident
def trap_of_vel2(cptr: u64) -> u64:
    """Give the syndrome of vEL2's access to ZCR_EL2 by its CPTR_EL2 (E2H=1), or 0 for no trap."""
    if cptr & ZEN_LOW == 0:
        return TRAPPED_SVE
    if cptr & FPEN_LOW == 0:
        return TRAPPED_FP
    return 0


@resident
def refusal(vcpu: Vcpu) -> u64:
    """Give the syndrome of the exception that vEL2's access to ZCR_EL2 takes instead, or 0."""
    if vm_of(vcpu).probed.has_sve == 0:
        return UNDEFINED_SYNDROME
    return trap_of_vel2(controls.read_cptr(vcpu))


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Forward a trapped use of SVE: L1 asked for it. Without SVE in the VM it is UNDEFINED."""
    if vm_of(vcpu).probed.has_sve != 0:
        return forward(vcpu)
    return undefined(vcpu)

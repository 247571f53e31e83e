"""L1's own HCR_EL2: where it is, and the questions that many handlers ask of it.

It is a slot of the VNCR page. Under FEAT_NV2 L1 writes it there unseen, so it is read anew at each
question and nothing made from it is kept. L1's E2H is not asked here: `Vcpu.e2h` has it.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.homes import slot
from vel2.hyp.state import Vcpu, page_of, vm_of
from vel2.lang import inline, u64

__all__ = (
    "HCR_SLOT",
    "NESTED",
    "NV2_IN_USE",
    "STAGE2_ON",
    "TGE",
    "is_vhe_host",
    "l1_hcr",
    "l1_nesting",
    "set_l1_hcr",
    "shows_el2",
)

HCR_SLOT = slot(sr.HCR_EL2)
TGE = sr.HCR_EL2.TGE.mask
STAGE2_ON = sr.HCR_EL2.VM.mask | sr.HCR_EL2.DC.mask
"""L1 has a stage 2 of its own for vEL1."""
NESTED = sr.HCR_EL2.compose(NV=1, NV1=1, NV2=1, AT=1)
"""What makes vEL1 a virtual EL2 of L1's own, where L1 has FEAT_NV (`Probed.nesting`)."""
NV1_OR_NV2 = sr.HCR_EL2.compose(NV1=1, NV2=1)
NV2_IN_USE = sr.HCR_EL2.compose(NV=1, NV2=1)
"""Both set: names of EL2 are memory, at VNCR_EL2."""


@inline
def l1_hcr(vcpu: Vcpu) -> u64:
    """Give L1's HCR_EL2. A VHE guest's E2H is RES1 whatever the slot says: writes are unseen."""
    return page_of(vcpu).slot[HCR_SLOT]


@inline
def set_l1_hcr(vcpu: Vcpu, value: u64) -> None:
    """Change L1's HCR_EL2, for L1 to read."""
    page_of(vcpu).slot[HCR_SLOT] = value


@inline
def l1_nesting(vcpu: Vcpu) -> u64:
    """Give HCR_EL2.{NV,NV1,NV2,AT} of L1, as far as L1 has them."""
    return l1_hcr(vcpu) & vm_of(vcpu).probed.nesting


@inline
def shows_el2(hcr: u64) -> bool:
    """Whether SPSR_EL1.M says EL2 after an exception from EL1 to EL1 under an HCR_EL2.

    Under {NV,NV1} = {1,1} only FEAT_NV2 does that (AArch64.TakeException).
    """
    return hcr & sr.HCR_EL2.NV.mask != 0 and hcr & NV1_OR_NV2 != sr.HCR_EL2.NV1.mask


@inline
def is_vhe_host(vcpu: Vcpu) -> bool:
    """Whether L1 is a host now: E2H=1 and TGE=1, so EL1's names mean EL2's regime and its EL0."""
    return vcpu.e2h != 0 and l1_hcr(vcpu) & TGE != 0

"""L1's own HCR_EL2: where it is, and the questions that many handlers ask of it.

It is a slot of the VNCR page. Under FEAT_NV2 L1 writes it there unseen, so it is read anew at each
question and nothing made from it is kept. L1's E2H is not asked here: `Vcpu.e2h` has it.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.homes import slot
from vel2.hyp.state import Vcpu, page_of
from vel2.lang import inline, u64

__all__ = ("HCR_SLOT", "STAGE2_ON", "TGE", "is_vhe_host", "l1_hcr", "set_l1_hcr")

HCR_SLOT = slot(sr.HCR_EL2)
TGE = sr.HCR_EL2.TGE.mask
STAGE2_ON = sr.HCR_EL2.VM.mask | sr.HCR_EL2.DC.mask
"""L1 has a stage 2 of its own for vEL1."""


@inline
def l1_hcr(vcpu: Vcpu) -> u64:
    """Give L1's HCR_EL2. A VHE guest's E2H is RES1 whatever the slot says: writes are unseen."""
    return page_of(vcpu).slot[HCR_SLOT]


@inline
def set_l1_hcr(vcpu: Vcpu, value: u64) -> None:
    """Change L1's HCR_EL2, for L1 to read."""
    page_of(vcpu).slot[HCR_SLOT] = value


@inline
def is_vhe_host(vcpu: Vcpu) -> bool:
    """Whether L1 is a host now: E2H=1 and TGE=1, so EL1's names mean EL2's regime and its EL0."""
    return vcpu.e2h != 0 and l1_hcr(vcpu) & TGE != 0

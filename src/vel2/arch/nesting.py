"""How EL2 looks to a guest hypervisor, and how much of that hardware does.

Two choices, and so four combinations. They decide where a register of virtual EL2 lives
(`hyp.homes`), what a payload expects and what a measurement is compared with. Facts: Arm ARM,
HCR_EL2.{E2H,NV,NV1,NV2}, FEAT_VHE, FEAT_NV, FEAT_NV2.
"""

from enum import Enum

__all__ = ("Kind", "Level")


class Kind(Enum):
    """How L1 sees HCR_EL2.E2H: fixed to 1 or to 0 for the whole life of a VM under FEAT_NV2."""

    VHE = "vhe"
    NVHE = "nvhe"


class Level(Enum):
    """Which part of nested virtualization support L0 uses of the hardware."""

    NV2 = "nv2"
    NV = "nv"

"""The rows of the guest matrix, and the cells of `--quick`.

A new guest is one more `Recipe` in `RECIPES`: how to build its VM, which lines its console shows
when all is well, and the combinations in which it has nothing to show.
"""

from vel2.check.matrix import NVHE_NV, NVHE_NV2, VHE_NV, VHE_NV2
from vel2.check.matrix_firmware import FIRMWARE_RECIPES
from vel2.check.matrix_linux import LINUX_RECIPES
from vel2.check.matrix_xen import XEN_RECIPES

__all__ = ("QUICK", "RECIPES")

RECIPES = (*LINUX_RECIPES, *XEN_RECIPES, *FIRMWARE_RECIPES)

QUICK = (
    *(("linux-6.12", at) for at in (VHE_NV2, VHE_NV, NVHE_NV2, NVHE_NV)),
    ("linux-6.1-nvhe", NVHE_NV),
    ("xen-4.20", NVHE_NV2),
)
"""The cells of `--quick`: each combination, an nVHE kernel where every access traps, and Xen."""

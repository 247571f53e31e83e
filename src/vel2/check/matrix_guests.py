"""The rows of the guest matrix, and the cells of `--quick`.

A new guest is one more `Recipe` in `RECIPES`: how to make its VM, which lines its console shows
when all is well, and the combinations it has nothing to show in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from vel2.arch.homes import Kind, Level
from vel2.check.matrix import Combination, Inapplicable, Recipe, Sign
from vel2.guests.kernels import guest_kernel
from vel2.guests.recipes import l1_tree, l2_tree
from vel2.machine.loader import load_kernel

if TYPE_CHECKING:
    from vel2.control.vm import VmConfig

__all__ = ("QUICK", "RECIPES")

MEMORY_BYTES = 1 << 30
L1_BOOTARGS = "console=ttyAMA0 panic=-1"
L2_BOOTARGS = "console=ttyS0 panic=-1 quiet job=none"
"""L2 only has to reach user space, not to compute anything there."""

VHE_NV2 = Combination(Kind.VHE, Level.NV2)
VHE_NV = Combination(Kind.VHE, Level.NV)
NVHE_NV2 = Combination(Kind.NVHE, Level.NV2)
NVHE_NV = Combination(Kind.NVHE, Level.NV)


# Linux: L1 is a Debian kernel, its KVM starts the same kernel as L2.


@dataclass(frozen=True)
class LinuxRow:
    """One Debian kernel in one mode of its KVM.

    :ivar kernel: as in `vel2.guests.kernels.OFFERS`.
    :ivar mode: for `kvm-arm.mode=`; empty for the kernel's own choice.
    :ivar says: what KVM calls its mode at virtual EL2 with FEAT_VHE, and without.
    """

    kernel: str
    mode: str
    says: Mapping[Kind, str]
    inapplicable: Mapping[Combination, Inapplicable] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name the row, such as `linux-6.12-nvhe`."""
        return "-".join(filter(None, ["linux", self.kernel, self.mode]))

    @property
    def summary(self) -> str:
        """Say what it is, for people."""
        return f"Linux {self.kernel} KVM, {f'kvm-arm.mode={self.mode}' if self.mode else 'default'}"


def kvm_mode(said: str) -> Sign:
    """Expect the mode that L1's KVM calls its own; see `L1_INIT`."""
    return Sign(
        line=rf"##vel2 l1\.kvm_mode={said}",
        otherwise=f"KVM's mode is not {said}",
        instead=r"##vel2 l1\.kvm_mode=(.*)",
    )


L2_SIGNS = (
    Sign(r"L2\| ##vel2 l2\.userspace=ok", "L2 did not reach user space"),
    Sign(
        line=r"##vel2 l1\.vmm_status=0",
        otherwise="the VMM in L1 did not end with status 0",
        instead=r"##vel2 l1\.vmm_status=(.*)",
    ),
)


def linux_signs(row: LinuxRow, at: Combination) -> tuple[Sign, ...]:
    """Give what a Linux row shows in one combination."""
    return (kvm_mode(row.says[at.el2]), *L2_SIGNS)


def linux_config(row: LinuxRow, at: Combination) -> "VmConfig":
    """Make the VM of a Linux row; where it does not apply, L1 only boots."""
    from vel2.control.vm import VmConfig
    from vel2.guests.vmm import build_vmm

    kernel = load_kernel(guest_kernel(row.kernel).image_path)
    if at in row.inapplicable:
        job, tree = "none", l1_tree()
    else:
        job = "l2"
        tree = l1_tree(
            build_vmm(),
            kernel.data,
            l2_tree().pack(),
            l2_image_bytes=kernel.image_size,
            l2_bootargs=L2_BOOTARGS,
        )
    mode = f" kvm-arm.mode={row.mode}" if row.mode else ""
    return VmConfig(
        kernel=kernel,
        initrd=tree.pack(),
        append=f"{L1_BOOTARGS} job={job}{mode}",
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
    )


def linux_recipe(row: LinuxRow) -> Recipe:
    """Make a matrix row of a Linux row."""
    return Recipe(
        name=row.name,
        summary=row.summary,
        needs=(row.kernel, "busybox"),
        make_config=partial(linux_config, row),
        signs=partial(linux_signs, row),
        inapplicable=row.inapplicable,
    )


NVHE_IGNORED = Inapplicable(
    "HCR_EL2.E2H is RES1 at VHE virtual EL2 with FEAT_NV2: the kernel ignores kvm-arm.mode and"
    " stays VHE; give --el2 nvhe or --nv nv",
    (kvm_mode("VHE"),),
)
LINUX_ROWS = (
    LinuxRow("6.1", "", {Kind.VHE: "VHE", Kind.NVHE: "Hyp"}),
    LinuxRow("6.1", "nvhe", {Kind.VHE: "Hyp", Kind.NVHE: "Hyp"}, {VHE_NV2: NVHE_IGNORED}),
    LinuxRow(
        "6.1",
        "protected",
        {Kind.VHE: "Protected nVHE", Kind.NVHE: "Protected nVHE"},
        {VHE_NV2: NVHE_IGNORED},
    ),
    *(
        row
        for kernel in ("6.12", "7")
        for row in (
            LinuxRow(kernel, "", {Kind.VHE: "VHE", Kind.NVHE: "Hyp nVHE"}),
            LinuxRow(
                kernel,
                "nvhe",
                {Kind.VHE: "Hyp nVHE", Kind.NVHE: "Hyp nVHE"},
                {VHE_NV2: NVHE_IGNORED},
            ),
            LinuxRow(
                kernel,
                "protected",
                {Kind.VHE: "Protected hVHE", Kind.NVHE: "Protected nVHE"},
            ),
        )
    ),
)

RECIPES = tuple(linux_recipe(row) for row in LINUX_ROWS)

QUICK = (
    *(("linux-6.12", at) for at in (VHE_NV2, VHE_NV, NVHE_NV2, NVHE_NV)),
    ("linux-6.1-nvhe", NVHE_NV),
)
"""The cells of `--quick`: each combination once, and an nVHE kernel where every access traps."""

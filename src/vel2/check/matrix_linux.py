"""Linux in the guest matrix: L1 is a Debian kernel, its KVM starts the same kernel as L2."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from vel2.arch.nesting import Kind
from vel2.check.matrix import VHE_NV2, Combination, Inapplicable, Recipe, Sign
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.guests.apt import Progress
from vel2.guests.kernels import guest_kernel
from vel2.guests.qemu_guest import fetch_qemu, qemu_l1_tree
from vel2.guests.recipes import l1_tree, l1_with_l2, l2_tree
from vel2.machine.loader import KernelImage, load_kernel

__all__ = (
    "L1_BOOTARGS",
    "LINUX_RECIPES",
    "MEMORY_BYTES",
    "has_cpus",
    "kvm_mode",
    "l2_signs",
    "linux_initrd",
)

MEMORY_BYTES = 1 << 30
L1_BOOTARGS = "console=ttyAMA0 panic=-1"
L2_BOOTARGS = "console={console} panic=-1 quiet job=none"
"""L2 only has to reach user space, not to compute anything there."""


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
    """Expect the mode that L1's KVM reports; see `L1_INIT`."""
    return Sign(
        line=rf"##vel2 l1\.kvm_mode={said}",
        otherwise=f"KVM's mode is not {said}",
        instead=r"##vel2 l1\.kvm_mode=(.*)",
    )


def has_cpus(level: str, cpus: int, before: str = "") -> Sign:
    """Expect a Linux to have so many CPUs.

    :param level: of its mark. :param before: what stands before it on the console.
    """
    mark = rf"{re.escape(before)}##vel2 {level}\.cpus="
    return Sign(f"{mark}{cpus}", f"{level.upper()} has not {cpus} CPUs", f"{mark}(.*)")


def l2_signs(cpus: int) -> tuple[Sign, ...]:
    """Give what a Linux shows whose KVM starts L2 with as many CPUs as it has itself."""
    return (
        has_cpus("l1", cpus),
        Sign(r"L2\| ##vel2 l2\.userspace=ok", "L2 did not reach user space"),
        has_cpus("l2", cpus, "L2| "),
        Sign(
            line=r"##vel2 l1\.vmm_status=0",
            otherwise="the VMM in L1 did not end with status 0",
            instead=r"##vel2 l1\.vmm_status=(.*)",
        ),
    )


def linux_signs(row: LinuxRow, at: Combination, cpus: int) -> tuple[Sign, ...]:
    """Give what a Linux row shows in one combination."""
    return (kvm_mode(row.says[at.el2]), *l2_signs(cpus))


def linux_initrd(kernel: KernelImage, cpus: int) -> bytes:
    """Pack the initramfs of an L1 that starts a kernel as L2 by our own VMM."""
    from vel2.guests.vmm import build_vmm

    bootargs = L2_BOOTARGS.format(console="ttyS0")
    return l1_with_l2(build_vmm(), kernel.data, kernel.image_size, bootargs, l2_cpus=cpus)


def linux_request(row: LinuxRow, at: Combination, cpus: int, folder: Path) -> Request:
    """Say what to run for a Linux row; where it does not apply, L1 only boots."""
    kernel = load_kernel(guest_kernel(row.kernel).image_path)
    declines = at in row.inapplicable
    job = "none" if declines else "l2"
    mode = f" kvm-arm.mode={row.mode}" if row.mode else ""
    initrd = l1_tree().pack() if declines else linux_initrd(kernel, cpus)
    return Request(
        Kernel(kernel, initrd, f"{L1_BOOTARGS} job={job}{mode}"),
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
        smp=cpus,
    )


def linux_recipe(row: LinuxRow) -> Recipe:
    """Make a matrix row of a Linux row."""
    return Recipe(
        name=row.name,
        summary=row.summary,
        needs=(row.kernel, "busybox"),
        make_request=partial(linux_request, row),
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
    # Tables of another granule, in L1 and L2 and of stage 2; threads where others have interrupts.
    *(
        LinuxRow(kernel, "", {Kind.VHE: "VHE", Kind.NVHE: "Hyp nVHE"})
        for kernel in ("6.12-16k", "6.12-rt")
    ),
)


# The same with Debian's QEMU as the VMM in L1.

QEMU_KERNEL = "6.12"
QEMU_SAYS = {Kind.VHE: "VHE", Kind.NVHE: "Hyp nVHE"}


@cache
def qemu_root(progress: Progress | None = None) -> Path:
    """Fetch QEMU; apt is not asked again for each cell."""
    return fetch_qemu(progress)


def qemu_request(at: Combination, cpus: int, folder: Path) -> Request:
    """Say what to run for the row with QEMU in L1."""
    kernel = load_kernel(guest_kernel(QEMU_KERNEL).image_path)
    tree = qemu_l1_tree(
        qemu_root(),
        kernel.data,
        l2_tree().pack(),
        l2_bootargs=L2_BOOTARGS.format(console="ttyAMA0"),
        l2_cpus=cpus,
    )
    return Request(
        Kernel(kernel, tree.pack(), f"{L1_BOOTARGS} job=qemu"),
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
        smp=cpus,
    )


QEMU_RECIPE = Recipe(
    name=f"linux-{QEMU_KERNEL}-qemu",
    summary=f"Linux {QEMU_KERNEL} KVM, Debian's QEMU starts L2",
    needs=(QEMU_KERNEL, "busybox"),
    make_request=qemu_request,
    signs=lambda at, cpus: (kvm_mode(QEMU_SAYS[at.el2]), *l2_signs(cpus)),
    fetch=qemu_root,
)

LINUX_RECIPES = (*(linux_recipe(row) for row in LINUX_ROWS), QEMU_RECIPE)

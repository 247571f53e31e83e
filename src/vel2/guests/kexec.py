"""A Linux that starts another one in its place, by Debian's kexec.

The program is that of Debian's `kexec-tools`, byte for byte. It loads the next kernel and its
initramfs by kexec_load(2); Debian's small kernels have no kexec_file_load(2). The first kernel then
turns all CPUs but one off, and jumps. The next one turns them on again by PSCI.
"""

from pathlib import Path

from vel2.guests.apt import Progress
from vel2.guests.init_scripts import KEXEC_INIT
from vel2.guests.initramfs import Initramfs
from vel2.guests.packages import fetch_closure
from vel2.guests.qemu_guest import add_program
from vel2.guests.recipes import base_tree

__all__ = ("WITHOUT_LPIS", "fetch_kexec", "kexec_tree")

PACKAGE = "kexec-tools"
RELEASE = "trixie"
PROGRAM = "usr/sbin/kexec"

WITHOUT_LPIS = "irqchip.gicv3_nolpi=1"
"""For the first kernel: what Linux has for a kernel that is a boot loader (kernel-parameters.txt).

Without it a kernel with LPIs leaves their tables in memory. Only UEFI tells the next one to keep
that memory free; with a device tree it may take the tables for its own and overwrite itself.
"""


def fetch_kexec(progress: Progress | None = None) -> Path:
    """Fetch Debian's kexec for arm64 and all it depends on.

    :return: the root of a read-only tree with the packages unpacked.
    :raises UserError: when it cannot be had.
    """
    return fetch_closure(PACKAGE, RELEASE, progress=progress)


def kexec_tree(
    root: Path, kernel: bytes, initrd: bytes, bootargs: str, busybox_path: Path | None = None
) -> Initramfs:
    """Return the tree of the first kernel.

    :param root: what `fetch_kexec` returned.
    :param kernel: the next one, a plain arm64 `Image`. :param bootargs: its command line.
    :raises UserError: when kexec cannot be taken from `root`.
    """
    tree = base_tree(KEXEC_INIT, busybox_path)
    add_program(tree, root, PROGRAM)
    tree.link("bin/kexec", f"/{PROGRAM}")
    tree.file("next/Image", kernel)
    tree.file("next/initrd", initrd)
    tree.file("next/bootargs", f"{bootargs}\n")
    return tree

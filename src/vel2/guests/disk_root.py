"""An initramfs that mounts the root from a virtio disk, for kernels without one of their own.

Debian's cloud kernel has ext4 and PCIe built in, and virtio disks as one module, which is taken
unchanged from the kernel's package. On the command line `root=` names the disk, and `init=` the
program to start.
"""

import lzma
from pathlib import Path

from vel2.guests.init_scripts import DISK_INIT
from vel2.guests.initramfs import Initramfs
from vel2.guests.recipes import base_tree

__all__ = ("disk_root_tree",)

MODULE = "drivers/block/virtio_blk"


def disk_root_tree(modules: Path, busybox_path: Path | None = None) -> Initramfs:
    """Return the tree.

    :param modules: `/usr/lib/modules/VERSION` of the kernel that is to boot.
    """
    tree = base_tree(DISK_INIT, busybox_path)
    data = (modules / "kernel" / f"{MODULE}.ko.xz").read_bytes()
    tree.file("modules/virtio_blk.ko", lzma.decompress(data))
    return tree

"""Disks and networks for a machine, as QEMU's options.

They are virtio devices on PCIe, of the kind that comes to memory by the IOMMU if there is one:
under vel2 that is L0's SMMU, and they reach what L1 reaches. Without vel2 they look the same.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vel2.errors import UserError

__all__ = ("device_arguments",)

MODERN = "disable-legacy=on,iommu_platform=on,romfile="
QCOW2_MAGIC = b"QFI\xfb"


def device_arguments(disks: Sequence[Path], net: str | None) -> tuple[str, ...]:
    """Give QEMU's options for disks and a network.

    :param disks: raw or qcow2 files; a file that may not be written makes a read-only disk.
    :param net: `user` for a network of QEMU's own, None for none.
    :raises UserError: when a file cannot be read.
    """
    arguments: list[str] = []
    for number, path in enumerate(disks):
        with _opened(path) as file:
            form = "qcow2" if file.read(4) == QCOW2_MAGIC else "raw"
        # In QEMU's options a comma within a value is doubled.
        name = str(path).replace(",", ",,")
        drive = f"if=none,id=disk{number},format={form},file={name}"
        drive += ",readonly=on" if _is_read_only(path) else ""
        arguments += ["-drive", drive]
        arguments += ["-device", f"virtio-blk-pci,drive=disk{number},{MODERN}"]
    if net is not None:
        arguments += ["-netdev", f"{net},id=net0"]
        arguments += ["-device", f"virtio-net-pci,netdev=net0,{MODERN}"]
    return tuple(arguments)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            f"the disk {path} cannot be read ({error.strerror}); give a raw or qcow2 image."
        ) from error


def _is_read_only(path: Path) -> bool:
    return not os.access(path, os.W_OK)

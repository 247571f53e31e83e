"""Disks and networks for a machine, as QEMU's options.

They are virtio devices on PCIe that reach memory through the IOMMU, if there is one. Under vel2
that is L0's SMMU, so they reach what L1 reaches. Without vel2 they look the same.

A disk's file is written only on request. Otherwise the guest's writes go to a temporary file of
QEMU's, which ends with the machine.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from vel2.errors import UserError

__all__ = ("Disk", "device_arguments")

MODERN = "disable-legacy=on,iommu_platform=on,romfile="
KEEP = ",rw"
QCOW2_MAGIC = b"QFI\xfb"


class Disk(NamedTuple):
    """A disk's file, raw or qcow2; `is_kept` if the guest's writes go into it."""

    path: Path
    is_kept: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FILE` or `FILE,rw`."""
        name = text.removesuffix(KEEP)
        return cls(Path(name), name != text)


def device_arguments(disks: Sequence[Disk], net: str | None) -> tuple[str, ...]:
    """Give QEMU's options for disks and a network.

    :param net: `user` for a network of QEMU's own, None for none.
    :raises UserError: when a file cannot be read, or cannot be written but must be.
    """
    arguments: list[str] = []
    for number, (path, is_kept) in enumerate(disks):
        with _opened(path) as file:
            form = "qcow2" if file.read(4) == QCOW2_MAGIC else "raw"
        # In QEMU's options a comma within a value is doubled.
        name = str(path).replace(",", ",,")
        drive = f"if=none,id=disk{number},format={form},file={name}"
        if is_kept and not os.access(path, os.W_OK):
            raise UserError(f"the disk {path} cannot be written; give it without {KEEP}.")
        drive += "" if is_kept else ",snapshot=on"
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

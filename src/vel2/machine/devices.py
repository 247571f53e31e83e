"""Disks and networks for a machine, as QEMU's options.

They are virtio devices on PCIe. A device reads and writes physical memory by itself, past every
stage 2: with one of these, a guest can reach L0's memory. An SMMU would prevent it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vel2.errors import UserError

__all__ = ("DMA_WARNING", "device_arguments")

DMA_WARNING = (
    "--disk and --net are devices whose DMA nothing checks: a hostile guest can reach vel2's memory"
    " by them."
)
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
        arguments += ["-device", f"virtio-blk-pci,drive=disk{number},romfile="]
    if net is not None:
        arguments += ["-netdev", f"{net},id=net0"]
        arguments += ["-device", "virtio-net-pci,netdev=net0,romfile="]
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

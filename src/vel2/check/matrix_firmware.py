"""Firmware in the guest matrix: it starts at virtual EL2 and boots Linux from a disk.

From there on Linux is L1 as usual: its KVM starts the same kernel as L2. The test is what the
firmware hands over: L1's device tree, the memory map, the Exception level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vel2.arch.nesting import Kind
from vel2.check.matrix import Combination, Recipe, Sign
from vel2.check.matrix_linux import (
    L1_BOOTARGS,
    MEMORY_BYTES,
    kvm_mode,
    l2_signs,
    linux_initrd,
)
from vel2.control.guest import Firmware
from vel2.control.request import Request
from vel2.guests.kernels import guest_path
from vel2.machine.loader import load_kernel

__all__ = ("FIRMWARE_RECIPES",)

KERNEL = "6.12"
BOOTARGS = f"{L1_BOOTARGS} job=l2"
SAYS = {Kind.VHE: "VHE", Kind.NVHE: "Hyp nVHE"}
EXTLINUX = f"""\
default l1
label l1
  kernel /Image
  initrd /root.cpio
  append {BOOTARGS}
"""


def for_u_boot(folder: Path) -> None:
    """Write what U-Boot's standard boot looks for: extlinux.conf."""
    (folder / "extlinux").mkdir()
    (folder / "extlinux/extlinux.conf").write_text(EXTLINUX)


def for_uefi(folder: Path) -> None:
    """Write the script that UEFI's shell runs if there is nothing else to boot."""
    script = f"fs0:\r\nImage initrd=\\root.cpio {BOOTARGS}\r\n"
    (folder / "startup.nsh").write_text(script, newline="")


@dataclass(frozen=True)
class FirmwareRow:
    """One firmware.

    :ivar name: as in `vel2.guests.kernels.OFFERS`.
    :ivar write_script: writes to a disk's folder how to boot `Image` with `root.cpio`.
    :ivar signs: what the firmware itself prints.
    """

    name: str
    summary: str
    write_script: Callable[[Path], None]
    signs: tuple[Sign, ...]


def firmware_request(row: FirmwareRow, at: Combination, cpus: int, folder: Path) -> Request:
    """Say what to run for a row: flash, and a disk whose FAT file system is a folder."""
    kernel = load_kernel(guest_path(KERNEL))
    (folder / "Image").write_bytes(kernel.data)
    (folder / "root.cpio").write_bytes(linux_initrd(kernel, cpus))
    row.write_script(folder)
    # In QEMU's options a comma within a value is doubled.
    name = str(folder).replace(",", ",,")
    drive = f"if=none,id=disk,format=raw,readonly=on,file=fat:ro:{name}"
    return Request(
        Firmware(guest_path(row.name)),
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
        smp=cpus,
        qemu_arguments=("-drive", drive, "-device", "virtio-blk-pci,drive=disk,romfile="),
    )


def firmware_recipe(row: FirmwareRow) -> Recipe:
    """Make a matrix row of a firmware."""
    return Recipe(
        name=row.name,
        summary=row.summary,
        needs=(row.name, KERNEL, "busybox"),
        make_request=partial(firmware_request, row),
        signs=lambda at, cpus: (*row.signs, kvm_mode(SAYS[at.el2]), *l2_signs(cpus)),
    )


FIRMWARE_ROWS = (
    FirmwareRow(
        "u-boot",
        f"U-Boot boots Linux {KERNEL} from a disk",
        for_u_boot,
        (
            Sign(r"U-Boot \d+\.\d+.*", "U-Boot did not say its version"),
            Sign(r"Retrieving file: /root\.cpio", "U-Boot did not boot from the disk"),
        ),
    ),
    FirmwareRow(
        "edk2",
        f"UEFI boots Linux {KERNEL} from a disk",
        for_uefi,
        (
            Sign(r"UEFI firmware \(version .*", "UEFI did not say its version"),
            Sign(
                r"EFI stub: Using DTB from configuration table",
                "the kernel did not get L1's device tree from UEFI",
            ),
        ),
    ),
)
FIRMWARE_RECIPES = tuple(firmware_recipe(row) for row in FIRMWARE_ROWS)

"""Disks of a Linux L1: DMA and MSI-X through L0's SMMU, and what becomes of the file."""

from __future__ import annotations

import hashlib
import lzma
import random
from pathlib import Path

import pytest

from tests.conftest import ShowConsole
from tests.limits import LIMIT_S
from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.guests.init_scripts import COMMON
from vel2.guests.markers import parse_markers
from vel2.guests.packages import fetch_closure
from vel2.guests.recipes import base_tree
from vel2.machine.devices import Disk
from vel2.machine.loader import load_kernel

pytestmark = [pytest.mark.qemu, pytest.mark.network]

MIB = 1 << 20
REST = random.Random(1).randbytes(15 * MIB)
SUM = hashlib.md5(REST, usedforsecurity=False).hexdigest()
FIRST, SECOND = b"before\n", b"after!\n"
INIT = (
    COMMON
    + r"""
insmod /modules/virtio_blk.ko
for disk in vda nvme0n1; do
    mark $disk.first "$(head -c 6 /dev/$disk)"
    echo after! | dd of=/dev/$disk conv=fsync 2>/dev/null
    echo 3 > /proc/sys/vm/drop_caches
    mark $disk.second "$(head -c 6 /dev/$disk)"
    mark $disk.sum "$(dd if=/dev/$disk bs=1M skip=1 2>/dev/null | md5sum | cut -c1-32)"
done
mark vda.interrupts "$(grep 'MSIX.*virtio0-req' /proc/interrupts | awk '{ print ($2 > 3) }')"
mark nvme0n1.interrupts "$(grep 'MSIX.*nvme0q1' /proc/interrupts | awk '{ print ($2 > 3) }')"
mark smmu.seen "$(ls /sys/class/iommu 2>/dev/null | wc -l)"
poweroff -f
"""
)


@pytest.mark.parametrize("nv", list(Level))
@pytest.mark.parametrize("el2", list(Kind))
def test_linux_reads_and_writes_disks(
    el2: Kind, nv: Level, tmp_path: Path, show_console: ShowConsole
) -> None:
    """A virtio disk whose file is kept, and an NVMe disk given after `--`, whose file is not."""
    closure = fetch_closure("linux-image-cloud-arm64", "trixie")
    (modules,) = (closure / "usr/lib/modules").iterdir()
    tree = base_tree(INIT)
    module = modules / "kernel/drivers/block/virtio_blk.ko.xz"
    tree.file("modules/virtio_blk.ko", lzma.decompress(module.read_bytes()))
    kept, other = tmp_path / "kept.img", tmp_path / "other.img"
    for image in (kept, other):
        image.write_bytes(FIRST.ljust(MIB, b"\0") + REST)
    drive = f"if=none,id=n,format=raw,snapshot=on,file={other}"
    kernel = load_kernel(closure / f"boot/vmlinuz-{modules.name}")
    request = Request(
        Kernel(kernel, tree.pack(), "console=ttyAMA0 panic=-1 quiet"),
        512 * MIB,
        el2=el2,
        nv=nv,
        disks=(Disk(kept, is_kept=True),),
        qemu_arguments=("-drive", drive, "-device", "nvme,drive=n,serial=1"),
    )
    vm = Vm(request)
    show_console("L1", vm.console)
    try:
        with vm:
            assert vm.wait(LIMIT_S).clean
        assert vm.fatal is None
    finally:
        vm.close()
    said = parse_markers(line.text for line in vm.console.lines)
    for disk in ("vda", "nvme0n1"):
        assert (said[f"{disk}.first"], said[f"{disk}.second"]) == ("before", "after!")
        assert said[f"{disk}.interrupts"] == "1"
        assert said[f"{disk}.sum"] == SUM
    assert said["smmu.seen"] == "0"
    assert kept.read_bytes().startswith(SECOND)
    assert other.read_bytes().startswith(FIRST)

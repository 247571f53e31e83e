"""Message-signalled interrupts: a PCIe disk of L1's by the mediated ITS, and one of L2's."""

from __future__ import annotations

import hashlib
import lzma
import random
import re
from pathlib import Path

import pytest

from tests.conftest import ShowConsole
from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.guests.initramfs import Initramfs
from vel2.guests.kernels import fetch
from vel2.guests.packages import fetch_closure
from vel2.guests.qemu_guest import add_program, fetch_qemu
from vel2.guests.recipes import base_tree
from vel2.guests.xen_dom0 import KERNEL_PACKAGE, KERNEL_RELEASE
from vel2.hyp import layout
from vel2.hyp.gicstate import MAPPED, Gic
from vel2.machine.devices import Disk
from vel2.machine.loader import load_kernel

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

LIMIT_S = 600
DISK_BYTES = 4 << 20
MODULE = "drivers/block/virtio_blk"
QEMU = "usr/bin/qemu-system-aarch64"
INIT = r"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
dmesg -n 1
insmod /modules/virtio_blk.ko
echo "LEVEL md5 $(md5sum /dev/vda | cut -d ' ' -f 1)"
sed -n 's/.*\(ITS.*virtio0-req.*\)/&/p' /proc/interrupts | sed 's/^/LEVEL interrupt /'
if [ -d /l2 ]; then
    /QEMU -M virt,gic-version=3 -cpu host -accel kvm -m 192 \
        -nographic -nodefaults -serial stdio -kernel /l2/Image -initrd /l2/initrd \
        -append 'console=ttyAMA0 panic=-1 quiet' \
        -drive if=none,id=disk,format=raw,file=/l2/disk \
        -device virtio-blk-pci,drive=disk,romfile= </dev/null
fi
poweroff -f
"""
INTERRUPT = r"interrupt +\d+: +(\d+) +ITS-PCI-MSIX?-\S+ +\d+ Edge +virtio0-req"


def disk_data(seed: int) -> bytes:
    """Make the contents of a disk."""
    return random.Random(seed).randbytes(DISK_BYTES)


def root_of(level: str) -> tuple[Path, Initramfs]:
    """Give a kernel, and a tree that reads its disk by the module of that kernel."""
    fetch(["busybox"])
    kernel = fetch_closure(KERNEL_PACKAGE, KERNEL_RELEASE)
    (vmlinuz,) = (kernel / "boot").glob("vmlinuz-*")
    (module,) = (kernel / "usr/lib/modules").glob(f"*/kernel/{MODULE}.ko.xz")
    tree = base_tree(INIT.replace("LEVEL", level).replace("QEMU", QEMU))
    tree.file("modules/virtio_blk.ko", lzma.decompress(module.read_bytes()))
    return vmlinuz, tree


def run(
    tree: Initramfs,
    vmlinuz: Path,
    disk: Path,
    combination: tuple[Kind, Level],
    show_console: ShowConsole,
) -> tuple[str, int, int]:
    """Boot L1 with a disk; give what it said, and how many devices and wrong commands L0 saw."""
    vm = Vm(
        Request(
            Kernel(load_kernel(vmlinuz), tree.pack(), "console=ttyAMA0 panic=-1 quiet"),
            1 << 30,
            el2=combination[0],
            nv=combination[1],
            disks=(Disk(disk),),
        )
    )
    show_console("L1", vm.console)
    try:
        with vm:
            ended = vm.wait(LIMIT_S)
        assert str(ended) == "the guest powered off"
        assert vm.fatal is None
        gic = Gic(vm.memory.window(vm.l0_base + layout.GIC_OFFSET, Gic.size))
        mapped = sum(device.state == MAPPED for device in gic.devices)
        return vm.console.text, mapped, gic.refused
    finally:
        vm.close()


def require_disk(text: str, level: str, data: bytes) -> None:
    """Require that a level has read its disk right, by interrupts that came as messages."""
    assert f"{level} md5 {hashlib.md5(data).hexdigest()}" in text
    found = re.search(rf"{level} {INTERRUPT}", text)
    assert found is not None, "the disk has no interrupt by the ITS"
    assert int(found[1]) > 0


@pytest.mark.parametrize(
    "combination",
    [(Kind.VHE, Level.NV2), (Kind.NVHE, Level.NV), (Kind.NVHE, Level.NV2)],
    ids=lambda pair: f"{pair[0].value}-{pair[1].value}",
)
def test_a_disk_of_l1s_signals_by_messages(
    combination: tuple[Kind, Level], tmp_path: Path, show_console: ShowConsole
) -> None:
    """Linux maps its device, and gets its LPIs; none of what it told the ITS was wrong."""
    vmlinuz, tree = root_of("L1")
    disk, data = tmp_path / "disk", disk_data(1)
    disk.write_bytes(data)
    text, mapped, refused = run(tree, vmlinuz, disk, combination, show_console)
    require_disk(text, "L1", data)
    assert mapped >= 1 and refused == 0


@pytest.mark.parametrize(
    "combination",
    [(Kind.VHE, Level.NV2), (Kind.NVHE, Level.NV2)],
    ids=lambda pair: f"{pair[0].value}-{pair[1].value}",
)
def test_l1s_kvm_gives_l2_an_its(
    combination: tuple[Kind, Level], tmp_path: Path, show_console: ShowConsole
) -> None:
    """Debian's QEMU in L1 emulates a PCIe disk; its messages are virtual LPIs of L2."""
    vmlinuz, tree = root_of("L1")
    own, inner = disk_data(1), disk_data(2)
    disk = tmp_path / "disk"
    disk.write_bytes(own)
    _, l2_tree = root_of("L2")
    tree.file("l2/Image", load_kernel(vmlinuz).data)
    tree.file("l2/initrd", l2_tree.pack())
    tree.file("l2/disk", inner)
    add_program(tree, fetch_qemu(), QEMU)
    text, _, refused = run(tree, vmlinuz, disk, combination, show_console)
    require_disk(text, "L1", own)
    require_disk(text, "L2", inner)
    assert refused == 0

"""U-Boot and UEFI as L1's first stage: they start at virtual EL2 and find L1's devices."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import ShowConsole
from tests.limits import LIMIT_S
from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Firmware
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.guests.kernels import fetch, guest_path
from vel2.guests.markers import parse_markers
from vel2.guests.recipes import l1_tree
from vel2.machine.devices import Disk
from vel2.machine.loader import load_kernel

pytestmark = [pytest.mark.qemu, pytest.mark.network]

VEL2 = Path(sys.executable).parent / "vel2"
KVM_MODE = {Kind.VHE: "VHE", Kind.NVHE: "Hyp nVHE"}
STOP_AUTOBOOT = "Hit any key to stop autoboot"


@pytest.mark.parametrize("nv", list(Level))
@pytest.mark.parametrize("el2", list(Kind))
def test_u_boot_at_vel2(el2: Kind, nv: Level, show_console: ShowConsole, tmp_path: Path) -> None:
    """It prints L1's memory, and nothing of L0's; it reads a disk; `poweroff` is PSCI's."""
    fetch(["u-boot"])
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * 510 + b"\x55\xaa")
    firmware = Firmware(guest_path("u-boot"))
    vm = Vm(Request(firmware, 256 << 20, el2=el2, nv=nv, disks=(Disk(disk),)))
    show_console("U-Boot", vm.console)
    try:
        with vm:
            vm.console.wait_for(STOP_AUTOBOOT, LIMIT_S)
            vm.console.write(b"\r")
            for command, answer in (
                ("bdinfo", r"size\s+= 0x0*10000000"),
                ("virtio scan; virtio info", r"Type: Hard Disk"),
                ("fdt addr 40000000; fdt list /psci method", r'method = "smc"'),
                ("poweroff", r"poweroff \.\.\."),
            ):
                vm.console.write(command.encode() + b"\r")
                vm.console.wait_for(answer, LIMIT_S)
            ended = vm.wait(LIMIT_S)
        assert str(ended) == "the guest powered off"
        assert vm.fatal is None
    finally:
        vm.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("nv", list(Level))
@pytest.mark.parametrize("el2", list(Kind))
def test_uefi_boots_linux_from_a_disk(
    el2: Kind, nv: Level, show_console: ShowConsole, tmp_path: Path
) -> None:
    """Without fw_cfg, UEFI takes all it needs from L1's device tree, and gives Linux that tree.

    With FEAT_VHE its clock is CNTV_*_EL02.
    """
    fetch(["edk2", "6.12", "busybox"])
    (tmp_path / "Image").write_bytes(load_kernel(guest_path("6.12")).data)
    (tmp_path / "root.cpio").write_bytes(l1_tree().pack())
    script = "fs0:\r\nImage initrd=\\root.cpio console=ttyAMA0 job=none panic=-1\r\n"
    (tmp_path / "startup.nsh").write_text(script, newline="")
    drive = f"if=none,id=esp,format=raw,readonly=on,file=fat:ro:{tmp_path}"
    request = Request(
        Firmware(guest_path("edk2")),
        1 << 30,
        el2=el2,
        nv=nv,
        qemu_arguments=("-drive", drive, "-device", "virtio-blk-pci,drive=esp,romfile="),
    )
    vm = Vm(request)
    show_console("UEFI", vm.console)
    try:
        with vm:
            ended = vm.wait(LIMIT_S)
        assert str(ended) == "the guest powered off"
        assert vm.fatal is None
    finally:
        vm.close()
    text = vm.console.text
    assert "EFI stub: Using DTB from configuration table" in text
    markers = parse_markers(line.text for line in vm.console.lines)
    assert (markers["l1.el"], markers["l1.kvm_mode"]) == ("EL2", KVM_MODE[el2])
    assert int(markers["l1.memory_kib"]) < 1 << 20, "L0's memory is not L1's"

"""U-Boot as L1's first stage: it starts at virtual EL2 and finds L1's devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ShowConsole
from vel2.arch.homes import Kind, Level
from vel2.cli.exits import ExitCode
from vel2.control.vm import Vm, VmConfig
from vel2.guests.kernels import fetch, guest_path
from vel2.machine.devices import device_arguments

pytestmark = [pytest.mark.qemu, pytest.mark.network]

VEL2 = Path(sys.executable).parent / "vel2"
STOP_AUTOBOOT = "Hit any key to stop autoboot"


@pytest.mark.parametrize("nv", list(Level))
@pytest.mark.parametrize("el2", list(Kind))
def test_u_boot_at_vel2(el2: Kind, nv: Level, show_console: ShowConsole, tmp_path: Path) -> None:
    """It prints L1's memory, and nothing of L0's; it reads a disk; `poweroff` is PSCI's."""
    fetch(["u-boot"])
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * 510 + b"\x55\xaa")
    config = VmConfig(
        firmware=guest_path("u-boot"),
        memory_bytes=256 << 20,
        el2=el2,
        nv=nv,
        qemu_arguments=device_arguments([disk], None),
    )
    vm = Vm(config)
    show_console("U-Boot", vm.console)
    try:
        with vm:
            vm.console.wait_for(STOP_AUTOBOOT, 60)
            vm.console.write(b"\r")
            for command, answer in (
                ("bdinfo", r"size\s+= 0x0*10000000"),
                ("virtio scan; virtio info", r"Type: Hard Disk"),
                ("fdt addr 40000000; fdt list /psci method", r'method = "smc"'),
                ("poweroff", r"poweroff \.\.\."),
            ):
                vm.console.write(command.encode() + b"\r")
                vm.console.wait_for(answer, 30)
            ended = vm.wait(30)
        assert str(ended) == "the guest powered off"
        assert vm.fatal is None
    finally:
        vm.close()


def test_a_disk_warns_once(tmp_path: Path) -> None:
    fetch(["u-boot"])
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(512))
    done = subprocess.run(
        [VEL2, "run", "--firmware", "u-boot", "--disk", disk, "--net", "user", "--timeout", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == ExitCode.TIMEOUT, done.stderr
    assert done.stderr.splitlines()[0] == (
        "vel2: --disk and --net are devices whose DMA nothing checks: a hostile guest can reach"
        " vel2's memory by them."
    )

"""The small guests really start: a Debian kernel at the machine's own EL2, with our initramfs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.limits import LIMIT_S
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.guests.init_scripts import L2_INIT
from vel2.guests.kernels import fetch, guest_kernel
from vel2.guests.markers import parse_markers
from vel2.guests.recipes import APPLETS, base_tree, l1_tree
from vel2.machine.console import Console
from vel2.machine.loader import load_kernel
from vel2.machine.outcome import ExitReason, MachineExit

pytestmark = [pytest.mark.qemu, pytest.mark.network]

MIB = 1 << 20
Show = Callable[[str, Console], None]


def boot(
    name: str, initrd: bytes, append: str, show: Show, deterministic: bool = False
) -> tuple[MachineExit, dict[str, str], str]:
    """Boot a fetched kernel natively; return how it ended, its markers and its console."""
    fetch([name, "busybox"])
    image = load_kernel(guest_kernel(name).image_path)
    guest = Kernel(image, initrd, f"console=ttyAMA0 {append}")
    request = Request(guest, 512 * MIB, native=True, deterministic=deterministic)
    with closing(launch(request)) as session:
        show(f"Linux {name}", session.console)
        with session:
            ended = session.wait(LIMIT_S)
    markers = parse_markers(line.text for line in session.console.lines)
    return ended, markers, session.console.text


@pytest.mark.parametrize(
    "name",
    ["6.12", *(pytest.param(name, marks=pytest.mark.slow) for name in ("6.1", "7"))],
)
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_l1_sees_el2_and_kvm(name: str, compress: bool, show_console: Show) -> None:
    fetch([name, "busybox"])
    initrd = l1_tree().pack(compress)
    ended, markers, _ = boot(name, initrd, "quiet job=none", show_console)
    assert ended.reason is ExitReason.SHUTDOWN
    image = load_kernel(guest_kernel(name).image_path)
    assert markers["l1.kernel"] == guest_kernel(name).version == image.version
    assert markers["l1.el"] == "EL2"
    assert markers["l1.kvm_mode"] == "VHE"
    assert markers["l1.kvm_device"] == "yes"
    assert markers["l1.cpus"] == "1"
    assert 0 < float(markers["l1.uptime"]) <= float(markers["l1.end"])


def test_l1_runs_a_command_and_every_applet_is_there(show_console: Show) -> None:
    fetch(["busybox"])
    command = (
        "for a in $(ls /bin) nothing; do busybox --list | grep -qxF $a || echo absent: $a; done"
    )
    append = f'quiet job=command command="{command}; ls /bin | wc -l; false"'
    ended, markers, text = boot("6.12", l1_tree().pack(), append, show_console)
    assert ended.clean
    assert markers["l1.command_status"] == "1"
    assert f"\n{len(APPLETS) + 1}\n" in text
    assert [line for line in text.splitlines() if line.startswith("absent:")] == ["absent: nothing"]


def test_l2_init_does_its_check(show_console: Show) -> None:
    fetch(["busybox"])
    initrd = base_tree(L2_INIT).pack()
    ended, markers, text = boot("6.12", initrd, "quiet", show_console)
    assert ended.clean
    assert markers["l2.userspace"] == "ok"
    assert markers["l2.sum"] == "500500"
    assert markers["l2.kernel"] == guest_kernel("6.12").version
    assert "aarch64 GNU/Linux" in text


def test_a_kernel_that_panics_is_told_from_one_that_resets(show_console: Show) -> None:
    fetch(["busybox"])
    initrd = base_tree("#!/bin/sh\nexit 3\n").pack()
    ended, _, _ = boot("6.12", initrd, "panic=-1", show_console)
    assert ended.reason is ExitReason.PANIC
    assert ended.detail == "Attempted to kill init! exitcode=0x00000300"


@pytest.mark.slow
def test_deterministic_boots_are_the_same_byte_for_byte(show_console: Show) -> None:
    fetch(["busybox"])
    initrd = l1_tree().pack()
    one, other = (
        boot("6.12", initrd, "job=none", show_console, deterministic=True) for _ in range(2)
    )
    assert one[0].clean
    assert one[2] == other[2]

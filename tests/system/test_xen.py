"""Unmodified Xen as L1: dom0 and a domain of the device tree reach user space and power off."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ShowConsole
from vel2.arch.nesting import Kind, Level
from vel2.check.matrix_xen import by_domain
from vel2.cli.exits import ExitCode
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.guests.kernels import fetch, guest_path
from vel2.guests.markers import parse_markers
from vel2.guests.recipes import l2_tree
from vel2.machine.console import Line
from vel2.machine.domains import Domain
from vel2.machine.loader import load_kernel
from vel2.machine.outcome import ExitReason

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(900)]

VEL2 = Path(sys.executable).parent / "vel2"
LIMIT_S = "600"


@functools.cache
def fetched() -> None:
    """Fetch what all of these tests boot."""
    fetch(["xen-4.17", "xen-4.20", "6.12", "busybox"])


def boot_dom0(tmp_path: Path, *options: str) -> tuple[dict[str, Any], list[str]]:
    """Boot Xen with Linux as dom0 by the command line; fail unless it ends well."""
    fetched()
    ramdisk, result = tmp_path / "root.cpio", tmp_path / "result.json"
    ramdisk.write_bytes(l2_tree().pack())
    done = subprocess.run(
        [
            *(VEL2, "run", "--memory", "1G", "--append", "dom0_mem=512M"),
            *("--domain", f"dom0,kernel=6.12,ramdisk={ramdisk},append=console=hvc0 panic=-1"),
            *("--timeout", LIMIT_S, "--json", result, *options),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == ExitCode.OK, done.stdout
    return json.loads(result.read_text()), done.stdout.splitlines()


def check_dom0(result: dict[str, Any], lines: list[str], version: str) -> None:
    """Xen said its version, Linux found Xen, user space ran to its end, Xen powered off."""
    assert any(line.startswith(f"(XEN) Xen version {version}.") for line in lines)
    assert any(f"Xen {version} support found" in line for line in lines)
    assert result["l2"]["userspace"] is True
    assert result["l2"]["el"] == "EL1"
    assert result["l2"]["sum"] == sum(range(1, 1001))
    assert any(line.startswith("(XEN) Hardware Dom0 halted") for line in lines)
    assert result["ended"] == "the guest powered off"


def test_dom0_with_nv2(tmp_path: Path) -> None:
    result, lines = boot_dom0(tmp_path, "--kernel", "xen-4.20", "--el2", "nvhe")
    check_dom0(result, lines, "4.20")
    assert set(result["traps"]["by_context"]) == {"vEL2", "vEL1"}
    # The VNCR page serves what does not need L0.
    assert "ICH_HCR_EL2" not in result["traps"]["by_sysreg"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["4.17", "4.20"])
@pytest.mark.parametrize("el2", ["nvhe", "vhe"])
def test_dom0_with_nv_alone(tmp_path: Path, version: str, el2: str) -> None:
    """With `--el2 vhe` too: there HCR_EL2.E2H is L1's to choose."""
    options = ("--kernel", f"xen-{version}", "--el2", el2, "--nv", "nv")
    result, lines = boot_dom0(tmp_path, *options)
    check_dom0(result, lines, version)
    assert result["traps"]["by_sysreg"]["ICH_HCR_EL2"] > 0


@pytest.mark.slow
def test_dom0_of_the_older_xen(tmp_path: Path) -> None:
    result, lines = boot_dom0(tmp_path, "--kernel", "xen-4.17", "--el2", "nvhe")
    check_dom0(result, lines, "4.17")


@pytest.mark.slow
def test_dom0_without_vel2(tmp_path: Path) -> None:
    result, lines = boot_dom0(tmp_path, "--kernel", "xen-4.20", "--native")
    check_dom0(result, lines, "4.20")
    assert result["traps"]["total"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("nv", list(Level))
def test_two_domains_of_the_device_tree(nv: Level, show_console: ShowConsole) -> None:
    """Without dom0: Xen starts both at boot, and each speaks through a PL011 that Xen emulates."""
    fetched()
    kernel = load_kernel(guest_path("6.12")).data
    domains = tuple(
        Domain(f"domU{n}", kernel, f"console=ttyAMA0 quiet name{n}", l2_tree().pack(), 192 << 20)
        for n in (1, 2)
    )
    xen = Kernel(load_kernel(guest_path("xen-4.20")), domains=domains)
    vm = Vm(Request(xen, 1 << 30, el2=Kind.NVHE, nv=nv))
    show_console("Xen", vm.console)
    text: list[str] = []

    def watch(line: Line) -> None:
        text.append(line.text)
        # Xen has no guest left to run then, but goes on.
        if all("l2.end" in parse_markers(said) for said in by_domain(text)):
            vm.stop()

    vm.console.on_line(watch)
    try:
        with vm:
            assert vm.wait(float(LIMIT_S)).reason is ExitReason.STOPPED
        assert vm.fatal is None
    finally:
        vm.close()
    for said in by_domain(text):
        markers = parse_markers(said)
        assert (markers["l2.userspace"], markers["l2.el"]) == ("ok", "EL1")
        assert markers["l2.sum"] == str(sum(range(1, 1001)))

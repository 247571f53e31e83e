"""`vel2 top` beside a machine that runs, on a terminal and in a pipe."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.system.test_run_shell import Terminal
from tests.tiny_guests import branch, say
from vel2.cli.exits import ExitCode
from vel2.machine.memory import RAM_BASE

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(3 * LIMIT_S)]

VEL2 = Path(sys.executable).parent / "vel2"
READ_ID = 0xD5380700  # mrs x0, ID_AA64MMFR0_EL1
LOOP = (READ_ID, branch(-1))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[str]:
    """Run a guest that traps all the time; give QEMU's process."""
    (tmp_path / "loop").write_bytes(struct.pack("<40I", *say("here"), *LOOP, *[0] * 29))
    at = f"{RAM_BASE + 0x8_0000:#x}"
    it = Terminal("run", "--memory", "64M", "--load", f"{tmp_path}/loop@{at}", "--entry", at)
    try:
        it.expect("here")
        yield str(qemu_of(it.process.pid))
    finally:
        it.close()


def qemu_of(pid: int) -> int:
    """Find the QEMU among a process's children."""
    listed = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid=,comm="], capture_output=True, text=True, check=True
    )
    [found] = re.findall(r"(\d+) qemu-system", listed.stdout)
    return int(found)


def test_the_screen(machine: str) -> None:
    terminal = Terminal("top", "--pid", machine, "--interval", "0.5")
    try:
        terminal.expect("Traps by class")
        terminal.expect("0x18 SYS64")
        terminal.expect("ID_AA64MMFR0_EL1")
        terminal.type("q")
        terminal.expect("\x1b[?1049l")  # the screen is given back
        assert terminal.process.wait(LIMIT_S) == ExitCode.OK
    finally:
        terminal.close()
    assert f"process {machine}: 1 vCPU, 64 MiB, vhe nv2" in terminal.said


def test_lines(machine: str) -> None:
    options = ("--pid", machine, "--interval", "0.3", "--count", "2")
    done = subprocess.run([VEL2, "top", *options], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == ExitCode.OK, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head == "# seconds vcpu from what per_second"
    rates = [line.split() for line in lines if "0x18:SYS64" in line]
    assert [row[1:4] for row in rates] == [["0", "vEL2", "0x18:SYS64"]] * 2
    assert all(int(row[4]) > 100 for row in rates)


def test_no_machine_of_that_number() -> None:
    done = subprocess.run([VEL2, "top", "--pid", "1"], capture_output=True, text=True)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == ("vel2: process 1 runs no machine of vel2's that you may look into.\n")

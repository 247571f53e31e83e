"""`vel2 run --kernel 6.12` as a newcomer types it: a shell in L1, from which L2 is started."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vel2.cli.exits import ExitCode

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(900)]

VEL2 = Path(sys.executable).parent / "vel2"
PATIENCE_S = 300


class Terminal:
    """The near end of a pseudo-terminal, and the program at the far one."""

    def __init__(self, *command: str) -> None:
        self._near, far = pty.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            [VEL2, *command], stdin=far, stdout=far, stderr=far, start_new_session=True
        )
        os.close(far)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._near, text.encode())

    def expect(self, wanted: str) -> str:
        """Read until something is said; give what was said on the way."""
        got = b""
        while wanted.encode() not in got:
            ready, _, _ = select.select([self._near], [], [], PATIENCE_S)
            assert ready, f"no {wanted!r} within {PATIENCE_S} s; the last was:\n{self.said[-2000:]}"
            try:
                data = os.read(self._near, 4096)
            except OSError:  # the program has ended
                data = b""
            assert data, f"it ended without {wanted!r}; the last was:\n{self.said[-2000:]}"
            got += data
            self.said += data.decode("utf-8", "replace")
        return got.decode("utf-8", "replace").replace("\r\n", "\n")

    def close(self) -> None:
        """End the program if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        os.close(self._near)


@pytest.fixture(autouse=True)
def fetched() -> None:
    done = subprocess.run([VEL2, "guests", "fetch", "6.1", "6.12", "busybox"], capture_output=True)
    assert done.returncode == ExitCode.OK, done.stderr


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    it = Terminal("run", "--kernel", "6.12", "--traps")
    yield it
    it.close()


def test_l2_is_one_command_away(terminal: Terminal) -> None:
    assert "Ctrl-A X ends the machine" in terminal.expect("Booting Linux")
    welcome = terminal.expect("L1# ")
    assert "booted at EL2. Its KVM: VHE." in welcome
    assert "l2 shell" in welcome and "##vel2" not in welcome

    terminal.type("l2\n")
    looked = terminal.expect("L1# ")
    assert "L2| Linux (none) 6.12." in looked and "reboot: Power down" in looked

    terminal.type("l2 shell\n")
    assert "a guest of L1's KVM" in terminal.expect("L2# ")
    terminal.type("dmesg | grep -o 'started at EL[12]'\n")
    assert "started at EL1" in terminal.expect("L2# ")
    terminal.type("exit\n")
    terminal.expect("L1# ")

    terminal.type("exit\n")
    trapped = terminal.expect("vel2: the guest powered off after")
    assert "0x1a ERET" in trapped
    registers = re.findall(r"^([A-Z]\w+_EL\w+) ", trapped, re.M)
    assert registers[0] == "MDCR_EL2", trapped
    assert {"ID_AA64PFR0_EL1", "ICC_SRE_EL2"} <= set(registers), trapped
    assert terminal.process.wait() == ExitCode.OK


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_l2_from_a_pipe(kernel: str) -> None:
    """With 6.1 it also shows that the kernel gets a CPU that it can take."""
    options = ("run", "--kernel", kernel, "--type-after", "L1# $", "--on-eof", "ctrl-d")
    done = subprocess.run([VEL2, *options], input="l2\n", capture_output=True, text=True)
    assert done.returncode == ExitCode.OK, done.stdout[-2000:] + done.stderr
    assert f"L2| Linux (none) {kernel}." in done.stdout
    assert "vel2: the guest powered off" in done.stderr


def test_a_kernel_without_a_root_ends_by_itself(tmp_path: Path) -> None:
    """Linux panics and hangs; it does not sit there."""
    done = subprocess.run(
        [VEL2, "run", "--kernel", "6.12", "--initrd", "none", "--append", "console=ttyAMA0"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert done.returncode == ExitCode.GUEST_FAILED
    assert "vel2: the guest kernel panicked (VFS: Unable to mount root fs" in done.stderr

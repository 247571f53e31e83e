"""`vel2 run --native` with a kernel of a few instructions: ends, time limits, output, interruption.

The whole program runs as a user starts it, so exit codes and what is left behind are the real ones.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.processes import started
from tests.tiny_guests import (
    ECHO_UNTIL_CTRL_D,
    HANG,
    POWER_OFF,
    RESET,
    SPIN,
    WAIT_FOR_KEY,
    branch,
    say,
    write_image,
)
from vel2.cli.exits import ExitCode

pytestmark = pytest.mark.qemu

VEL2 = Path(sys.executable).parent / "vel2"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Name the file that `write_image` makes."""
    return tmp_path / "Image"


def command(image: Path, *options: str) -> list[str]:
    """Give the command line that boots the image."""
    fixed = ["run", "--native", "--kernel", str(image), "--memory", "128M"]
    return [str(VEL2), *fixed, *options]


def run(image: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Boot the image and wait for the end."""
    return subprocess.run(
        command(image, *options),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
    )


def test_a_guest_that_powers_off(image: Path, tmp_path: Path) -> None:
    write_image(image, say("hello\r\n##vel2 l1.el=EL2\r\n"), POWER_OFF)
    done = run(image, "--json", str(tmp_path / "out.json"))
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stdout == "hello\n##vel2 l1.el=EL2\n"
    assert done.stderr.startswith("vel2: the guest powered off after ")
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["l1"]["el"], result["exit_code"]) == ("EL2", 0)


def test_json_has_standard_output_to_itself(image: Path) -> None:
    write_image(image, say("hello\n"), POWER_OFF)
    done = run(image, "--json", "-")
    assert json.loads(done.stdout)["ended"] == "the guest powered off"
    assert done.stderr.startswith("hello\n")


def test_a_guest_that_resets(image: Path) -> None:
    write_image(image, RESET)
    done = run(image)
    assert done.returncode == ExitCode.GUEST_FAILED
    assert done.stderr.startswith("vel2: the guest asked for a reset after ")


def test_a_guest_that_panics(image: Path) -> None:
    write_image(image, say("[    1.0] Kernel panic - not syncing: no root\n"), RESET)
    done = run(image)
    assert done.returncode == ExitCode.GUEST_FAILED
    assert done.stderr.startswith("vel2: the guest kernel panicked (no root) after ")


def test_a_guest_that_panics_and_hangs(image: Path) -> None:
    """As Linux does without `panic=`: nobody waits for what will not come."""
    said = say("[ 1.0] Kernel panic - not syncing: no root\n")
    write_image(
        image, said, say("[ 1.1] ---[ end Kernel panic - not syncing: no root ]---\n"), SPIN
    )
    done = run(image)
    assert done.returncode == ExitCode.GUEST_FAILED
    assert done.stderr.startswith("vel2: the guest kernel panicked (no root) after ")


def test_the_time_limit(image: Path) -> None:
    write_image(image, HANG)
    done = run(image, "--timeout", "1")
    assert done.returncode == ExitCode.TIMEOUT
    assert done.stderr.startswith("vel2: the time limit was reached after 1.")


def test_a_qemu_that_does_not_start(image: Path) -> None:
    write_image(image, HANG)
    done = run(image, "--", "-no-such-option")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == ("vel2: QEMU refuses what follows --: -no-such-option: invalid option.\n")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED, "\nvel2: interrupted\n"),
        (signal.SIGTERM, ExitCode.TERMINATED, ""),
    ],
)
def test_being_interrupted(image: Path, number: int, code: ExitCode, said: str) -> None:
    """The fixture that every test has then looks for a QEMU that was left behind."""
    write_image(image, say("up\n"), HANG)
    with started(
        command(image),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stderr.read() == said
    assert process.returncode == code


def test_a_message_does_not_land_in_a_line_of_the_guest(image: Path) -> None:
    """Both go to one pipe: the guest's last line has no end."""
    write_image(image, say("a prompt# "), POWER_OFF)
    done = subprocess.run(
        command(image),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.stdout.startswith("a prompt# \nvel2: the guest powered off after ")
    assert run(image).stderr.startswith("vel2: "), "a line that is elsewhere is left alone"


def piped(image: Path, typed: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Boot the image with something to read; the end of it comes at once."""
    return subprocess.run(
        command(image, *options), input=typed, capture_output=True, text=True, timeout=LIMIT_S
    )


def test_input_from_a_pipe_and_its_end(image: Path) -> None:
    """The guest repeats what it reads, and powers off at Ctrl-D. No key is ours in a pipe."""
    write_image(image, say("> "), ECHO_UNTIL_CTRL_D, POWER_OFF)
    done = piped(image, "hey\x01x", "--on-eof", "ctrl-d", "--type-after", "> $")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "> hey\x01x")
    assert "the guest powered off" in done.stderr


def test_the_end_of_input_ends_the_machine(image: Path) -> None:
    write_image(image, say("> "), HANG)
    done = piped(image, "", "--on-eof", "end", "--type-after", "> ")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "> ")
    assert "vel2: it was stopped from the host after" in done.stderr


def test_a_reader_that_leaves(image: Path) -> None:
    line = say("line\n")
    write_image(image, line, (branch(-len(line)),))
    with started(
        command(image), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == ExitCode.BROKEN_PIPE


def test_a_key_reaches_the_guest_and_an_escape_ends_it(image: Path) -> None:
    """On a terminal: the guest waits for a key, answers, hangs; Ctrl-A X leaves."""
    write_image(image, say("key?"), WAIT_FOR_KEY, say("thanks\n"), HANG)
    near, far = pty.openpty()
    with started(command(image), stdin=far, stdout=far, stderr=far, start_new_session=True) as it:
        os.close(far)
        assert b"vel2: Ctrl-A X ends the machine; Ctrl-A H shows the keys." in read_until(
            near, b"key?"
        )
        os.write(near, b"k")
        read_until(near, b"thanks")
        os.write(near, b"\x01x")
        assert b"vel2: it was stopped from the host after" in read_until(near, b" s")
        assert it.wait(LIMIT_S) == ExitCode.OK
    os.close(near)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """Read what the program writes until `wanted` has come."""
    got = b""
    while wanted not in got:
        got += os.read(terminal, 4096)
    return got

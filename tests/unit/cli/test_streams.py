"""Standard streams that are closed or full, and Ctrl-C before anything has begun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.processes import started

MODULE = [sys.executable, "-m", "vel2"]
LOADING = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["vel2", "guests", "list"]
from vel2.__main__ import main
main()
"""


def shell(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run vel2 with a redirection of the shell's."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *MODULE, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.mark.parametrize("arguments", [("guests", "list"), ("--help",), ("--version",)])
@pytest.mark.parametrize(
    ("redirection", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_output_that_cannot_be_written(
    arguments: tuple[str, ...], redirection: str, why: str
) -> None:
    done = shell(redirection, *arguments)
    assert done.stderr == f"vel2: standard output cannot be written ({why}).\n"
    assert done.returncode == 3


@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "2>/dev/full", "<&- 2>&-"])
def test_what_is_not_needed_may_be_closed(redirection: str) -> None:
    done = shell(redirection, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("vel2, version ")


def test_messages_that_nobody_can_read_keep_the_exit_code() -> None:
    for redirection in ("2>&-", "2>/dev/full"):
        assert shell(redirection, "run").returncode == 2


def test_ctrl_c_while_loading() -> None:
    """An interrupt within an import, the moment that matters, not one at a guess."""
    with started([sys.executable, "-c", LOADING], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.read() == "\nvel2: interrupted\n"
        assert process.wait(LIMIT_S) == 130


def test_a_program_told_to_ignore_ctrl_c_does(tmp_path: Path) -> None:
    command = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{LOADING}"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

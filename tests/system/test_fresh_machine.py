"""The README's commands on a fresh Debian, as root and as an ordinary user: tools/fresh-machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("debootstrap") is None,
        reason="debootstrap needs to be installed, and to run as root",
    ),
]

TOOL = Path(__file__).resolve().parents[2] / "tools/fresh-machine"
COMMANDS = ("make demo", "make demo", "make test")


@pytest.mark.parametrize("release", ["bookworm", "trixie", "sid"])
@pytest.mark.parametrize("user", ["root", "visitor"])
def test_the_readme_holds(release: str, user: str) -> None:
    command = [sys.executable, TOOL, "--release", release, "--user", user]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    rows = [line for line in done.stdout.splitlines() if " exit " in line]
    assert [row.partition(" exit ")[0].split(user)[1].strip() for row in rows] == list(COMMANDS)

"""The wheel, built and installed where there is nothing else, does the main job."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command, with nothing of this checkout on Python's path; show what failed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_does_the_main_job(tmp_path: Path) -> None:
    run("git", "clone", "--quiet", ROOT, tmp_path / "source")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, tmp_path / "source")
    (wheel,) = tmp_path.glob("vel2-*.whl")
    venv.create(tmp_path / "bare", with_pip=True)
    run(tmp_path / "bare/bin/pip", "install", "--quiet", wheel)
    vel2 = tmp_path / "bare/bin/vel2"
    assert run(vel2, "--version").stdout.startswith(f"vel2, version {wheel.name.split('-')[1]}")
    assert "+g" not in run(vel2, "--version").stdout
    said = run(vel2, "demo", "--quiet").stdout
    assert "L2" in said and "EL2" in said

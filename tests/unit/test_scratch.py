"""Temporary folders: gone at the end, and after a killed owner gone with the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.processes import started
from vel2 import scratch as module
from vel2.scratch import scratch

OWNER = """
import sys
from vel2.scratch import scratch
with scratch() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_goes_with_its_files() -> None:
    with scratch() as folder:
        (folder / "file").touch()
    assert not folder.exists()


def test_the_next_run_removes_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "YOUNG_S", 0)
    foreign = tmp_path / "vel2-something-else"
    foreign.mkdir()
    command = [sys.executable, "-c", OWNER]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        with scratch():
            assert left.exists(), "its owner lives"
        owner.kill()
        owner.wait()
    assert left.exists()
    with scratch() as folder:
        assert sorted(tmp_path.iterdir()) == sorted([foreign, folder])


def test_what_is_young_may_be_about_to_be_locked(tmp_path: Path) -> None:
    young = tmp_path / f"{module.PREFIX}young"
    young.mkdir()
    with scratch():
        assert young.exists()
    os.utime(young, (0, 0))
    with scratch():
        assert not young.exists()

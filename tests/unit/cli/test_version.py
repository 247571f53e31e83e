"""The version says what it is: a release, or a commit after one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import vel2
from vel2.cli.main import vel2 as command
from vel2.cli.version import describe


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "src" / "vel2"
    path.mkdir(parents=True)
    return path


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example"]
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_is_installed_is_a_release(package: Path) -> None:
    assert describe(package) == vel2.__version__


def test_a_checkout_names_its_commit_and_whether_it_was_changed(
    package: Path, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q")
    (package / "file").write_text("one")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert describe(package) == f"{vel2.__version__}+g{commit}"
    (package / "file").write_text("two")
    assert describe(package) == f"{vel2.__version__}+g{commit}.changed"


def test_the_command_says_it() -> None:
    done = CliRunner().invoke(command, ["--version"])
    assert done.exit_code == 0
    assert done.stdout == f"vel2, version {describe()}\n"

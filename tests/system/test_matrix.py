"""`vel2 matrix` as a user starts it: real guests, in machines of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vel2.check.matrix import COMBINATIONS
from vel2.check.matrix_guests import QUICK, RECIPES
from vel2.cli.exits import ExitCode

pytestmark = [pytest.mark.qemu, pytest.mark.network]

VEL2 = Path(sys.executable).parent / "vel2"


def matrix(tmp_path: Path, *options: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Run the matrix; fail with all that it printed unless no guest failed."""
    result = tmp_path / "result.json"
    done = subprocess.run(
        [VEL2, "matrix", "--verbose", "--json", result, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == ExitCode.OK, done.stdout
    rows = json.loads(result.read_text())["cells"]
    return {(row["guest"], row["el2"], row["nv"]): row for row in rows}


@pytest.mark.timeout(900)
def test_quick(tmp_path: Path) -> None:
    rows = matrix(tmp_path, "--quick", "--html", str(tmp_path / "result.html"))
    assert set(rows) == {(name, at.el2.value, at.nv.value) for name, at in QUICK}
    for row in rows.values():
        assert row["result"] == "pass"
        assert 0 < row["seconds"] < 120
    assert (tmp_path / "result.html").read_text().count('<td class="pass"') == len(QUICK)


@pytest.mark.timeout(600)
def test_a_guest_that_cannot_end_in_time(tmp_path: Path) -> None:
    """The limit of a cell ends its machine, and the cell fails with a reason and a console."""
    result = tmp_path / "result.json"
    chosen = ["--guest", "linux-6.12", "--el2", "vhe", "--nv", "nv2"]
    done = subprocess.run(
        [VEL2, "matrix", *chosen, "--timeout", "2", "--json", result],
        capture_output=True,
        text=True,
    )
    assert done.returncode == ExitCode.GUEST_FAILED, done.stderr
    (row,) = json.loads(result.read_text())["cells"]
    assert row["result"] == "fail"
    assert row["reason"].startswith("the time limit was reached; ")
    assert 2 <= row["seconds"] < 20
    assert "tail" in row


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_matrix(tmp_path: Path) -> None:
    rows = matrix(tmp_path)
    assert len(rows) == len(RECIPES) * len(COMBINATIONS)
    for recipe in RECIPES:
        for at in COMBINATIONS:
            row = rows[recipe.name, at.el2.value, at.nv.value]
            assert row["result"] == ("n/a" if at in recipe.inapplicable else "pass"), row

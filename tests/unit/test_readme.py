"""The README and the docs say what the code says."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from vel2.check.matrix_guests import RECIPES
from vel2.machine.version import MINIMUM_QEMU

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_lists_every_hidden_feature() -> None:
    """Show that README's table of what L1 does not see is what the records say."""
    made = runpy.run_path(str(ROOT / "tools" / "features"))
    assert made["with_table"](README) == README
    assert (
        README.count("| FEAT_NV2p1, FEAT_NV3 | what L0 itself does for vEL2 is without it |") == 1
    )


def test_a_readme_without_the_table_is_refused() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "features"))
    with pytest.raises(SystemExit, match=r"README\.md has no table that begins with"):
        made["with_table"]("# vel2")


def matrix(cpus: int, result: str) -> dict[str, object]:
    """Make a result of `vel2 matrix`: one guest, which has nothing to show in one combination."""
    cells = [
        {
            "guest": "linux",
            "el2": el2,
            "nv": nv,
            "result": "n/a" if el2 + nv == "vhenv2" else result,
        }
        for el2 in ("vhe", "nvhe")
        for nv in ("nv2", "nv")
    ]
    return {"run": {"cpus": cpus}, "cells": cells}


def test_the_table_of_the_matrix_is_made_of_two_runs() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "matrix-table"))
    one = made["read_cells"](matrix(1, "pass"), 1)
    two = made["read_cells"](matrix(2, "fail"), 2)
    table = made["table"](one, two)
    both = "pass / fail"
    assert table == f"{made['HEADING']}| linux | n/a | {both} | {both} | {both} |\n"
    assert made["with_table"](README, table).count("| linux |") == 1
    with pytest.raises(SystemExit, match="a run with 2 CPUs is wanted, and this had 1"):
        made["read_cells"](matrix(1, "pass"), 2)
    with pytest.raises(SystemExit, match="the two runs had other cells: linux vhe nv"):
        made["table"](one, {cell: "pass" for cell in one if cell != ("linux", "vhe", "nv")})


def test_the_readme_has_each_row_of_the_matrix() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "matrix-table"))
    rows = README.partition(made["HEADING"])[2].split("\n\n")[0].splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        recipe.name for recipe in RECIPES
    ]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Show that no page sends its reader to a file that is not there."""
    named = set(re.findall(r"`((?:docs|src|tests|tools)/[\w./]+|[A-Z]+\.md)`", page.read_text()))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_modules_that_the_map_names_exist() -> None:
    """Show that the table of `hyp` in ARCHITECTURE.md is the folder."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.split("## Inside `hyp`")[1].split("## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    here = {path.stem for path in (ROOT / "src/vel2/hyp").glob("*.py")} - {"__init__", "image"}
    assert named == here


def test_the_page_of_versions_has_the_oldest_that_the_code_takes() -> None:
    """Show that the page's minima and releases are those that are enforced and tried."""
    text = (ROOT / "docs/versions.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = project["requires-python"].removeprefix(">=")
    assert f"| QEMU | {MINIMUM_QEMU.major}.{MINIMUM_QEMU.minor} |" in text
    assert f"| Python | {python} |" in text
    tool = (ROOT / "tools/fresh-machine").read_text()
    releases = re.search(r"^RELEASES = \{(.*)\}", tool, re.M)
    assert releases
    for name in re.findall(r'"(\w+)":', releases[1]):
        assert f"(`{name}`) |" in text

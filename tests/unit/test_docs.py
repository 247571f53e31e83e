"""The site builds without a warning: every link of every page leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build a folder of pages with this project's configuration, warnings as errors."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html"),
            *("-c", str(ROOT / "docs"), str(source), str(out)),
        ],
        capture_output=True,
        text=True,
    )


def test_the_site_builds_and_can_be_searched(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "threat" in (tmp_path / "searchindex.js").read_text()
    assert (tmp_path / "first-hour.html").exists()
    walk = (tmp_path / "life-of-a-trap.html").read_text()
    files = set(re.findall(r"source/src\.vel2\.hyp\.(\w+)\.html#line-\d+", walk))
    assert files == {"vectors", "trap", "answer", "exception", "context", "eret"}


def test_the_examples_of_what_to_add_are_in_the_source() -> None:
    """Show that each line of code that the page quotes is there, so that it cannot go stale."""
    paths = (ROOT / "src").rglob("*.py")
    source = {line.strip() for path in paths for line in path.read_text().splitlines()}
    quoted = re.findall(r"^ {4}(.*)$", (ROOT / "docs/adding.md").read_text(), re.M)
    assert len(quoted) >= 9
    assert [line for line in quoted if line.strip() not in source] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[there](nowhere.md)", "nowhere"),
        ("[`trap.no_such_name`](../src/vel2/hyp/trap.py)", "no_such_name is not defined"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, text: str, said: str) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"# Page\n\n{text.replace('../src', str(ROOT / 'src'))}\n")
    done = build(pages, tmp_path / "out")
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize("is_relative", [False, True], ids=["absolute", "relative"])
def test_a_link_to_a_definition_leads_to_its_line(tmp_path: Path, is_relative: bool) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    source = ROOT / "src" / "vel2" / "hyp" / "outcome.py"
    target = os.path.relpath(source, pages) if is_relative else source
    (pages / "index.md").write_text(f"# Page\n\n[`outcome.Outcome`]({target})\n")
    done = build(pages, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = source.read_text().splitlines()
    line = 1 + next(n for n, text in enumerate(lines) if text.startswith("class Outcome"))
    assert (
        f"source/src.vel2.hyp.outcome.html#line-{line}" in (tmp_path / "out/index.html").read_text()
    )
    page = (tmp_path / "out/source/src.vel2.hyp.outcome.html").read_text()
    assert f'name="line-{line}"' in page

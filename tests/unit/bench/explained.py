"""Whether a page that explains an operation is what the tool writes, and its figures add up."""

from __future__ import annotations

import re

from vel2.bench.explain import KINDS
from vel2.bench.explain_page import INTRODUCTION, NOTHING_COMPLETED, READING, prose

HEADING = re.compile(r"## ([\w-]+): ([\d,]+) instructions(?:, (\d+) traps)?")
STEP = re.compile(r"### ([\w-]+), step (\d+): (.*)")


def rows_of(block: str) -> list[list[str]]:
    """Give a table's rows without its heads."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()[2:]]


def number(text: str) -> int:
    return int(text.replace(",", "") or 0)


def check_page(text: str) -> None:
    """Check that a page is what the tool writes: its prose, its parts, and that figures add up."""
    assert text.endswith("\n")
    blocks = text.rstrip("\n").split("\n\n")
    known = {prose(kind.text) for kind in KINDS} | {
        prose(text) for text in (READING, NOTHING_COMPLETED)
    }
    start, end = (re.escape(part) for part in INTRODUCTION.split("{does}"))
    introduction = re.compile(f"{start}.*{end}")
    assert blocks[0].startswith("# Where the instructions of one `")
    assert blocks[1].startswith("<!-- Written by `vel2 bench ")
    assert introduction.fullmatch(" ".join(blocks[2].split()))
    assert blocks[3].startswith("L1 is ")
    totals = {row[0]: row for row in rows_of(blocks[4])}
    steps: list[list[str]] = []
    at = ""
    step: list[str] = []
    wanted: list[tuple[str, int]] = []
    for block in blocks[5:]:
        if found := HEADING.fullmatch(block):
            assert not steps and not wanted
            at = found[1]
            assert totals[at][1] == f"{found[2]} ({found[3] or 0})"
            assert number(found[2]) == sum(map(number, totals[at][2:5]))
        elif block.startswith("| step |"):
            steps = rows_of(block)
            guests, l0, traps = (sum(number(row[n]) for row in steps) for n in (2, 3, 4))
            assert number(totals[at][2]) + number(totals[at][3]) == guests
            assert number(totals[at][4]) == l0
            assert totals[at][1].endswith(f"({traps})")
        elif found := STEP.fullmatch(block):
            assert not wanted
            step = steps.pop(0)
            assert (found[1], found[2], found[3]) == (at, step[0], step[1])
            total = number(step[2]) or number(step[3])
            wanted = [("| function of ", total)] if total else []
            if step[2] and step[4]:
                wanted += [
                    ("| trap within", number(step[3])),
                    ("| function of L0", number(step[3])),
                ]
        elif block.startswith("|"):
            begins, total = wanted.pop(0)
            assert block.startswith(begins)
            assert sum(number(row[-1]) for row in rows_of(block)) == total
        elif not re.match(r"ESR_EL2: `|\d+ registers? (read|written)|Barriers and ", block):
            assert block in known, block
    assert not steps and not wanted

"""The commands that README, docs/ and `--help` show: where they are, and how each is tried.

A fenced block that shows a command of ours says above itself what becomes of it:

    <!-- run -->               tests/system/test_docs_commands.py runs its lines, one by one
    <!-- run: slow -->         the same, in `make test-all`
    <!-- run by: PATH -->      a test of that file does what the block does, at a terminal say
    <!-- not run: REASON -->   the options are looked at, and no more

A block under `<!-- prints -->` is what the block before it prints: its lines in this order, with
`...` for what differs from run to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "ARCHITECTURE.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "hypercall.md"),
)
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n+)?^```[^\n]*\n(?P<body>.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^ *((?:\.venv/bin/)?vel2(?: .*)?|make .*|\.venv/bin/python .*)$")
DESCRIBED = re.compile(r" {2,}| #| > ")
"""What ends a command: its description behind some spaces, a comment, or a file for its output."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and what is said of it."""

    page: str
    line: int
    mark: str
    body: str

    @property
    def commands(self) -> list[str]:
        """The commands of ours that it shows."""
        return list(commands_in(self.body))

    @property
    def id(self) -> str:
        """Where it is."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of one page."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("body"))
        yield Block(page.name, line, found["mark"] or "", found["body"])


def all_blocks() -> list[Block]:
    """Give the fenced blocks of all pages, in order."""
    return [block for page in PAGES for block in blocks(page)]


def commands_in(text: str) -> Iterator[str]:
    """Yield the commands of ours in a block or a help text, without their descriptions."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        found = COMMAND.match(line)
        if found:
            yield DESCRIBED.split(found[1])[0].strip()

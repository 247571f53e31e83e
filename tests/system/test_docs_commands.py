"""The commands of README and docs, run as they stand there: all succeed and print what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_commands import Block, all_blocks
from tests.processes import FOREGROUND

pytestmark = [pytest.mark.qemu, pytest.mark.network]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def cases() -> list[object]:
    """Give each block to run, with what is shown of its output."""
    found = []
    blocks = all_blocks()
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        is_slow = block.mark == "run: slow"
        if is_slow or block.mark == "run":
            printed = after.body if after is not None and after.mark == "prints" else ""
            marks = [pytest.mark.slow, pytest.mark.timeout(3600)] if is_slow else []
            found.append(pytest.param(block, printed, id=block.id, marks=marks))
    return found


def in_order(shown: str) -> re.Pattern[str]:
    """Give what matches the lines shown, one after the other, with `...` and any spaces."""
    lines = [" ".join(line.split()) for line in shown.splitlines() if line.strip()]
    return re.compile(".*".join(re.escape(line).replace(r"\.\.\.", ".*") for line in lines), re.S)


@pytest.mark.parametrize(("block", "printed"), cases())
def test_the_commands_of_a_block(block: Block, printed: str, tmp_path: Path) -> None:
    """Run them in an empty folder, where the files they write are no matter."""
    output = ""
    assert block.commands
    for line in block.commands:
        command = re.sub(r"(?<!\S)(?:\.venv/bin/)?(vel2|python)\b", rf"{BIN}/\1", line, count=1)
        done = subprocess.run(
            [*FOREGROUND, "bash", "-c", command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "120"},
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        output += done.stdout
    squeezed = "\n".join(" ".join(line.split()) for line in output.splitlines())
    assert in_order(printed).search(squeezed), f"{printed}\nis not in\n{output}"


@pytest.mark.parametrize(
    ("shown", "output", "is_there"),
    [
        ("a  b\n...\nc\n", "a b\nx\nc", True),
        ("a\nc\n", "c\na", False),
        ("ended after ... s\n", "ended after 3.1 s", True),
    ],
)
def test_what_is_shown_is_compared(shown: str, output: str, is_there: bool) -> None:
    assert bool(in_order(shown).search(output)) == is_there

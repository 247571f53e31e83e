"""Tables of many columns, which may be wider than the terminal, and the words in their cells."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("MET", "cell_text", "host_text", "print_columns")

COLUMN_GAP = "  "
MET = {True: "met", False: "not met", None: "-"}


def cell_text(cell: "Tree | None") -> str:
    """Write the cost of one operation, and in brackets its traps where they are known."""
    if cell is None:
        return "failed"
    if cell["instructions_per_op"] is None:
        return host_text(cell)
    text = f"{cell['instructions_per_op']:,.0f}"
    return text if cell["usual_traps"] is None else f"{text} ({cell['usual_traps']})"


def host_text(cell: "Tree | None") -> str:
    """Write what one operation took by host time."""
    if cell is None:
        return "failed"
    return "-" if cell["host_ns_per_op"] is None else f"{cell['host_ns_per_op']:,.0f}"


def print_columns(
    terminal: Terminal, head: str, rows: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> None:
    """Print columns of texts, in as many tables as it takes."""
    first = [head, *rows]
    for number, part in enumerate(parts_that_fit(columns, terminal.width - max(map(len, first)))):
        if number:
            terminal.print()
        table = plain_table(head, *part)
        for row, *texts in zip(rows, *(columns[name] for name in part), strict=True):
            table.add_row(row, *texts)
        terminal.print(table)


def parts_that_fit(columns: Mapping[str, Sequence[str]], width: int) -> Iterator[list[str]]:
    """Divide columns among as many tables as the width takes; each has one column at least."""
    part: list[str] = []
    left = width
    for name, texts in columns.items():
        needed = len(COLUMN_GAP) + max(map(len, (name, *texts)))
        if part and needed > left:
            yield part
            part, left = [], width
        part.append(name)
        left -= needed
    if part:
        yield part

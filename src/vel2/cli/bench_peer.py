"""The table of `vel2 bench --peer`: vel2 and another L0, operation by operation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vel2.cli.bench import MET, cell_text
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("print_peer",)


def print_peer(terminal: Terminal, columns: "Tree", operations: Sequence[str]) -> None:
    """Print both costs, how many times the first is the second, and what is asked for."""
    cells = [
        (name, cell)
        for column in columns.values()
        for name in operations
        if (cell := column["operations"].get(name)) is not None and cell["peer"] is not None
    ]
    has_host = any(cell["peer"]["host_ratio"] is not None for _, cell in cells)
    host_head = ("by host time",) if has_host else ()
    heads = ("L0", "operation", "its cost", "vel2", "ratio", "at least", *host_head)
    table = plain_table(*heads, texts=2)
    for name, cell in cells:
        peer = cell["peer"]
        other = columns[peer["configuration"]]["operations"][name]
        least = "-" if peer["at_least"] is None else f"{peer['at_least']} {MET[peer['met']]}"
        costs = cell_text(other), cell_text(cell), ratio_text(peer["ratio"])
        host = (ratio_text(peer["host_ratio"]),) if has_host else ()
        table.add_row(peer["configuration"], name, *costs, least, *host)
    if table.row_count:
        terminal.print(table)
        terminal.print()


def ratio_text(ratio: float | None) -> str:
    """Write a ratio with three digits."""
    return "-" if ratio is None else f"{ratio:.3g}"

"""The tables of `vel2 bench` below the costs: targets, and vel2 beside another L0."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vel2.cli.bench.tables import MET, cell_text
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("print_comparison", "print_peer")

COMPARED = ("ratio_to_native", "must", "aims", "kvm_as_l0")


def print_comparison(terminal: Terminal, columns: "Tree", operations: Sequence[str]) -> None:
    """Print how each operation compares with `native`, with KVM as L0, and with the targets."""
    table = plain_table("compared", "operation", "x native", "KVM / vel2", "must", "aims", texts=2)
    for name, column in columns.items():
        for operation in operations:
            cell = column["operations"].get(operation)
            if cell is None or all(cell[key] is None for key in COMPARED):
                continue
            cost, kvm = cell["instructions_per_op"], cell["kvm_as_l0"]
            ratio = "-" if cell["ratio_to_native"] is None else f"{cell['ratio_to_native']:.2f}"
            gain = "-" if kvm is None or cost is None else f"{kvm['instructions'] / cost:.1f}"
            if cell["peer"] is not None:
                gain = f"{cell['peer']['ratio']:.3g}"
            table.add_row(
                name, operation, ratio, gain, *(target(cell[k]) for k in ("must", "aims"))
            )
    if table.row_count:
        terminal.print(table)
        terminal.print()


def target(judged: "Tree | None") -> str:
    """Write a target and whether it is met."""
    if judged is None:
        return "-"
    traps = "" if judged["traps"] is None else f" ({judged['traps']})"
    return f"{judged['instructions']:,}{traps} {MET[judged['met']]}"


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

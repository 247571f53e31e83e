"""`vel2 bench --macro`: booting, processes and memory, at both levels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from vel2.bench.configuration import Configuration
from vel2.bench.macro import MacroRequest, Part, measure_macro
from vel2.bench.macro_result import BASE, Runs, add_ratios, macro_column
from vel2.bench.result import failed_column
from vel2.bench.system import MeasureError
from vel2.cli.exits import ExitCode
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal
from vel2.machine.loader import KernelImage

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("MacroPlan", "measure_columns", "print_macro")

MET = {True: "met", False: "not met", None: "-"}


@dataclass
class MacroPlan:
    """What is to be run.

    :ivar rounds: how many turns by host time.
    """

    configurations: Sequence[Configuration]
    l1_kernel: KernelImage
    l2_kernel: KernelImage
    n: int
    huge_pages: bool
    counts: bool
    rounds: int
    timeout: float
    errors: dict[str, MeasureError] = field(default_factory=dict)

    def runs(self) -> Iterator[tuple[Configuration, bool]]:
        """Give each run as configuration and whether it counts; those by host time take turns."""
        if self.counts:
            yield from ((row, True) for row in self.configurations)
        for _ in range(self.rounds):
            yield from ((row, False) for row in self.configurations)

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self.configurations) * (self.rounds + self.counts)


def measure_columns(plan: MacroPlan) -> tuple["Tree", int]:
    """Run everything; a configuration that fails once is left out from then on.

    :return: the columns, and the exit code of the first that failed.
    """
    counted: dict[str, dict[str, Part]] = {}
    timed: dict[str, list[dict[str, Part]]] = {row.name: [] for row in plan.configurations}
    for number, (row, counts) in enumerate(plan.runs(), 1):
        if row.name in plan.errors:
            continue
        scale = "counting instructions" if counts else "by host time"
        click.echo(f"vel2: running {row.name}, {scale} ({number} of {plan.total})", err=True)
        request = MacroRequest(
            row,
            plan.l1_kernel,
            plan.l2_kernel,
            plan.n,
            huge_pages=plan.huge_pages,
            deterministic=counts,
            timeout=plan.timeout,
        )
        try:
            parts = measure_macro(request)
        except MeasureError as error:
            click.echo(f"vel2: {row.name}: {error}", err=True)
            plan.errors[row.name] = error
            continue
        if counts:
            counted[row.name] = parts
        else:
            timed[row.name].append(parts)
    columns: Tree = {}
    for row in plan.configurations:
        failure = plan.errors.get(row.name)
        columns[row.name] = (
            macro_column(Runs(counted.get(row.name), timed[row.name]))
            if failure is None
            else failed_column(failure)
        )
    add_ratios(columns, {row.name: row for row in plan.configurations})
    code = next((failure.exit_code for failure in plan.errors.values()), int(ExitCode.OK))
    return columns, code


SCALES = (
    ("instructions_per_op", "ratio_to_native", "instructions"),
    ("host_ns_per_op", "host_ratio_to_native", "nanoseconds of the host, median of the rounds"),
)


def print_macro(terminal: Terminal, columns: "Tree") -> None:
    """Print a table for each scale, then the targets."""
    parts = tuple(dict.fromkeys(part for row in columns.values() for part in row["operations"]))
    for cost, ratio, text in SCALES:
        if any(c[cost] is not None for row in columns.values() for c in row["operations"].values()):
            table = plain_table("one of", *columns)
            for part in parts:
                cells = (column["operations"].get(part) for column in columns.values())
                table.add_row(part, *(cell_text(cell, cost, ratio) for cell in cells))
            terminal.print()
            terminal.print(table)
            terminal.print(f"{text}, all levels together; in brackets times {BASE}")
    print_targets(terminal, columns, parts)


def cell_text(cell: "Tree | None", cost: str, ratio: str) -> str:
    """Write a cost and its ratio."""
    if cell is None:
        return "failed"
    if cell[cost] is None:
        return "-"
    return f"{cell[cost]:,.0f}" + ("" if cell[ratio] is None else f" ({cell[ratio]:.2f})")


def print_targets(terminal: Terminal, columns: "Tree", parts: Sequence[str]) -> None:
    """Print every target, and whether it is met."""
    table = plain_table("target", "part", "scale", "at most", "is", "", texts=3)
    for name, column in columns.items():
        for part in parts:
            cell = column["operations"].get(part)
            target = cell and cell["target"]
            if not target:
                continue
            for scale, at_most, ratio, met in TARGET_COLUMNS:
                if target[at_most] is not None and cell[ratio] is not None:
                    row = (name, part, scale, f"{target[at_most]:.2f}", f"{cell[ratio]:.2f}")
                    table.add_row(*row, MET[target[met]])
    if table.row_count:
        terminal.print()
        terminal.print(table)
    terminal.print()


TARGET_COLUMNS = (
    ("instructions", "ratio", "ratio_to_native", "met"),
    ("host time", "host_ratio", "host_ratio_to_native", "host_met"),
)

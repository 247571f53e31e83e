"""`vel2 bench --macro` and `--growth`: what Linux programs measure of themselves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from vel2.bench.configuration import Configuration
from vel2.bench.growth.measure import GrowthRequest, curves_tree, measure_growth
from vel2.bench.growth.points import CURVES
from vel2.bench.macro import MacroRequest, measure_macro
from vel2.bench.macro_result import Runs, add_ratios, macro_column
from vel2.bench.parts import Part
from vel2.bench.result import failed_column
from vel2.bench.system import MeasureError
from vel2.cli.bench import print_columns
from vel2.cli.exits import ExitCode
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal
from vel2.machine.loader import KernelImage

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("Plan", "measure_columns", "print_growth", "print_macro", "run_growth", "run_macro")

MET = {True: "met", False: "not met", None: "-"}


@dataclass
class Plan:
    """What is to be run.

    :ivar run: runs one configuration once; told whether to count instructions.
    :ivar rounds: how many turns by host time.
    """

    configurations: Sequence[Configuration]
    run: Callable[[Configuration, bool], dict[str, Part]]
    counts: bool
    rounds: int
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


def measure_columns(plan: Plan) -> tuple["Tree", int]:
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
        try:
            parts = plan.run(row, counts)
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


@dataclass(frozen=True)
class Scale:
    """One way to measure: the keys of its cost and of its ratio, and what to call it."""

    cost: str
    ratio: str
    text: str


SCALES = (
    Scale("instructions_per_op", "ratio_to_native", "instructions"),
    Scale(
        "host_ns_per_op", "host_ratio_to_native", "nanoseconds of the host, median of the rounds"
    ),
)


def scales_of(columns: "Tree") -> Iterator[Scale]:
    """Give those that were measured."""
    for scale in SCALES:
        cells = (cell for column in columns.values() for cell in column["operations"].values())
        if any(cell[scale.cost] is not None for cell in cells):
            yield scale


def print_scale(scale: Scale, terminal: Terminal) -> None:
    """Say what the figures above are."""
    terminal.print(
        f"{scale.text}, all levels together; in brackets times native, or for nVHE times"
        " native-nvhe"
    )
    terminal.print()


def print_macro(terminal: Terminal, columns: "Tree") -> None:
    """Print a table for each scale, then the targets."""
    parts = tuple(dict.fromkeys(part for row in columns.values() for part in row["operations"]))
    terminal.print()
    for scale in scales_of(columns):
        print_columns(terminal, "one of", parts, texts_of(columns, parts, scale))
        print_scale(scale, terminal)
    print_targets(terminal, columns, parts)


def print_growth(terminal: Terminal, columns: "Tree") -> None:
    """Print a table for each curve on each scale."""
    terminal.print()
    for scale in scales_of(columns):
        for curve in CURVES:
            names = [f"{curve.name}.{x}" for x in curve.points]
            terminal.print(f"{curve.name}: one {curve.costs}")
            texts = texts_of(columns, names, scale)
            print_columns(terminal, curve.grows, [str(x) for x in curve.points], texts)
            terminal.print()
        print_scale(scale, terminal)


def texts_of(columns: "Tree", names: Sequence[str], scale: Scale) -> dict[str, list[str]]:
    """Write the figures of each column, in the order of `names`."""
    return {
        name: [cell_text(column["operations"].get(each), scale) for each in names]
        for name, column in columns.items()
    }


def cell_text(cell: "Tree | None", scale: Scale) -> str:
    """Write a cost and its ratio."""
    if cell is None:
        return "failed"
    cost, ratio = cell[scale.cost], cell[scale.ratio]
    if cost is None:
        return "-"
    return f"{cost:,.0f}" + ("" if ratio is None else f" ({ratio:.2f})")


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
        terminal.print(table)
        terminal.print()


TARGET_COLUMNS = (
    ("instructions", "ratio", "ratio_to_native", "met"),
    ("host time", "host_ratio", "host_ratio_to_native", "host_met"),
)


def run_macro(
    terminal: Terminal,
    tree: "Tree",
    configurations: Sequence[Configuration],
    l1_kernel: KernelImage,
    l2_kernel: KernelImage,
    timeout: float,
) -> int:
    """Run the macro benchmarks as the tree says, print and add what they showed.

    :return: the exit code.
    """
    request = MacroRequest(
        configurations[0],
        l1_kernel,
        l2_kernel,
        tree["n"],
        huge_pages=tree["huge_pages"],
        timeout=timeout,
    )

    def run(row: Configuration, counts: bool) -> dict[str, Part]:
        return measure_macro(replace(request, configuration=row, deterministic=counts))

    plan = Plan(configurations, run, counts=tree["clock"] != "host", rounds=tree["rounds"])
    tree["configurations"], code = measure_columns(plan)
    print_macro(terminal, tree["configurations"])
    return code


def run_growth(
    terminal: Terminal,
    tree: "Tree",
    configurations: Sequence[Configuration],
    kernel: KernelImage,
    timeout: float,
) -> int:
    """Measure the growth curves as the tree says, print and add them.

    :return: the exit code.
    """
    request = GrowthRequest(configurations[0], kernel, tree["n"], timeout=timeout)

    def run(row: Configuration, counts: bool) -> dict[str, Part]:
        return measure_growth(replace(request, configuration=row, deterministic=counts))

    plan = Plan(configurations, run, counts=tree["clock"] != "host", rounds=tree["rounds"])
    tree["curves"] = curves_tree()
    tree["configurations"], code = measure_columns(plan)
    print_growth(terminal, tree["configurations"])
    return code

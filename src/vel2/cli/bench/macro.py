"""`vel2 bench macro`: what Linux programs measure of themselves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vel2.cli.bench.options import SMP, Asked, asking, clock_options
from vel2.cli.bench.ratios import print_scale, scales_of, texts_of
from vel2.cli.bench.tables import MET, print_columns
from vel2.cli.kernels import find_kernel
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal
from vel2.machine.loader import load_kernel

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.campaign import Clock
    from vel2.bench.result import Tree

__all__ = ("macro", "print_macro")

COUNT, ROUNDS = 1000, 3
TARGET_COLUMNS = (
    ("instructions", "ratio", "ratio_to_native", "met"),
    ("host time", "host_ratio", "host_ratio_to_native", "host_met"),
)

L2 = click.option("--l2", default="6.12", show_default=True, help="L2's kernel: a name or a file.")
HUGE_PAGES = click.option(
    "--huge-pages", is_flag=True, help="Let L1 give L2 huge pages, as it likes to."
)


@click.command()
@asking(COUNT, L2, HUGE_PAGES, SMP)
@clock_options(ROUNDS)
def macro(asked: Asked, clock: "Clock", l2: str, huge_pages: bool, smp: int) -> None:
    """Measure booting, processes and memory in L1 and in L2.

    Linux runs at both levels, with a program of ours as process 1. With --smp
    both have more CPUs, and so more to start.

    \b
    Examples:
      vel2 bench macro
      vel2 bench macro --deterministic --configs native,vhe-nv2
      vel2 bench macro --deterministic --smp 4 --configs native,vhe-nv2
      vel2 bench macro --host-time --rounds 7 --el2 vhe --nv nv2
    """  # noqa: D301
    from vel2.bench.campaign import require_count
    from vel2.bench.macro import compare_macros
    from vel2.bench.program import MAX_N

    require_count(asked.count, MAX_N)
    campaign = asked.campaign(clock, l2)
    l2_kernel = load_kernel(find_kernel(l2))
    result = compare_macros(campaign, l2, l2_kernel, huge_pages=huge_pages, cpus=smp)
    print_macro(asked.terminal, result.tree["configurations"])
    asked.finish(result)


def print_macro(terminal: Terminal, columns: "Tree") -> None:
    """Print a table for each scale, then the targets."""
    parts = tuple(dict.fromkeys(part for row in columns.values() for part in row["operations"]))
    terminal.print()
    for scale in scales_of(columns):
        print_columns(terminal, "one of", parts, texts_of(columns, parts, scale))
        print_scale(scale, terminal)
    print_targets(terminal, columns, parts)


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

"""`vel2 bench growth`: how an exit's cost grows."""

from typing import TYPE_CHECKING

import click

from vel2.cli.bench.options import Asked, asking, clock_options
from vel2.cli.bench.ratios import print_scale, scales_of, texts_of
from vel2.cli.bench.tables import print_columns
from vel2.cli.options import depth_option
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.campaign import Clock
    from vel2.bench.result import Tree

__all__ = ("growth", "print_growth", "print_held")

COUNT = 1000


@click.command()
@asking(COUNT)
@depth_option
@clock_options(rounds=1)
def growth(asked: Asked, depth: int, clock: "Clock") -> None:
    """Measure how the cost of an exit grows.

    A program in L1 runs more and more guests, lets them touch more and more
    memory, and has more and more of their interrupts in list registers. Then
    L2 has more and more vCPUs, on as many CPUs of L1; a table says for how
    long L0 held its locks. With --depth, L1 has more and more vel2s below it.

    \b
    Examples:
      vel2 bench growth --el2 vhe
      vel2 bench growth --deterministic --configs native,vhe-nv2
      vel2 bench growth --deterministic --depth 3 --timeout 1800
    """  # noqa: D301
    from vel2.bench.campaign import require_count
    from vel2.bench.growth.measure import compare_growth
    from vel2.bench.growth.points import MAX_EXITS

    require_count(asked.count, MAX_EXITS)
    result = compare_growth(asked.campaign(clock), depth)
    print_growth(asked.terminal, result.tree["configurations"])
    print_held(asked.terminal, result.tree["configurations"])
    asked.finish(result)


def print_growth(terminal: Terminal, columns: "Tree") -> None:
    """Print a table for each curve on each scale."""
    from vel2.bench.growth.points import CURVES

    terminal.print()
    for scale in scales_of(columns):
        for curve in CURVES:
            names = {f"{curve.name}.{x}": str(x) for x in curve.points}
            found = {name: x for name, x in names.items() if is_measured(columns, name)}
            if not found:
                continue
            terminal.print(f"{curve.name}: one {curve.costs}")
            texts = texts_of(columns, tuple(found), scale)
            print_columns(terminal, curve.grows, tuple(found.values()), texts)
            terminal.print()
        print_scale(scale, terminal)


def print_held(terminal: Terminal, columns: "Tree") -> None:
    """Print how long L0 held its locks in each run of the curve over vCPUs."""
    from vel2.bench.growth.points import VCPUS_POINTS

    table = plain_table("configuration", "lock", "vCPUs", "holds", "all", "longest", texts=2)
    for name, column in columns.items():
        for point in VCPUS_POINTS:
            cell = column["operations"].get(point.name)
            for lock, held in (cell["locks"] if cell else {}).items():
                times = (f"{held[key] / 1000:,.1f} us" for key in ("total_ns", "longest_ns"))
                table.add_row(name, lock, str(point.x), f"{held['holds']:,}", *times)
    if table.row_count:
        terminal.print(table)
        terminal.print()


def is_measured(columns: "Tree", name: str) -> bool:
    """Whether a point was measured in some configuration."""
    return any(name in column["operations"] for column in columns.values())

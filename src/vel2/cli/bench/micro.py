"""`vel2 bench micro`: what one operation of L2 costs in each configuration."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from vel2.cli.bench.comparison import print_comparison, print_peer
from vel2.cli.bench.options import ONLY, SMP, Asked, asking, clock_options, split_names
from vel2.cli.bench.tables import cell_text, host_text, print_columns
from vel2.cli.contradictions import refuse_contradictions
from vel2.cli.options import depth_option
from vel2.cli.probing import probe_option
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.campaign import Clock
    from vel2.bench.result import Tree

__all__ = ("micro", "print_costs")

COUNT = 1000
SCALES = (
    (
        "instructions_per_op",
        cell_text,
        "instructions of all levels together (traps to real EL2 of the usual one)",
    ),
    ("host_ns_per_op", host_text, "nanoseconds of the host, all levels together"),
)


@click.command()
@asking(COUNT, ONLY, SMP)
@click.option(
    "--level",
    type=click.IntRange(2, 3),
    default=2,
    show_default=True,
    help="The guest that is measured: 3 is a guest of L2, a Linux in a virtual EL2 of L1's KVM.",
)
@depth_option
@probe_option
@clock_options(rounds=1)
def micro(
    asked: Asked,
    smp: int,
    level: int,
    depth: int,
    probes: tuple[str, ...],
    clock: "Clock",
    only: tuple[str, ...],
) -> None:
    """Measure what single operations of L2, or of L3, cost.

    L2 is a bare-metal program that does one kind of operation at a time, and
    times it. This is what `vel2 bench` does when no command is named.

    \b
    Examples:
      vel2 bench
      vel2 bench --configs native,vhe-nv2 --only hypercall,mmio_read
      vel2 bench --l1 6.1 --el2 vhe --json result.json
      vel2 bench --smp 2 --only remote_sgi,remote_wake
      vel2 bench --peer kvm              Linux's KVM as L0 beside vel2
      vel2 bench --deterministic         instructions only: every run is the same
      vel2 bench --level 3 --deterministic --only hypercall
      vel2 bench --depth 2 --deterministic --configs vhe-nv2,nvhe-nv2
      vel2 bench --deterministic --only hypercall --probe by_pc.py
    """  # noqa: D301
    from vel2.bench.configuration import nested_deeper
    from vel2.bench.micro import compare_operations
    from vel2.bench.payload import build_payload

    refuse_contradictions(click.get_current_context(), (("level", "depth"),))
    rows, lacking = nested_deeper(asked.configurations, level, depth)
    asked = replace(asked, configurations=tuple(replace(row, probes=probes) for row in rows))
    payload = build_payload(asked.count, split_names(only), clock.counts, vcpus=smp)
    result = compare_operations(asked.campaign(clock), payload, lacking)
    terminal, columns = asked.terminal, result.tree["configurations"]
    print_costs(terminal, columns, payload.selected, level)
    print_comparison(terminal, columns, payload.selected)
    print_peer(terminal, columns, payload.selected)
    for name, why in result.tree["not_available"].items():
        terminal.print(f"{name} is not measured: {why}")
    asked.finish(result)


def print_costs(
    terminal: Terminal, columns: "Tree", operations: Sequence[str], level: int = 2
) -> None:
    """Print for each scale a row for each operation, a column for each configuration."""
    terminal.print()
    for key, text_of, what in SCALES:
        cells = [cell for column in columns.values() for cell in column["operations"].values()]
        if cells and all(cell[key] is None for cell in cells):
            continue
        texts = {
            name: [text_of(column["operations"].get(operation)) for operation in operations]
            for name, column in columns.items()
        }
        print_columns(terminal, f"one operation of L{level}", operations, texts)
        if cells:
            terminal.print(what)
        terminal.print()

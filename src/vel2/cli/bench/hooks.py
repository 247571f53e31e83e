"""`vel2 bench hooks`: how long a vCPU waits for a hook in CPython."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vel2.cli.options import json_option
from vel2.cli.provenance import run_of
from vel2.cli.report import require_writable, write_json
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.inspect.latency import RoundTrips

__all__ = ("hooks",)

COUNT = 5000


@click.command()
@click.option(
    "--n",
    "count",
    type=click.IntRange(10, 1_000_000),
    default=COUNT,
    show_default=True,
    help="How many round trips.",
)
@click.option(
    "--load",
    type=click.IntRange(0, 64),
    multiple=True,
    help="Beside so many busy loops (may come several times)  [default: 0 and 2]",
)
@json_option
def hooks(count: int, load: tuple[int, ...], json_file: Path | None) -> None:
    """Measure how long a vCPU waits for a hook in CPython.

    A guest reads a register that traps, again and again; the hook returns a
    value. What is measured, by the guest's own counter, is the time from L0's
    question to the answer in L0: doorbell, CPython, the hook, the mailbox.

    \b
    Examples:
      vel2 bench hooks
      vel2 bench hooks --load 0 --load 2 --load 8
    """  # noqa: D301
    from vel2.inspect.latency import measure

    require_writable(json_file, "the JSON result")
    terminal = Terminal(str(json_file) == "-")
    results = [measure(count, busy) for busy in load or (0, 2)]
    print_round_trips(terminal, results)
    if json_file is not None:
        trips = [each.tree for each in results]
        write_json({**run_of(deterministic=False), "round_trips": trips}, json_file)


def print_round_trips(terminal: Terminal, results: "list[RoundTrips]") -> None:
    """Print a row for each load."""
    from vel2.cli.report import plain_table

    table = plain_table("busy loops", "median us", "90 % us", "99 % us", "round trips")
    for each in results:
        row = (each.percentile(q) for q in (0.5, 0.9, 0.99))
        table.add_row(str(each.load), *(f"{x:.1f}" for x in row), str(len(each.microseconds)))
    terminal.print(table)

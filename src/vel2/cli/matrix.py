"""`vel2 matrix`: known guest hypervisors in every kind of virtual EL2."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vel2.arch.nesting import Kind, Level
from vel2.check.matrix import (
    COMBINATIONS,
    Cell,
    Result,
    Verdict,
    run_matrix,
    select,
)
from vel2.check.matrix_guests import QUICK, RECIPES
from vel2.check.matrix_page import matrix_page
from vel2.cli.consoles import printable
from vel2.cli.exits import ExitCode
from vel2.cli.guests import progress_bars
from vel2.cli.options import check_supported, json_option, smp_option, timeout_option
from vel2.cli.provenance import run_of
from vel2.cli.report import require_writable, write_file, write_json
from vel2.cli.streams import say
from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.guests.kernels import fetch, list_guests

__all__ = ("matrix",)

TIMEOUT_S = 300.0
STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.NOT_APPLICABLE: "dim"}
WIDTH = max(len(recipe.name) for recipe in RECIPES) + 2
GUESTS_HELP = "\n".join(
    ["\b\nGuests:", *(f"  {recipe.name:<{WIDTH}}{recipe.summary}" for recipe in RECIPES)]
)


@click.command(epilog=GUESTS_HELP)
@click.option(
    "--guest",
    "guests",
    multiple=True,
    type=click.Choice([recipe.name for recipe in RECIPES]),
    metavar="NAME",
    help="Only this guest, such as linux-6.12; may be repeated.",
)
@click.option(
    "--el2",
    multiple=True,
    type=click.Choice([kind.value for kind in Kind]),
    help="Only this kind of virtual EL2.",
)
@click.option(
    "--nv",
    multiple=True,
    type=click.Choice([*(level.value for level in Level), "none"]),
    help="Only with this hardware: FEAT_NV2, or FEAT_NV alone.",
)
@smp_option
@click.option("--quick", is_flag=True, help="A few cells only, in about a minute.")
@click.option("--verbose", is_flag=True, help="Print the end of the console of each failure.")
@timeout_option(TIMEOUT_S)
@json_option
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write the table as one HTML page; `-` is standard output.",
)
@click.pass_context
def matrix(
    context: click.Context,
    guests: tuple[str, ...],
    el2: tuple[str, ...],
    nv: tuple[str, ...],
    smp: int,
    quick: bool,
    verbose: bool,
    timeout: float,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Boot each known guest hypervisor in each kind of virtual EL2.

    Every cell is one boot: L1 has to start its hypervisor in the mode asked for, bring L2 to user
    space, and power off. With --smp L2 has as many CPUs as L1. Where a guest has nothing to show,
    the reason is told.

    \b
    Examples:
      vel2 matrix --quick
      vel2 matrix                        everything, in about ten minutes
      vel2 matrix --smp 2 --guest linux-6.12
      vel2 matrix --guest linux-6.12-protected --nv nv --verbose
      vel2 matrix --json results.json --html results.html
    """  # noqa: D301 -- click looks for the character, not for a backslash and a letter
    for value in nv:
        check_supported("--nv", value)
    if str(json_file) == str(html_file) == "-":
        raise UserError("--json - and --html - would share standard output; name a file for one.")
    only = QUICK if quick else None
    cells = select(RECIPES, guests, [*map(Kind, el2)], [*map(Level, nv)], only, smp)
    require_writable(json_file, "the JSON result")
    require_writable(html_file, "the page")
    run = run_of(deterministic=False) | {"cpus": smp}
    fetch_needs(cells)
    to_stderr = "-" in (str(json_file), str(html_file))
    terminal = Terminal(to_stderr)
    results: list[Result] = []
    try:
        with progress(terminal, cells, results) as on_start:
            for result in run_matrix(cells, timeout, on_start):
                results.append(result)
                if not terminal.is_terminal:
                    say(one_line(result))
    finally:
        # What was measured is kept when the rest is interrupted.
        if results:
            show(terminal, cells, results, verbose)
            tree = {"run": run, "cells": [result.as_json() for result in results]}
            write_json(tree, json_file)
            write_file(html_file, matrix_page(results, run), "the page")
    failed = any(result.verdict is Verdict.FAIL for result in results)
    context.exit(ExitCode.GUEST_FAILED if failed else ExitCode.OK)


def fetch_needs(cells: Sequence[Cell]) -> None:
    """Fetch what the guests need and the cache has not."""
    at_hand = {guest.name for guest in list_guests() if guest.path}
    recipes = {cell.recipe.name: cell.recipe for cell in cells}.values()
    needed = {name for recipe in recipes for name in recipe.needs}
    missing = sorted(needed - at_hand)
    if missing:
        say(f"fetching {', '.join(missing)} from Debian, once")
    with progress_bars() as bars:
        if missing:
            fetch(missing, bars)
        for recipe in recipes:
            recipe.fetch(bars)


@contextmanager
def progress(
    terminal: Terminal, cells: Sequence[Cell], results: Sequence[Result]
) -> Iterator[Callable[[Cell, float], None]]:
    """Show the table while it fills, on a terminal; give what is to be told of each start."""
    running: list[tuple[Cell, float]] = []

    def on_start(cell: Cell, at: float) -> None:
        running[:] = [(cell, at)]

    if not terminal.is_terminal:
        yield on_start
        return

    def table() -> Table:
        return results_table(cells, results, running)

    with Live(get_renderable=table, console=terminal, refresh_per_second=2, transient=True):
        yield on_start


def results_table(
    cells: Sequence[Cell], results: Sequence[Result], running: Sequence[tuple[Cell, float]] = ()
) -> Table:
    """Make the table: a row for each guest, a column for each combination."""
    columns = [at for at in COMBINATIONS if any(cell.at == at for cell in cells)]
    table = Table("guest", *map(str, columns), box=None, pad_edge=False)
    shown = {(cell.recipe.name, cell.at): Text("-", "dim") for cell in cells}
    for cell, since in running:
        shown[cell.recipe.name, cell.at] = Text(f"... {time.monotonic() - since:.0f} s")
    for result in results:
        took = f" {result.seconds:.1f} s" if result.verdict is Verdict.PASS else ""
        shown[result.guest, result.at] = Text(
            f"{result.verdict.value}{took}", STYLES[result.verdict]
        )
    for guest in dict.fromkeys(cell.recipe.name for cell in cells):
        table.add_row(guest, *(shown.get((guest, at), Text()) for at in columns))
    return table


def one_line(result: Result) -> str:
    """Say a result in one line."""
    said = f"{result.guest}, {result.at}: {result.verdict.value}"
    if result.verdict is Verdict.PASS:
        said += f" after {result.seconds:.1f} s"
    return f"{said}: {printable(result.reason)}" if result.reason else said


def show(
    terminal: Terminal, cells: Sequence[Cell], results: Sequence[Result], verbose: bool
) -> None:
    """Print the table, then each reason with the cells it holds for."""
    terminal.print(results_table(cells, results))
    reasons: dict[tuple[Verdict, str], list[str]] = {}
    for result in results:
        if result.reason:
            where = reasons.setdefault((result.verdict, printable(result.reason)), [])
            where.append(f"{result.guest} ({result.at})")
    for (verdict, reason), where in reasons.items():
        terminal.print()
        terminal.print(Text(f"{verdict.value}: {', '.join(where)}", STYLES[verdict]))
        terminal.print(f"  {reason}.", soft_wrap=True)
    for result in results:
        if verbose and result.tail:
            terminal.print(f"\nconsole of {result.guest} ({result.at}), last lines:")
            for line in result.tail.splitlines():
                terminal.print(f"  {printable(line)}", soft_wrap=True)

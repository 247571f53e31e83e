"""`vel2 trace query`: SQL over a trace."""

import csv
import json
import sys
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path

import click
from rich.table import Table

from vel2.cli.terminal import Terminal
from vel2.cli.trace.options import kernel_options, opened, trace_argument
from vel2.trace.database import VIEWS, Answer, Database
from vel2.trace.rows import EVENT_COLUMNS, EXIT_COLUMNS

__all__ = ("query",)

SHOWN = 1000
"""Rows that are laid out together; a longer answer goes on with the same widths."""


@click.command()
@trace_argument
@click.argument("sql", metavar="SQL", required=False)
@kernel_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to print; json is one object a line.",
)
@click.option("--tables", is_flag=True, help="Say what can be asked for, and end.")
def query(
    trace: Path, sql: str | None, l1: str | None, l2: str | None, form: str, tables: bool
) -> None:
    """Ask a trace something, in DuckDB's SQL.

    The tables are `events`, a row for each event, and `exits`, a row for each
    exit of L2, from its trap to the next entry. Times are nanoseconds of the
    guest's time, addresses numbers: format('{:x}', pc) shows one in hex.

    \b
    Examples:
      vel2 trace query my.trace "select * from counts"
      vel2 trace query my.trace "select cause, sum(l0) from exits group by 1"
      vel2 trace query my.trace "select function, count(*) from traps group by 1"
      vel2 trace query my.trace --tables
    """  # noqa: D301
    if tables:
        describe()
        return
    if sql is None:
        raise click.UsageError('give a query, such as "select * from counts", or --tables.')
    found, names = opened(trace, l1, l2)
    with Database(found, names) as database:
        PRINTERS[form](database.query(sql))


def describe() -> None:
    """List tables, views and columns."""
    terminal = Terminal()
    for name, columns in (("events", EVENT_COLUMNS), ("exits", EXIT_COLUMNS)):
        table = Table(name, "type", "", box=None, pad_edge=False)
        for column in columns:
            table.add_row(column.name, column.type, column.about)
        terminal.print(table)
        terminal.print()
    views = Table("view", "", box=None, pad_edge=False)
    for name, (about, _) in VIEWS.items():
        views.add_row(name, about)
    terminal.print(views)


def as_table(answer: Answer) -> None:
    """Print an aligned table; numbers stand to the right."""
    rows = answer.rows
    first = list(islice(rows, SHOWN))
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(answer.columns):
        is_number = all(isinstance(row[number], int | float | None) for row in first)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in chain(first, rows):
        table.add_row(*(text_of(value) for value in row))
    Terminal().print(table)


def text_of(value: object) -> str:
    """Write a cell."""
    if value is None:
        return "-"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def as_csv(answer: Answer) -> None:
    """Print CSV."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)


def as_json(answer: Answer) -> None:
    """Print a JSON object for each row."""
    for row in answer.rows:
        click.echo(json.dumps(dict(zip(answer.columns, row, strict=True)), default=str))


PRINTERS: dict[str, Callable[[Answer], None]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
}

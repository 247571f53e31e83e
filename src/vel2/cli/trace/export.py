"""`vel2 trace export`: a trace for other programs."""

from pathlib import Path

import click

from vel2.cli.streams import say
from vel2.cli.trace.options import kernel_options, opened, trace_argument
from vel2.errors import UserError
from vel2.trace.database import Database
from vel2.trace.perfetto import write_perfetto

__all__ = ("export",)

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@trace_argument
@click.option("--perfetto", type=FILE, metavar="FILE", help="For Perfetto's UI.")
@click.option("--parquet", type=FILE, metavar="FILE", help="The table of events.")
@click.option("--exits", type=FILE, metavar="FILE", help="The table of exits, as Parquet.")
@kernel_options
def export(
    trace: Path,
    perfetto: Path | None,
    parquet: Path | None,
    exits: Path | None,
    l1: str | None,
    l2: str | None,
) -> None:
    """Write a trace in a form that other programs read.

    Perfetto's UI shows a track for each vCPU and level, and arrows from an exit
    to the return from it. Parquet is for DuckDB, pandas and the like.

    \b
    Examples:
      vel2 trace export demo.trace --perfetto demo.pftrace
      vel2 trace export demo.trace --parquet events.parquet --exits exits.parquet
    """  # noqa: D301
    tables = {"events": parquet, "exits": exits}
    if perfetto is None and not any(tables.values()):
        raise UserError("what to write is --perfetto, --parquet or --exits; give one with a FILE.")
    found, names = opened(trace, l1, l2)
    if perfetto is not None:
        count = write_perfetto(found, names, perfetto)
        say(f"{perfetto} has {found.count:,} events and {count:,} exits of L2.")
    if any(tables.values()):
        with Database(found, names) as database:
            for table, path in tables.items():
                if path is not None:
                    database.write_parquet(path, table)

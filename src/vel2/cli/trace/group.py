"""`vel2 trace`: joins its commands."""

import click

from vel2.cli.trace.export import export
from vel2.cli.trace.query import query

__all__ = ("trace",)


@click.group()
def trace() -> None:
    """Read a trace: what trapped, why, from where, and how long it took.

    \b
    Examples:
      vel2 trace query demo.trace "select * from counts"
      vel2 trace export demo.trace --perfetto demo.pftrace
    """  # noqa: D301


for command in (query, export):
    trace.add_command(command)

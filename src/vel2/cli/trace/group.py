"""`vel2 trace`: joins its commands."""

import click

from vel2.cli.trace.export import export
from vel2.cli.trace.query import query
from vel2.cli.trace.report import report

__all__ = ("trace",)


@click.group()
def trace() -> None:
    """Read a trace: what trapped, why, from where, and how long it took.

    \b
    Examples:
      vel2 trace query demo.trace "select * from counts"
      vel2 trace export demo.trace --perfetto demo.pftrace
      vel2 trace report demo.trace --html demo.html
    """  # noqa: D301


for command in (query, export, report):
    trace.add_command(command)

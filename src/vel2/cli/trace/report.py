"""`vel2 trace report`: one page about the run that a trace is of."""

from pathlib import Path

import click

from vel2.cli.report import write_file
from vel2.cli.trace.options import kernel_options, opened, trace_argument
from vel2.errors import UserError

__all__ = ("report", "write_page")

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@trace_argument
@click.option("--html", type=FILE, metavar="FILE", help="The page, with charts.")
@click.option(
    "--markdown", type=FILE, metavar="FILE", help="Only why L1 traps, as a table; - prints it."
)
@kernel_options
def report(
    trace: Path, html: Path | None, markdown: Path | None, l1: str | None, l2: str | None
) -> None:
    """Write a page: what ran and when, what trapped where and why, what it cost.

    \b
    Examples:
      vel2 trace report my.trace --html my.html
      vel2 trace report my.trace --markdown -
    """  # noqa: D301
    if html is None and markdown is None:
        raise UserError("what to write is --html or --markdown; give one with a FILE.")
    write_page(trace, html, markdown, l1, l2)


def write_page(
    trace: Path,
    html: Path | None,
    markdown: Path | None = None,
    l1: str | None = None,
    l2: str | None = None,
) -> None:
    """Write what is asked for of a trace.

    :raises UserError: when the trace is none, charts cannot be drawn, or a file not be written.
    """
    from vel2.report import reasons  # they bring in the compiler
    from vel2.report.page import kind_and_level, run_page
    from vel2.report.summary import summarize

    found, names = opened(trace, l1, l2)
    summary = summarize(found, names)
    if html is not None:
        write_file(html, run_page(found, summary), "the report")
    if markdown is not None:
        run = found.about.run
        text = reasons.markdown(summary, run, *kind_and_level(run))
        write_file(markdown, text, "the table")

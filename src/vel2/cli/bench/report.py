"""`vel2 bench report`: one page with charts of results that `--json` wrote before."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vel2.cli.report import require_writable, write_file
from vel2.errors import UserError

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("report", "write_report")

FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--html",
    "html_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the page there.",
)
def report(files: tuple[Path, ...], html_file: Path) -> None:
    """Write one page with charts of results that were measured before.

    FILES are what the other commands wrote with --json, each of one kind or
    another; `-` is standard input.

    \b
    Examples:
      vel2 bench report micro.json macro.json growth.json --html report.html
    """  # noqa: D301
    require_writable(html_file, "the page")
    write_report([read_result(path) for path in files], html_file)


def read_result(path: Path) -> "Tree":
    """Read a result; `-` is standard input.

    :raises UserError: when it cannot be read, or is something else.
    """
    from vel2.bench.report import kind_of

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        tree: Any = json.loads(text)
        kind_of(tree)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name another file.") from error
    except (ValueError, AttributeError, KeyError, TypeError, UserError) as error:
        raise UserError(
            f"{path} is not what `vel2 bench --json` writes; name a file that it wrote."
        ) from error
    return dict(tree)


def write_report(trees: Sequence["Tree"], path: Path) -> None:
    """Write the page.

    :raises UserError: when it cannot be made or written.
    """
    from vel2.bench.report import report_page

    text = report_page(trees)
    write_file(path, text, "the page")

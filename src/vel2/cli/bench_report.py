"""`vel2 bench --html`: one page of a result, or of results that `--json` wrote before."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vel2.cli.report import write_file
from vel2.errors import UserError

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("show_results", "write_report")


def show_results(files: Sequence[Path], html_file: Path | None) -> None:
    """Write the page of results that were measured before.

    :raises UserError: when there is nowhere to write to, or a file is no result.
    """
    if html_file is None:
        raise UserError("--read shows results on a page; give --html and a file for it.")
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

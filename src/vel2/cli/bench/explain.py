"""`vel2 bench explain`: one operation step by step, out of its profile."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markdown import Markdown

from vel2.cli.bench.options import Asked, asking
from vel2.cli.report import require_writable, write_file
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.configuration import Configuration
    from vel2.bench.profile import Profile
    from vel2.bench.result import Tree

__all__ = ("explain", "write_page")

COUNT = 10
CONFIGS = ("vhe-nv2", "nvhe-nv2", "vhe-nv")


@click.command()
@click.argument("operation")
@asking(COUNT, configs=CONFIGS, has_peers=False)
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the page there instead of showing it.",
)
def explain(asked: Asked, operation: str, markdown_file: Path | None) -> None:
    """Explain one OPERATION step by step, out of its profile.

    The page has every trap in order: why it was taken, what L0 did, and what
    it cost. It is about vhe-nv2, nvhe-nv2 and vhe-nv unless others are chosen.

    \b
    Examples:
      vel2 bench explain hypercall
      vel2 bench explain mmio_read --configs vhe-nv2 --markdown page.md
    """  # noqa: D301
    from vel2.bench.campaign import Clock
    from vel2.bench.payload import build_payload
    from vel2.bench.profile_result import profile_operations

    require_writable(markdown_file, "the page")
    payload = build_payload(asked.count, [operation])
    result, profiles = profile_operations(asked.campaign(Clock()), payload)
    if profiles:
        write_page(asked.terminal, page_of(profiles, result.tree), markdown_file)
    asked.finish(result)


def page_of(profiles: "list[tuple[Configuration, Profile]]", tree: "Tree") -> str:
    """Write the page; it says what wrote it, as it was typed."""
    from vel2.bench.explain_page import Explained, explain_page

    about = {"l1": f"Linux {tree['l1_kernel']}", "qemu": f"QEMU {tree['qemu']}"}
    command = shlex.join(["vel2", *sys.argv[1:]])
    return explain_page([Explained(*pair) for pair in profiles], about, command)


def write_page(terminal: Terminal, text: str, path: Path | None) -> None:
    """Write a page to a file as it is, or show it.

    :raises UserError: when the file cannot be written.
    """
    if path is None:
        terminal.print(Markdown(text))
        return
    write_file(path, text, "the page")

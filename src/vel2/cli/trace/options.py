"""What the commands of `vel2 trace` share: the file, and the guests' kernels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vel2.cli.streams import say
from vel2.control.traced import KernelNames, names_of
from vel2.trace.recording import Recording

__all__ = ("kernel_options", "opened", "trace_argument")

Command = TypeVar("Command", bound=Callable[..., Any])

trace_argument = click.argument(
    "trace", type=click.Path(path_type=Path), metavar="TRACE", required=True
)


def kernel_options(command: Command) -> Command:
    """Add the options that say whose functions are named."""
    for level in ("L2", "L1"):
        option = click.option(
            f"--{level.lower()}",
            metavar="KERNEL",
            help=f"{level}'s kernel, for the names of functions: a name or a file. Mostly the"
            " trace knows it.",
        )
        command = option(command)
    return command


def opened(trace: Path, l1: str | None, l2: str | None) -> tuple[Recording, KernelNames]:
    """Open a trace, say what is missing in it, and find the kernels.

    :raises UserError: when it is none, or a kernel cannot be had.
    """
    found = Recording.open(trace)
    if found.caveat:
        say(f"{found.caveat}.")
    given = {"L1": l1, "L2": l2}
    return found, names_of(found, {level: name for level, name in given.items() if name})

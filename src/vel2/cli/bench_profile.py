"""`vel2 bench --profile` and `--explain`."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from vel2.cli.exits import ExitCode
from vel2.cli.report import plain_table, write_file
from vel2.cli.terminal import Terminal
from vel2.machine.loader import KernelImage

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from collections.abc import Sequence

    from vel2.bench.configuration import Configuration
    from vel2.bench.payload import Payload
    from vel2.bench.profile import Profile
    from vel2.bench.result import Tree

__all__ = ("Profiled", "print_profile", "print_profiles", "profile_all", "write_page")

MOST_LINES = 30


@dataclass
class Profiled:
    """What came of it: the tree for JSON, the profiles, and the exit code of the first failure."""

    columns: "Tree" = field(default_factory=dict)
    profiles: "list[tuple[Configuration, Profile]]" = field(default_factory=list)
    code: int = ExitCode.OK


def profile_all(
    configurations: "Sequence[Configuration]",
    kernel: KernelImage,
    payload: "Payload",
    timeout: float,
) -> Profiled:
    """Profile one configuration after the other; one that fails leaves the others theirs."""
    from vel2.bench.measure import MeasureError, Request
    from vel2.bench.profile import profile
    from vel2.bench.profile_result import profile_tree

    made = Profiled()
    for number, configuration in enumerate(configurations, 1):
        name = configuration.name
        click.echo(f"vel2: profiling {name} ({number} of {len(configurations)})", err=True)
        try:
            found = profile(Request(configuration, kernel, payload, timeout=timeout))
        except MeasureError as error:
            click.echo(f"vel2: {name}: {error}", err=True)
            made.columns[name] = {"error": str(error), "operations": {}}
            made.code = made.code or error.exit_code
            continue
        operations = {operation: profile_tree(each) for operation, each in found.items()}
        made.columns[name] = {"error": None, "operations": operations}
        made.profiles += ((configuration, each) for each in found.values())
    return made


def print_profiles(
    terminal: Terminal, made: Profiled, tree: "Tree", explaining: bool, path: Path | None
) -> None:
    """Print each profile, or write the page that explains the one operation there is.

    :param tree: says what was measured with. :param path: where the page goes.
    :raises UserError: when the file cannot be written.
    """
    if not explaining:
        for configuration, profile in made.profiles:
            print_profile(terminal, configuration.name, profile)
    elif made.profiles:
        from vel2.bench.explain_page import Explained, explain_page

        about = {"l1": f"Linux {tree['l1_kernel']}", "qemu": f"QEMU {tree['qemu']}"}
        found = [Explained(*pair) for pair in made.profiles]
        # As it was typed: the page says what wrote it.
        command = shlex.join(["vel2", *sys.argv[1:]])
        write_page(terminal, explain_page(found, about, command), path)


def write_page(terminal: Terminal, text: str, path: Path | None) -> None:
    """Write a page to a file, or to the terminal as it is.

    :raises UserError: when the file cannot be written.
    """
    if path is None:
        terminal.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    write_file(path, text, "the page")


def print_profile(terminal: Terminal, configuration: str, profile: "Profile") -> None:
    """Print who executed what, the traps, L0's functions and lines, and what else is known."""
    from vel2.bench.places import source_text
    from vel2.bench.profile_result import traps_by_kind

    total = profile.levels.total()

    def share(count: int) -> str:
        return f"{100 * count / total:.1f}"

    terminal.print()
    idle = f", {profile.idle:,} more ticks idle" if profile.idle else ""
    terminal.print(f"{profile.operation} in {configuration}: {total:,} instructions{idle}")
    table = plain_table("level", "instructions", "%")
    for who, count in profile.levels.most_common():
        table.add_row(who, f"{count:,}", share(count))
    terminal.print(table)
    if traps := traps_by_kind(profile):
        terminal.print()
        table = plain_table("trap to L0", "from", "times", "L0 each", "L0", "%", texts=2)
        for kind, who, times, count in traps:
            each = f"{count / times:,.0f}"
            table.add_row(kind, who, f"{times:,}", each, f"{count:,}", share(count))
        terminal.print(table)
    terminal.print()
    table = plain_table("level", "function", "instructions", "%", texts=2)
    for (who, name), count in profile.functions.most_common():
        table.add_row(who, name, f"{count:,}", share(count))
    terminal.print(table)
    if profile.lines:
        terminal.print()
        table = plain_table("source line of L0", "instructions", "%", "")
        table.columns[-1].justify, table.columns[-1].no_wrap = "left", True
        for line, count in profile.lines.most_common(MOST_LINES):
            table.add_row(line, f"{count:,}", share(count), Text(source_text(line)))
        terminal.print(table)

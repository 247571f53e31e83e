"""`vel2 bench --profile`: the tables."""

from typing import TYPE_CHECKING

import click
from rich.text import Text

from vel2.cli.exits import ExitCode
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal
from vel2.machine.loader import KernelImage

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from collections.abc import Sequence

    from vel2.bench.configuration import Configuration
    from vel2.bench.payload import Payload
    from vel2.bench.profile import Profile
    from vel2.bench.result import Tree

__all__ = ("print_profile", "profile_all")

MOST_LINES = 30


def profile_all(
    terminal: Terminal,
    configurations: "Sequence[Configuration]",
    kernel: KernelImage,
    payload: "Payload",
    timeout: float,
) -> tuple["Tree", int]:
    """Profile one configuration after the other, and print each; go on when one fails.

    :return: the profiles by configuration and operation, and the exit code of the first failure.
    """
    from vel2.bench.measure import MeasureError, Request
    from vel2.bench.profile import profile
    from vel2.bench.profile_result import profile_tree

    columns: Tree = {}
    code: int = ExitCode.OK
    for number, configuration in enumerate(configurations, 1):
        name = configuration.name
        click.echo(f"vel2: profiling {name} ({number} of {len(configurations)})", err=True)
        try:
            found = profile(Request(configuration, kernel, payload, timeout=timeout))
        except MeasureError as error:
            click.echo(f"vel2: {name}: {error}", err=True)
            columns[name] = {"error": str(error), "operations": {}}
            code = code or error.exit_code
            continue
        for each in found.values():
            print_profile(terminal, name, each)
        operations = {operation: profile_tree(each) for operation, each in found.items()}
        columns[name] = {"error": None, "operations": operations}
    return columns, code


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

"""`vel2 bench profile`: where the instructions of single operations go."""

from typing import TYPE_CHECKING

import click
from rich.text import Text

from vel2.cli.bench.options import ONLY, Asked, asking, split_names
from vel2.cli.report import plain_table
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.profile import Profile

__all__ = ("print_profile", "profile")

COUNT, MOST_LINES = 10, 30


@click.command()
@asking(COUNT, ONLY)
def profile(asked: Asked, only: tuple[str, ...]) -> None:
    """Show where the instructions of single operations go.

    Counts them by level, trap, function and line of L0; each is accounted for.

    \b
    Examples:
      vel2 bench profile --configs vhe-nv2 --only hypercall
      vel2 bench profile --only mmio_read --json profile.json --html profile.html
    """  # noqa: D301
    from vel2.bench.campaign import Clock
    from vel2.bench.payload import build_payload
    from vel2.bench.profile_result import profile_operations

    payload = build_payload(asked.count, split_names(only))
    result, profiles = profile_operations(asked.campaign(Clock()), payload)
    for configuration, each in profiles:
        print_profile(asked.terminal, configuration.name, each)
    asked.finish(result)


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
        *figures, source = table.columns
        for column in figures:
            column.no_wrap = True
        source.justify = "left"
        for line, count in profile.lines.most_common(MOST_LINES):
            # Of what there is no room for, the source itself is what can be looked up.
            text = Text(source_text(line), no_wrap=True, overflow="ellipsis")
            table.add_row(line, f"{count:,}", share(count), text)
        terminal.print(table)

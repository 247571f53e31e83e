"""`vel2 bench`: joins its commands, of which `micro` is meant when none is named."""

from typing import Any

import click

from vel2.cli.bench.explain import explain
from vel2.cli.bench.growth import growth
from vel2.cli.bench.hooks import hooks
from vel2.cli.bench.macro import macro
from vel2.cli.bench.micro import micro
from vel2.cli.bench.profile import profile
from vel2.cli.bench.report import report

__all__ = ("Defaulting", "bench")


class Defaulting(click.Group):
    """A group with a command that is meant when the first argument is an option, or there is none.

    :ivar default: that command's name.
    """

    default = "micro"

    def list_commands(self, context: click.Context) -> list[str]:
        """Give the names in the order of their making, the one that is meant first."""
        return list(self.commands)

    def with_default(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Name the command that is meant, if none is named."""
        first = arguments[0] if arguments else ""
        if (first and not first.startswith("-")) or first in context.help_option_names:
            return arguments
        return [self.default, *arguments]

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; a shell that completes the first one wants to see all there is."""
        if args or not context.resilient_parsing:
            args = self.with_default(context, args)
        return super().parse_args(context, args)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of the commands, and the options of the one that is meant."""
        if incomplete.startswith("-"):
            return self.commands[self.default].shell_complete(context, incomplete)
        return super().shell_complete(context, incomplete)


@click.group(cls=Defaulting)
def bench() -> None:
    """Measure what nesting costs.

    L1 is Linux with KVM, in each kind of virtual EL2; `native` is the same at
    the machine's real EL2, without vel2. Without a command `micro` is meant,
    and takes the options: see `vel2 bench micro --help`.

    \b
    Examples:
      vel2 bench                         single operations of L2, everywhere
      vel2 bench --deterministic         instructions only: every run is the same
      vel2 bench --peer kvm              Linux's KVM as L0 beside vel2
      vel2 bench macro --el2 vhe         boot, processes, memory
      vel2 bench growth --el2 vhe        more guests, more memory, more interrupts
      vel2 bench hooks                   how long a vCPU waits for one in Python
      vel2 bench profile --configs vhe-nv2 --only hypercall
      vel2 bench explain hypercall --markdown hypercall.md
      vel2 bench report micro.json macro.json --html report.html
    """  # noqa: D301


for command in (micro, macro, growth, hooks, profile, explain, report):
    bench.add_command(command)

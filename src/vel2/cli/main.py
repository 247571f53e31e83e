"""The `vel2` command: joins the commands, and turns what goes wrong into a sentence and a code.

A command is loaded when it is asked for: all of them together take half a second.
"""

import atexit
import gc
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from vel2.cli.exits import EXIT_CODES_HELP, ExitCode
from vel2.cli.streams import drop_output, guard_streams, say, show_notices
from vel2.cli.version import print_version
from vel2.errors import OutputError, UserError

__all__ = ("main", "vel2")

DEBUG = "VEL2_DEBUG"
COMMANDS: Mapping[str, str] = {
    "bench": "vel2.cli.bench.group",
    "check": "vel2.cli.check",
    "completion": "vel2.cli.completion",
    "demo": "vel2.cli.demo",
    "doctor": "vel2.cli.doctor",
    "explain": "vel2.cli.explain",
    "features": "vel2.cli.features",
    "guests": "vel2.cli.guests",
    "matrix": "vel2.cli.matrix",
    "pack": "vel2.cli.pack",
    "run": "vel2.cli.run",
    "top": "vel2.cli.top",
    "trace": "vel2.cli.trace.group",
}
"""Where each command is, under its own name."""


class Sentences(click.Group):
    """A group whose failures are one sentence on standard error and a documented exit code."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Name the commands; a test may have added one."""
        return sorted({*COMMANDS, *self.commands})

    def get_command(self, context: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.add_command(getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name))
        return self.commands.get(cmd_name)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; end as a program does whose reader has left, when it has."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            drop_output()
            context.exit(ExitCode.BROKEN_PIPE)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and leave with its exit code; `VEL2_DEBUG=1` shows tracebacks."""
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            if not standalone_mode:
                raise
            if os.environ.get(DEBUG) and not isinstance(error, click.ClickException):
                raise
            code = explain(error)
        if not standalone_mode:
            return code
        sys.exit(code or ExitCode.OK)


def explain(error: BaseException) -> int:
    """Print what went wrong and give the exit code; a bug of ours is raised again."""
    match error:
        case click.exceptions.Abort() | KeyboardInterrupt():
            click.echo("vel2: interrupted", err=True)
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            drop_output()
            return ExitCode.BROKEN_PIPE
        case click.UsageError():
            # Some of click's own are lists.
            text = " ".join(error.format_message().split())
            click.UsageError(text, error.ctx).show()
            return error.exit_code
        case click.ClickException():
            error.show()
            return error.exit_code
        case UserError():
            if isinstance(error, OutputError):
                drop_output()
            say(str(error))
            return error.exit_code
    raise error


def on_terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by way of every `finally`, so that machines are ended and the terminal is put right."""
    sys.exit(128 + number)


@click.group(
    cls=Sentences,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES_HELP,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and exit.",
)
def vel2() -> None:
    """Run guest hypervisors at virtual EL2 of Armv8-A, on any machine.

    \b
    Examples:
      vel2 doctor                        is this machine able to run vel2?
      vel2 demo                          Linux at virtual EL2, with a guest
      vel2 guests fetch 6.12             get a Debian kernel
      vel2 run --kernel 6.12             boot it at virtual EL2
    """  # noqa: D301


def main() -> None:
    """Be the program, once it is loaded; `vel2.__main__` comes before."""
    guard_streams()
    show_notices()
    # Python takes a second to find out that every class of a large program is garbage at its end.
    atexit.register(gc.freeze)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What nohup has us ignore stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, on_terminate)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    vel2(prog_name="vel2")

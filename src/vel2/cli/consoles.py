"""Showing the consoles of L1 and of the guests inside it, labelled line by line."""

import re
import threading
from collections.abc import Callable

import click

from vel2.cli.report import L2_PREFIX
from vel2.guests.markers import parse_marker
from vel2.machine.console import ESCAPES, Line

__all__ = ("LabelledLines", "printable")

# Neither these nor control sequences may reach the user's terminal out of context.
CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
COLOURS = ("green", "cyan")


def printable(text: str) -> str:
    """Give a guest's text without what would act on the user's terminal."""
    return CONTROLS.sub("", ESCAPES.sub("", text))


class LabelledLines:
    """Show each line with its level and time; a listener for `Console.on_line`.

    It runs on the machine's service thread, so it must not raise there: when the reader of our
    output has left, it remembers that and has the machine ended.

    :param start: the host's `time.monotonic()` that counts as zero.
    :param on_broken: called once, on a thread of its own, when nobody reads any more.
    :param to_stderr: where standard output has another use.
    :param depth: the level of the guest whose console it is.
    """

    def __init__(
        self,
        start: float,
        on_broken: Callable[[], object],
        to_stderr: bool = False,
        depth: int = 1,
    ) -> None:
        self.broken = False
        self._start = start
        self._on_broken = on_broken
        self._to_stderr = to_stderr
        self._depth = depth

    def __call__(self, line: Line) -> None:
        """Show one line; markers are for the report, not for people."""
        if self.broken or parse_marker(line.text) is not None:
            return
        text = line.text.removeprefix(L2_PREFIX)
        below = 0 if text == line.text else 1
        label = f"L{self._depth + below} {line.time - self._start:8.3f}"
        label = click.style(label, fg=COLOURS[below])
        try:
            click.echo(f"{label} {printable(text)}", err=self._to_stderr)
        except BrokenPipeError:
            self.broken = True
            # Ending the machine waits for the very thread we are on.
            threading.Thread(target=self._on_broken, daemon=True).start()

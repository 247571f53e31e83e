"""Standard output and standard error of a program whose output matters.

What cannot be written, to a full disk or a closed stream, ends the command with a sentence, which
needs standard error; that one is allowed to fail. A reader that has left (`BrokenPipeError`) is
not a mistake and stays what it is.
"""

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from vel2.errors import OutputError
from vel2.machine.terminal import Screen

__all__ = ("SCREEN", "drop_output", "fresh_line", "guard_streams", "say", "show_notices")

STDOUT, STDERR = 1, 2


class Guarded(io.FileIO):
    """A standard stream; `failed` says what becomes of bytes that cannot be written."""

    def __init__(self, descriptor: int, failed: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._failed = failed

    def write(self, data: Any, /) -> int:
        """Write what fits."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failed(error)
            return memoryview(data).nbytes


def _raise(error: OSError) -> None:
    raise OutputError.of(error) from error


def _forget(error: OSError) -> None:
    """Nobody could be told."""


def _wrapped(raw: io.FileIO, like: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=raw.fileno() == STDERR or raw.isatty(),
    )


def guard_streams() -> None:
    """Put guarded streams in the place of the process's own."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _wrapped(Guarded(STDOUT, _raise), sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _wrapped(Guarded(STDERR, _forget), sys.stderr)


SCREEN = Screen()
"""Where the guest's console is shown, if it is."""


def say(text: str) -> None:
    """Tell the user something, on a line of its own, whatever a guest has begun to write there."""
    before, after = SCREEN.around(STDERR)
    click.echo(f"{before}vel2: {text}{after}", err=True)


def fresh_line() -> None:
    """End the line that a guest has begun on standard error, if it has."""
    before, _ = SCREEN.around(STDERR)
    click.echo(before, err=True, nl=False)


class Notices(logging.Handler):
    """What the rooms below say of their progress, on standard error, each sentence once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, if it is new."""
        if (text := record.getMessage()) not in self._said:
            self._said.add(text)
            say(text)


def show_notices() -> None:
    """Let the rooms be heard: what takes long says so."""
    log = logging.getLogger("vel2")
    log.setLevel(logging.INFO)
    log.addHandler(Notices())


def drop_output() -> None:
    """Send the rest of the output nowhere: Python would complain once more when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)

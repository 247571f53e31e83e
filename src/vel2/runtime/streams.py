"""Consoles on a Linux process's files, one line at a time.

In L1 several processes share one terminal, and a guest's output goes there too. One write(2) writes
each line, so that lines stay whole. Text without a newline at its end stays in the buffer until it
is flushed. The buffers are in the program's data segment (`line_buffers`), so that no function
needs an argument for them.
"""

from collections.abc import Callable
from typing import NamedTuple

from vel2.lang import (
    Assembler,
    Struct,
    address_of,
    array,
    at,
    resident,
    scalar,
    symbol_address,
    u8,
    u64,
)
from vel2.runtime.console import NEWLINE, Console, console
from vel2.runtime.linux import STDERR, STDOUT, write_all

__all__ = ("ERR", "OUT", "STANDARD_LINES", "Stream", "line_buffers", "stream")

LINE_BYTES = 256


class Line(Struct):
    """The part of the current line that a stream has collected."""

    used = scalar(u64)
    text = array(u8, LINE_BYTES)


TEXT = Line.offset_of("text")


class Stream(NamedTuple):
    """A console that collects lines, and the function that writes an unfinished one."""

    console: Console
    flush: Callable[[], None]


def stream(fd: int, buffer: str) -> Stream:
    """Make a stream to a file; `buffer` is the label of its line (`line_buffers`)."""

    @resident
    def flush() -> None:
        line = at(Line, symbol_address(buffer))
        if line.used != 0:
            write_all(fd, u64(address_of(line) + TEXT), line.used)
            line.used = 0

    @resident
    def collect(byte: u64) -> None:
        line = at(Line, symbol_address(buffer))
        line.text[line.used] = u8(byte)
        line.used = u64(line.used + 1)
        if byte == NEWLINE or line.used == LINE_BYTES:
            flush()

    return Stream(console(collect), flush)


def line_buffers(*labels: str) -> Assembler:
    """Give the memory of streams' lines."""
    a = Assembler("lines", writable=True)
    for label in labels:
        a.align(8)
        a.label(label)
        a.space(Line.size)
    return a


STANDARD_LINES = ("stdout_line", "stderr_line")
OUT = stream(STDOUT, STANDARD_LINES[0]).console
ERR = stream(STDERR, STANDARD_LINES[1]).console

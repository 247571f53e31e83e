"""What the Linux programs of the benchmarks share: marks and results.

Each runs as process 1 of its level and prints when everything is done. The host sees the marks of
`marks` here too, because QEMU executes `HLT #0xF000` at EL0 when told to. A mark with round 0 is a
beginning, one with round 1 an end.
"""

from vel2.bench.layout import UNKNOWN_EXITS, Parameters, Result, State
from vel2.bench.marks import pass_mark
from vel2.lang import bytes_address, resident, u64
from vel2.runtime.console import NEWLINE, SPACE
from vel2.runtime.streams import OUT

__all__ = ("BEGIN", "END", "mark", "note", "report")

BEGIN, END = 0, 1


@resident
def mark(
    marks: State, parameters: Parameters, operation: u64, number: u64, count: u64, ticks: u64
) -> None:
    """Pass a mark."""
    marks.mark.operation = operation
    marks.mark.round = number
    marks.mark.count = count
    marks.mark.ticks = ticks
    pass_mark(marks, parameters)


@resident
def note(result: Result, count: u64, ticks: u64, exits: u64) -> None:
    """Keep a measurement, to be printed when everything is done."""
    result.count = count
    result.ticks = ticks
    result.exits = exits


@resident
def difference(after: u64, before: u64) -> u64:
    """Give how often L2 exited between two reads of the count; a count of 0 means there is none."""
    if before == 0:
        return UNKNOWN_EXITS
    return u64(after - before)


@resident
def report(result: Result, name: u64) -> None:
    """Print the line of one part."""
    OUT.put(bytes_address(b"result \0"))
    OUT.put(name)
    number(result.count)
    number(result.ticks)
    number(result.exits)
    OUT.put_byte(NEWLINE)


@resident
def number(value: u64) -> None:
    """Print a space and a number."""
    OUT.put_byte(SPACE)
    OUT.put_decimal(value)

"""What the Linux programs of the benchmarks have in common: the clock, marks, results, the end.

They are process 1 of their level, and print when all is done. The host sees the marks of `marks`
here too: QEMU executes `HLT #0xF000` at EL0 when told to. A mark with round 0 is a beginning, one
with round 1 an end.
"""

from vel2.arch import sysregs as sr
from vel2.bench.entry import HLT_SEMIHOSTING
from vel2.bench.layout import UNKNOWN_EXITS, Parameters, Result, State
from vel2.bench.marks import pass_mark
from vel2.lang import Assembler, bytes_address, extern, resident, u64
from vel2.runtime.linux import STDOUT, put, put_number, syscall
from vel2.runtime.process import ELF_BASE, call_main, system_call

__all__ = ("BEGIN", "ELF_BASE", "END", "counter", "mark", "note", "power_off", "report", "stubs")

BEGIN, END = 0, 1
REBOOT, MAGIC1, MAGIC2, POWER_OFF = 142, 0xFEE1_DEAD, 672274793, 0x4321_FEDC


@extern("counter")
def counter() -> u64:
    """Read CNTVCT_EL0 after all that comes before."""
    raise NotImplementedError("the counter needs a machine")


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
    """Keep what was measured, to be printed when all is done."""
    result.count = count
    result.ticks = ticks
    result.exits = exits


@resident
def difference(after: u64, before: u64) -> u64:
    """Give how often L2 exited, from two looks; 0 is a look at nothing."""
    if before == 0:
        return UNKNOWN_EXITS
    return u64(after - before)


@resident
def report(result: Result, name: u64, scratch: u64) -> None:
    """Print the line of one part. `scratch` has room for a number."""
    put(STDOUT, bytes_address(b"result \0"))
    put(STDOUT, name)
    number(result.count, scratch)
    number(result.ticks, scratch)
    number(result.exits, scratch)
    put(STDOUT, bytes_address(b"\n\0"))


@resident
def number(value: u64, scratch: u64) -> None:
    """Print a space and a number."""
    put(STDOUT, bytes_address(b" \0"))
    put_number(STDOUT, value, scratch)


@resident
def power_off() -> None:
    """End this level."""
    syscall(REBOOT, MAGIC1, MAGIC2, POWER_OFF, 0, 0, 0)


def stubs(main: str) -> Assembler:
    """Give the entry point, and what the subset cannot say.

    :param main: the function to start with the address of argc and the count at the start.
    """
    a = Assembler()
    a.label("_start")
    a.isb()
    a.mrs(1, sr.CNTVCT_EL0)
    call_main(a, main)
    system_call(a)
    a.label("counter")
    a.isb()
    a.mrs(0, sr.CNTVCT_EL0)
    a.ret()
    a.label("semihosting_call")
    a.word(HLT_SEMIHOSTING)
    a.ret()
    return a

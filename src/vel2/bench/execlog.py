"""QEMU's log of every instruction in a window, and how to read it.

A TCG plugin could see each instruction, but would have to be compiled on the user's machine. QEMU's
log needs nothing: with `one-insn-per-tb` every block is one instruction, `log exec` writes a line
for each block that is entered, and `log int` one for each exception and each exception return. Both
can be switched while the machine runs, so that its boot costs nothing.

The guest cannot see the log, and its time is the count of its instructions. So a window of the log
has exactly the instructions that the guest counted:

* a block that QEMU left at once, to look at an interrupt, is named again as `Stopped`: it did not
  run, and comes again;
* an instruction that took a data abort did not complete, and the guest's clock does not count it;
* an instruction fetch that aborts writes no line;
* an instruction that traps is counted: it belongs to the trap.
"""

import concurrent.futures
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vel2.bench.system import MeasureError
from vel2.machine.qmp import Monitor, MonitorError

__all__ = ("ExecLog", "Step", "Taken", "read_steps")

ON = ("one-insn-per-tb on", "log exec,int,nochain")
OFF = ("log none", "one-insn-per-tb off")
TAKING = re.compile(r"Taking exception \d+ \[(.*)\] on CPU")
ELS = re.compile(r"\.\.\.from EL(\d) to EL(\d)")
DETAIL = re.compile(r"\.\.\.with (ESR|ELR|FAR) (?:0x[0-9a-f]+/)?(0x[0-9a-f]+)")
RETURN = re.compile(r"Exception return from AArch64 EL\d to AArch64 EL(\d) PC")
NOT_COMPLETED = "Data Abort"


class ExecLog:
    """The log of a running machine: switched on and off, and cut into pieces.

    The machine stands still in a mark when it is switched, and QEMU takes commands only while it
    does not: a command takes effect some time after the mark has been answered. It is done once in
    a run, since the log has about 70 bytes for each instruction, not all of which can be kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._last: concurrent.futures.Future[None] | None = None
        self._wanted = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """QEMU's options for it."""
        return ("-D", str(self._path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def switch(self, monitor: Monitor, on: bool) -> None:
        """Ask for the log to be on or off; does nothing when that has been asked for."""
        if on != self._wanted:
            self._wanted = on
            self._last = self._pool.submit(run_commands, monitor, ON if on else OFF)

    @property
    def is_on(self) -> bool:
        """Whether all that the machine does from now on is logged.

        :raises MonitorError: when QEMU refused.
        """
        if not self._wanted or self._last is None or not self._last.done():
            return False
        self._last.result()
        return True

    @property
    def end(self) -> int:
        """Where the log ends now, in bytes; exact while the machine stands in a mark."""
        return self._path.stat().st_size if self._path.exists() else 0

    def drop(self) -> int:
        """Forget what was logged so far, while the machine stands in a mark; give its end.

        QEMU goes on where it was: the file has a hole before that, which takes no space.
        """
        end = self.end
        if end:
            os.truncate(self._path, 0)
        return end

    def read(self, start: int) -> bytes:
        """Give what was logged from a place on."""
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read()


def run_commands(monitor: Monitor, commands: Sequence[str]) -> None:
    """Run commands of QEMU's human monitor, which say nothing when they succeed.

    :raises MonitorError: when one does not.
    """
    for command in commands:
        said = monitor.execute("human-monitor-command", {"command-line": command})
        if said:
            raise MonitorError(f"{command}: {str(said).strip()}")


@dataclass(frozen=True)
class Taken:
    """An exception that was taken.

    :ivar name: QEMU's name of its kind. :ivar esr: None for interrupts. :ivar far: None where it
        is not written. :ivar elr: where it was taken from.
    """

    name: str
    from_el: int = 0
    to_el: int = 0
    esr: int | None = None
    elr: int | None = None
    far: int | None = None


@dataclass
class Step:
    """What ran at one EL from an exception or exception return to the next.

    :ivar taken: the exception it began with; None after a return, and at the beginning.
    :ivar pcs: the instructions that completed, or trapped, in order.
    """

    el: int
    taken: Taken | None = None
    pcs: list[int] = field(default_factory=list)


def read_steps(lines: Sequence[str], el: int) -> list[Step]:
    """Read a piece of the log.

    :param el: the EL at its beginning.
    :raises MeasureError: when it is not as described above.
    """
    steps = [Step(el)]
    rest = iter(lines)
    line = next(rest, None)
    while line is not None:
        following = None
        if line.startswith("Trace "):
            steps[-1].pcs.append(pc_of(line))
        elif line.startswith("Stopped "):
            take_back(steps[-1], line)
        elif found := TAKING.match(line):
            taken, following = read_taken(found[1], rest)
            if taken.name == NOT_COMPLETED:
                take_back(steps[-1], line)
            steps.append(Step(taken.to_el, taken))
        elif found := RETURN.match(line):
            steps.append(Step(int(found[1])))
        else:
            raise MeasureError(f"QEMU's log has a line that is not understood: {line!r}.")
        line = following if following is not None else next(rest, None)
    return steps


def pc_of(line: str) -> int:
    """Give the PC of a `Trace` line: `Trace 0: 0x... [cs_base/pc/flags/cflags]`."""
    return int(line.split("/", 2)[1], 16)


def take_back(step: Step, line: str) -> None:
    """Drop the last instruction, which did not complete."""
    if not step.pcs:
        raise MeasureError(f"QEMU's log takes back what it did not say: {line!r}.")
    step.pcs.pop()


def read_taken(name: str, rest: Iterator[str]) -> tuple[Taken, str | None]:
    """Read the lines about one exception; give the one after them, too."""
    taken = Taken(name)
    for line in rest:
        if not line.startswith("..."):
            return taken, line
        if found := ELS.match(line):
            taken = replace(taken, from_el=int(found[1]), to_el=int(found[2]))
        elif found := DETAIL.match(line):
            changes: dict[str, Any] = {found[1].lower(): int(found[2], 16)}
            taken = replace(taken, **changes)
    return taken, None

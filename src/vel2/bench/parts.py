"""One run of a Linux program that measures its own parts (see `userspace`), and its results."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vel2.bench.configuration import Configuration
from vel2.bench.counts import Moment, Traps, between
from vel2.bench.guest import L1Guest
from vel2.bench.host import MarkReader
from vel2.bench.layout import UNKNOWN_EXITS, Mark
from vel2.bench.system import MeasureError, Take, guest_failed, system
from vel2.bench.userspace import BEGIN
from vel2.control.locks import LockTime
from vel2.machine.console import Console
from vel2.machine.outcome import MachineExit
from vel2.scratch import scratch

__all__ = ("Part", "measure_parts")

RESULT = re.compile(r"result ([a-z][\w.]+) (\d+) (\d+) (\d+)\s")


@dataclass(frozen=True)
class Part:
    """What one part cost.

    :ivar count: how often it was done. :ivar ticks: what that took, in all.
    :ivar traps: to real EL2; None when nobody counted.
    :ivar l1_exits: of L2, as L1's KVM counts them; None when it does not.
    :ivar locks: how long L0 held its locks in the whole run; empty when nobody looked.
    """

    count: int
    ticks: int
    traps: Traps | None = None
    l1_exits: int | None = None
    locks: tuple[LockTime, ...] = ()


def measure_parts(
    configuration: Configuration,
    guest: L1Guest,
    names: Sequence[str],
    deterministic: bool,
    timeout: float,
    *,
    last_of_l1: str = "",
) -> dict[str, Part]:
    """Boot once; give the figures of each part, in the order of `names`.

    :param last_of_l1: when this part has been seen, only L2 can have failed.
    :raises MeasureError: when the run did not get to its end.
    """
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        reader = stack.enter_context(MarkReader(folder)) if deterministic else None
        running = stack.enter_context(
            system(
                configuration,
                guest,
                folder,
                deterministic=deterministic,
                arguments=reader.userspace_arguments if reader else (),
            )
        )
        console = running.session.console
        seen: dict[str, Part] = {}
        if reader is not None:
            marks = reader.marks(console, deadline)
            with contextlib.suppress(TimeoutError):  # how the machine ends tells more
                seen.update(follow_parts(marks, running.snapshot, names))
        ended = running.end(deadline)
        level = "L2" if reader is None or last_of_l1 in seen else "L1"
        return collect_parts(console, ended, names, seen if reader else None, level)


def follow_parts(
    marks: Iterator[Mark], snapshot: Take, names: Sequence[str]
) -> Iterator[tuple[str, Part]]:
    """Combine marks into parts. A part without a beginning began with the machine."""
    begun: dict[int, Moment | None] = {}
    for mark in marks:
        now = snapshot()
        if mark.round == BEGIN:
            begun[mark.operation] = now
            continue
        traps = between(begun.pop(mark.operation, None), now) if now else None
        yield names[mark.operation], Part(mark.count, mark.ticks, traps)


def collect_parts(
    console: Console,
    ended: MachineExit,
    names: Sequence[str],
    seen: Mapping[str, Part] | None,
    level: str,
) -> dict[str, Part]:
    """Combine what the program printed with what was seen at its marks.

    :param seen: None when there were no marks.
    :param level: who failed when something is missing.
    :raises MeasureError: when something is missing, or the two do not agree.
    """
    found = {
        name: Part(
            int(count), int(ticks), l1_exits=None if int(exits) == UNKNOWN_EXITS else int(exits)
        )
        for name, count, ticks, exits in RESULT.findall(console.text)
    }
    if not set(names) <= set(found):
        raise guest_failed(level, ended, console)
    parts = {}
    for name in names:
        part = found[name]
        if seen is not None:
            mark = seen.get(name)
            if mark is None:
                raise MeasureError(f"{name} was reported and not seen.")
            if (mark.count, mark.ticks) != (part.count, part.ticks):
                raise MeasureError(
                    f"{name} was seen other than reported: {mark.count} in {mark.ticks} ticks,"
                    f" reported as {part.count} in {part.ticks}."
                )
            part = replace(part, traps=mark.traps)
        parts[name] = part
    return parts

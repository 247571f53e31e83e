"""One run of the payload in one configuration, and what it showed.

In deterministic runs the machine stands still at each of the payload's marks, and L0's counters are
read there. In runs by host time nothing stops it, so that nothing but the payload's own two reads
of the counter is known.
"""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from vel2.bench.configuration import Configuration
from vel2.bench.counts import Moment, Traps, between, together
from vel2.bench.guest import L1Guest
from vel2.bench.host import MarkReader
from vel2.bench.layout import (
    HUGE_FROM_BYTES,
    MEMORY_BYTES,
    ROUNDS,
    TIMED,
    UNKNOWN_EXITS,
    WARM_UP,
    Mark,
)
from vel2.bench.operations import OPERATIONS, operation_names
from vel2.bench.payload import Payload
from vel2.bench.system import MeasureError, Running, Take, guest_failed, system
from vel2.control.session import Session
from vel2.guests.recipes import l1_tree
from vel2.guests.vmm import build_vmm
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage
from vel2.machine.outcome import MachineExit
from vel2.scratch import scratch

__all__ = ("Figures", "MeasureError", "MicroRequest", "Watcher", "measure")

L1_BOOTARGS = (
    "console=ttyAMA0 quiet panic=-1 job=l2 cryptomgr.notests=1 transparent_hugepage=madvise"
    f" huge_from={HUGE_FROM_BYTES >> 20}M"
)
"""Without huge pages, every page that L2 touches for the first time is a fault of its own; the VMM
asks for some at the end of L2's memory. The self-tests of L1's crypto would run beside the first
operations."""
RESULT = re.compile(r"L2\| result (\w+) (\d+) (\d+) (\d+) (\d+)")
DONE = re.compile(r"L2\| done (\d+)")


@dataclass(frozen=True)
class MicroRequest:
    """What to run, and how.

    :ivar timeout: seconds of host time for the whole run.
    :ivar progress: called with the name of each operation as it begins.
    :ivar at_end: called with the machine when it has ended.
    """

    configuration: Configuration
    kernel: KernelImage
    payload: Payload
    deterministic: bool = True
    timeout: float = 600.0
    progress: Callable[[str], None] | None = None
    at_end: Callable[[Session], None] | None = None


@dataclass
class Figures:
    """What one operation cost in one configuration.

    :ivar count: how often it was done in the timed round, which took `ticks`.
    :ivar traps: to real EL2 in `traps_of` of them, the timed round or what stands for it; None when
        nobody counted.
    :ivar l1_exits: L2's exits in `exits_of` of them, as L1's KVM counts; None when it does not.
    :ivar singles: the ticks and traps of single ones.
    """

    count: int
    ticks: int
    traps: Traps | None = None
    traps_of: int = 1
    l1_exits: int | None = None
    exits_of: int = 1
    singles: list[tuple[int, Traps | None]] = field(default_factory=list)

    @property
    def ticks_per_op(self) -> float:
        """Ticks for one, on average."""
        return self.ticks / self.count

    @property
    def l1_exits_per_op(self) -> float | None:
        """L2's exits for one, on average."""
        return None if self.l1_exits is None else round(self.l1_exits / self.exits_of, 3)

    @property
    def usual_ticks(self) -> int | None:
        """What most single ones took, so without L1's other work; the smaller one of equals."""
        counted = Counter(sorted(ticks for ticks, _ in self.singles))
        return counted.most_common(1)[0][0] if counted else None

    @property
    def usual_traps(self) -> Traps | None:
        """What most single ones trapped; the fewer one of equals."""
        known = sorted((traps for _, traps in self.singles if traps), key=lambda traps: traps.total)
        counted = Counter(tuple(sorted(traps.by_kind.items())) for traps in known)
        if not counted:
            return None
        kinds = counted.most_common(1)[0][0]
        return next(traps for traps in known if tuple(sorted(traps.by_kind.items())) == kinds)


class Watcher(Protocol):
    """Someone who looks at a run besides: at its start, and at each mark; QEMU's log is theirs."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """QEMU's options for it."""

    def begin(self, running: Running) -> None:
        """Learn of the machine that has been started."""

    def see(self, mark: Mark) -> None:
        """See a mark, while the machine stands still in it."""


def measure(request: MicroRequest, watcher: Watcher | None = None) -> dict[str, Figures]:
    """Run the payload once; give the figures of each operation, in the payload's order.

    :param watcher: sees the marks of a deterministic run.
    :raises MeasureError: when the run did not get to its end.
    """
    deadline = time.monotonic() + request.timeout
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        reader = stack.enter_context(MarkReader(folder)) if request.deterministic else None
        arguments: tuple[str, ...] = reader.arguments if reader else ()
        arguments += watcher.arguments if watcher else ()
        running = stack.enter_context(
            system(
                request.configuration,
                l1_guest(request),
                folder,
                deterministic=request.deterministic,
                arguments=arguments,
                has_log=watcher is None,
                from_first_mark=True,
            )
        )
        if watcher is not None:
            watcher.begin(running)
        console = running.session.console
        rounds: list[Round] = []
        if reader is not None:
            marks = watched(reader.marks(console, deadline), watcher)
            with contextlib.suppress(TimeoutError):  # how the machine ends tells more
                for seen in follow(marks, running.snapshot, request.progress):
                    rounds.append(seen)
        ended = running.end(deadline)
        if request.at_end is not None:
            request.at_end(running.session)
        return collect(request, console, ended, rounds)


def watched(marks: Iterator[Mark], watcher: Watcher | None) -> Iterator[Mark]:
    """Pass marks on, and show them to the watcher first."""
    for mark in marks:
        if watcher is not None:
            watcher.see(mark)
        yield mark


def l1_guest(request: MicroRequest) -> L1Guest:
    """Give Linux with the VMM and the payload in it."""
    vcpus = request.payload.vcpus
    tree = l1_tree(
        build_vmm(), request.payload.data, b"", l2_memory_bytes=MEMORY_BYTES, l2_cpus=vcpus
    )
    bootargs = L1_BOOTARGS + (" pin=1" if vcpus > 1 else "")
    return L1Guest(request.kernel, tree.pack(), bootargs, cpus=vcpus)


@dataclass(frozen=True)
class Round:
    """What was seen of one round, from its first mark to its second."""

    operation: str
    number: int
    count: int
    ticks: int
    traps: Traps | None


def follow(
    marks: Iterator[Mark], snapshot: Take, progress: Callable[[str], None] | None
) -> Iterator[Round]:
    """Put marks together to rounds.

    :raises MeasureError: when a mark is missing.
    """
    names = operation_names()
    before: Moment | None = None
    for expected, mark in enumerate(marks, 1):
        name = names[mark.operation]
        if mark.sequence != expected:
            raise MeasureError(f"L2 left a mark out while it did {name}.")
        now = snapshot()
        if expected % 2 == 0:
            traps = between(before, now) if now else None
            yield Round(name, mark.round, mark.count, mark.ticks, traps)
        elif progress is not None and mark.round == WARM_UP:
            progress(name)
        before = now


def collect(
    request: MicroRequest, console: Console, ended: MachineExit, rounds: list[Round]
) -> dict[str, Figures]:
    """Put together what the payload printed and what was seen at its marks.

    :raises MeasureError: when something is missing, or the two do not agree.
    """
    text = console.text
    found = {
        name: Figures(
            int(count),
            int(ticks),
            l1_exits=None if int(exits) == UNKNOWN_EXITS else int(exits),
            exits_of=int(exits_of),
        )
        for name, count, ticks, exits, exits_of in RESULT.findall(text)
    }
    done = DONE.search(text)
    if done is None or tuple(found) != request.payload.selected:
        raise guest_failed("L2", ended, console)
    if not request.deterministic:
        return found
    if int(done[1]) != 2 * len(rounds) or len(rounds) != ROUNDS * len(found):
        raise MeasureError(f"L2 passed {done[1]} marks, but {2 * len(rounds)} were seen.")
    for seen in rounds:
        figures = found[seen.operation]
        if seen.number == TIMED:
            if (seen.count, seen.ticks) != (figures.count, figures.ticks):
                raise MeasureError(f"{seen.operation} was seen other than reported.")
            figures.traps, figures.traps_of = seen.traps, seen.count
        elif seen.number > TIMED and seen.count == 1:
            figures.singles.append((seen.ticks, seen.traps))
    for operation in OPERATIONS:
        if operation.is_prepared and operation.name in found:
            # The timed round counted the preparations too.
            figures = found[operation.name]
            known = [traps for _, traps in figures.singles if traps]
            figures.traps = together(known) if known else None
            figures.traps_of = len(known) or 1
    return found

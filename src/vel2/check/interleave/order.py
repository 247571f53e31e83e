"""Which steps of a run had to come before which, and which accesses nothing orders.

The machine's memory is explored as if every access were seen by all at once. AArch64 promises less,
but nobody can tell the difference where no two accesses race: each plain access to a shared word is
ordered, by a lock or by a release and an acquire, against every other one that matters (C11's data
races; LDAR, STLR and the atomics with both are sequentially consistent among themselves). So
`DataRaces` asks for just that.
"""

from __future__ import annotations

from collections.abc import Callable

from vel2.check.interleave.steps import (
    ACQUIRE,
    GHOST,
    PLAIN,
    RELEASE,
    UPDATE,
    Event,
    Finding,
    orders,
)

__all__ = ("DataRaces", "HappensBefore", "Unordered")


class HappensBefore:
    """Which steps of a run had to come before which, by vector clocks."""

    def __init__(self, pcpus: int) -> None:
        self.now = [[0] * pcpus for _ in range(pcpus)]
        self.at: list[list[int]] = []
        self.trace: list[Event] = []
        self.written: dict[int, int] = {}
        self.read: dict[int, dict[int, int]] = {}

    def add(self, index: int, event: Event) -> list[int]:
        """Add a step; give those earlier ones that it races with, the latest first."""
        earlier = set()
        step = event.step
        for word in (*step.reads, *step.writes):
            if word in self.written:
                earlier.add(self.written[word])
        for word in step.writes:
            earlier.update(self.read.get(word, {}).values())
        clock = self.now[event.pcpu].copy()
        races = []
        for other in sorted(earlier, reverse=True):
            done = self.trace[other]
            if clock[done.pcpu] >= done.nth:
                continue
            races.append(other)
            clock = [max(pair) for pair in zip(clock, self.at[other], strict=True)]
        clock[event.pcpu] = event.nth
        self.now[event.pcpu] = clock
        self.at.append(clock)
        self.trace.append(event)
        for word in step.writes:
            self.written[word] = index
            self.read.pop(word, None)
        for word in step.reads:
            if word not in step.writes:
                self.read.setdefault(word, {})[event.pcpu] = index
        return races

    def is_before(self, earlier: int, later: int) -> bool:
        """Whether one step had to come before another."""
        event = self.trace[earlier]
        return self.at[later][event.pcpu] >= event.nth


class Unordered(Finding):
    """Two accesses to one word, one of them plain, that nothing orders."""

    def __init__(self, what: str, index: int) -> None:
        super().__init__(what)
        self.index = index
        """Of the later one in the record."""


class DataRaces:
    """Looks for plain accesses to one word that nothing orders, as C11 has them.

    Where there is none, the machine's weaker order cannot be told from the one that is explored.

    :param name: names a word.
    :param allowed: names of words where it does not matter, each with its reason.
    """

    def __init__(
        self, pcpus: int, is_allowed: Callable[[int], bool], name: Callable[[int], str]
    ) -> None:
        self.pcpus, self.is_allowed, self.name = pcpus, is_allowed, name

    def look(self, trace: list[Event]) -> None:
        """Look at one run.

        :raises Finding: two accesses race.
        """
        now = [[0] * self.pcpus for _ in range(self.pcpus)]
        released: dict[int, list[int]] = {}
        written: dict[int, Event] = {}
        read: dict[int, dict[int, Event]] = {}
        for index, event in enumerate(trace):
            step, clock = event.step, now[event.pcpu]
            for word in step.reads:
                _join(clock, released.get(word) if orders(word) else None)
            for word in step.writes:
                if orders(word):
                    released[word] = clock.copy()
                    released[word][event.pcpu] = event.nth
            if step.order == GHOST:
                clock[event.pcpu] = event.nth
                continue
            for word in (*step.reads, *step.writes):
                if word < 0:
                    continue
                against = [written[word]] if word in written else []
                if step.writes:
                    against += read.get(word, {}).values()
                for other in against:
                    if clock[other.pcpu] < other.nth and PLAIN in (step.order, other.step.order):
                        self.report(word, other, event, index)
            if step.order in (ACQUIRE, UPDATE):
                _join(clock, released.get(step.reads[0]))
            clock[event.pcpu] = event.nth
            for word in step.writes:
                if word >= 0:
                    written[word] = event
                    read.pop(word, None)
                    released.pop(word, None)
                    if step.order in (RELEASE, UPDATE):
                        released[word] = clock.copy()
            for word in step.reads:
                if not step.writes:
                    read.setdefault(word, {})[event.pcpu] = event

    def report(self, word: int, one: Event, other: Event, index: int) -> None:
        """Raise, unless it does not matter there."""
        if self.is_allowed(word):
            return
        verbs = ["writes" if event.step.writes else "reads" for event in (one, other)]
        raise Unordered(
            f"no order: pcpu {one.pcpu} {verbs[0]} {self.name(word)}, pcpu {other.pcpu} "
            f"{verbs[1]} it, and neither lock nor acquire and release stands between",
            index,
        )


def _join(clock: list[int], other: list[int] | None) -> None:
    if other is not None:
        for index, value in enumerate(other):
            if value > clock[index]:
                clock[index] = value

"""Exits of L1's guests: from a trap that L1 is given to the next entry of the same vCPU.

L2 traps to L0. What L0 does not answer itself it gives to L1, and that is an exit as L1 sees it:
it begins with L2's trap and ends when an ERET of L1 enters a guest again. What L1 does in between
traps, too; those traps are a part of the exit, and L0's time in them is a part of its time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vel2.trace.schema import Event, Kind
from vel2.trace.words import cause_of, level_of

__all__ = ("Exit", "ExitFinder", "exits_of")


@dataclass(frozen=True)
class Exit:
    """One exit; times are time stamps.

    :ivar trap: L2's trap. :ivar entry: the ERET of L1 that ended it; None if the trace ends before.
    :ivar traps: how often L1 trapped meanwhile, its ERET included.
    :ivar l0: L0's time: in L2's trap, and in L1's.
    """

    trap: Event
    entry: Event | None
    traps: int
    l0: int

    @property
    def cause(self) -> str:
        """What L2 did, as `words.cause_of` calls it."""
        return cause_of(self.trap)

    @property
    def ticks(self) -> int:
        """How long L2 did not run; 0 while that is not over."""
        return self.entry.ended - self.trap.began if self.entry else 0

    @property
    def l1(self) -> int:
        """L1's own time."""
        return self.ticks - self.l0 if self.entry else 0


class ExitFinder:
    """Find exits in the events of all vCPUs, in their order."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Event, int, int]] = {}

    def see(self, event: Event) -> Exit | None:
        """Take the next event; give the exit that it ends."""
        if event.kind not in (Kind.TRAP, Kind.ERET):
            return None
        source, target = level_of(event.source), level_of(event.target)
        if source == "L2" and target == "L1":
            self._open[event.vcpu] = event, 0, event.cost
            return None
        if event.vcpu not in self._open:
            return None
        trap, traps, l0 = self._open[event.vcpu]
        self._open[event.vcpu] = trap, traps + 1, l0 + event.cost
        if source == "L1" and target == "L2":
            del self._open[event.vcpu]
            return Exit(trap, event, traps + 1, l0 + event.cost)
        return None

    def rest(self) -> Iterator[Exit]:
        """Give the exits that no entry has ended."""
        for trap, traps, l0 in self._open.values():
            yield Exit(trap, None, traps, l0)


def exits_of(events: Iterable[Event]) -> Iterator[Exit]:
    """Give the exits in the order of their ends, those without one last."""
    finder = ExitFinder()
    for event in events:
        if (found := finder.see(event)) is not None:
            yield found
    yield from finder.rest()

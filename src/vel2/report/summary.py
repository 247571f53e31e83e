"""What a trace adds up to: one pass over its events, and memory for the sums only."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from vel2.arch.bits import trap_key_from_iss
from vel2.arch.esr import ISS_SYS64, ESR_ELx
from vel2.trace.exits import Exit, ExitFinder
from vel2.trace.recording import Recording
from vel2.trace.rows import Names
from vel2.trace.schema import Event, Kind, Place
from vel2.trace.words import cause_of, class_of, is_access, level_of, register_of, vmid_of

__all__ = ("EL0", "Access", "Distribution", "Summary", "Tally", "summarize")

BINS = 120
"""Of the time line."""
EL0 = "EL0"
UNNAMED = "(unnamed)"
USERS = (Place.L1_EL2_EL0, Place.L1_EL0, Place.L2_EL0, Place.L2_EL2_EL0)
LARGEST = 64
"""Powers of two of nanoseconds that a time can have."""


@dataclass
class Tally:
    """How often, and how long L0 took in all, in ns."""

    count: int = 0
    cost: int = 0

    def add(self, cost: int) -> None:
        """Count one more."""
        self.count += 1
        self.cost += cost


@dataclass
class Distribution:
    """Times by powers of two: enough for percentiles, whatever their number.

    :ivar bins: how many times had so many bits.
    """

    count: int = 0
    total: int = 0
    longest: int = 0
    bins: list[int] = field(default_factory=lambda: [0] * LARGEST)

    def add(self, ns: int) -> None:
        """Take one more."""
        self.count += 1
        self.total += ns
        self.longest = max(self.longest, ns)
        self.bins[min(ns.bit_length(), LARGEST - 1)] += 1

    @property
    def mean(self) -> float:
        """Give the mean."""
        return self.total / self.count if self.count else 0.0

    def below(self, part: float) -> int:
        """Give a time that no less than a part of all stays below: a power of two."""
        seen = 0
        for bits, number in enumerate(self.bins):
            seen += number
            if number and seen >= part * self.count:
                return 1 << bits
        return 0


@dataclass(frozen=True)
class Access:
    """An access to a register from one function, as a key of counts.

    :ivar key: trap key. :ivar rt: of the first that was seen.
    """

    function: str
    cause: str
    key: int = 0
    is_read: bool = False
    is_access: bool = False


@dataclass
class Summary:
    """Everything that the page shows. Times are ns.

    :ivar busy: by bin of the time line and by level, the time it ran. :ivar rate: traps by bin.
    :ivar l1: what trapped in L1's kernel at vEL2, by function and access.
    :ivar flame: time of exits by the path: cause, L2's function, L1's function, what trapped there.
    :ivar pages: stage-2 fills by page of L2 (VMID, IPA). :ivar leaves: fills by level.
    """

    began: int = 0
    ended: int = 0
    events: int = 0
    classes: dict[tuple[str, str], Tally] = field(default_factory=dict)
    registers: dict[tuple[str, str], Tally] = field(default_factory=dict)
    functions: dict[tuple[str, str], Tally] = field(default_factory=dict)
    results: Counter[str] = field(default_factory=Counter)
    l1: Counter[Access] = field(default_factory=Counter)
    exits: dict[str, Distribution] = field(default_factory=dict)
    switches: dict[str, Distribution] = field(default_factory=dict)
    flame: Counter[tuple[str, ...]] = field(default_factory=Counter)
    pages: Counter[tuple[int, int]] = field(default_factory=Counter)
    leaves: Counter[int] = field(default_factory=Counter)
    unmaps: int = 0
    guests: Counter[int] = field(default_factory=Counter)
    busy: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(BINS)])
    rate: list[int] = field(default_factory=lambda: [0] * BINS)

    @property
    def traps(self) -> int:
        """Traps, and ERETs that the vectors do."""
        return sum(tally.count for tally in self.classes.values())

    @property
    def duration(self) -> int:
        """From the first event to the last, at least 1."""
        return max(1, self.ended - self.began)

    def time_of(self, level: str) -> int:
        """How long a level ran, over all vCPUs."""
        return sum(each[level] for each in self.busy)


def summarize(trace: Recording, names: Names) -> Summary:
    """Add a trace up."""
    found = Summary()
    found.began, found.ended = _span(trace)
    maker = Maker(trace, names, found)
    for event in trace.events():
        maker.see(event)
    return found


def _span(trace: Recording) -> tuple[int, int]:
    began, ended = None, 0
    for event in trace.events():
        began = event.began if began is None else min(began, event.began)
        ended = max(ended, event.ended)
    return trace.nanoseconds(began or 0), trace.nanoseconds(ended)


class Maker:
    """Add events up, one after the other."""

    def __init__(self, trace: Recording, names: Names, summary: Summary) -> None:
        self._trace = trace
        self._names = names
        self._summary = summary
        self._finder = ExitFinder()
        self._last: dict[int, tuple[str, int]] = {}
        self._meanwhile: dict[int, list[tuple[tuple[str, ...], int]]] = {}

    def see(self, event: Event) -> None:
        """Take the next event."""
        self._summary.events += 1
        if event.kind == Kind.FILL:
            self._summary.pages[vmid_of(event), event.ipa] += 1
            self._summary.leaves[event.detail] += 1
        elif event.kind == Kind.UNMAP:
            self._summary.unmaps += 1
        elif event.kind in (Kind.TRAP, Kind.ERET):
            self._trap(event)

    def _function(self, event: Event) -> str:
        if event.source in USERS:
            return EL0
        return self._names.function(event.source, event.pc) or UNNAMED

    def _trap(self, event: Event) -> None:
        summary, level = self._summary, level_of(event.source)
        cost, function = self._trace.nanoseconds(event.cost), self._function(event)
        summary.classes.setdefault((class_of(event), level), Tally()).add(cost)
        summary.functions.setdefault((level, function), Tally()).add(cost)
        if register := register_of(event):
            summary.registers.setdefault((register, level), Tally()).add(cost)
        if event.source == Place.L1_EL2:
            summary.l1[_access(event, function)] += 1
        self._switch(event, cost)
        self._time(event)
        self._exit(event, function, level, cost)

    def _switch(self, event: Event, cost: int) -> None:
        source, target = level_of(event.source), level_of(event.target)
        if source != target:
            way = f"{source} to {target}"
            self._summary.switches.setdefault(way, Distribution()).add(cost)

    def _time(self, event: Event) -> None:
        """Give the time since the vCPU's last event to who ran, and the event's own to L0."""
        summary = self._summary
        began, ended = (self._trace.nanoseconds(at) for at in (event.began, event.ended))
        level, since = self._last.get(event.vcpu, (level_of(event.source), summary.began))
        self._spread(level, since, began)
        self._spread("L0", began, ended)
        self._last[event.vcpu] = level_of(event.target), ended
        summary.rate[self._bin(began)] += 1

    def _bin(self, at: int) -> int:
        summary = self._summary
        return min(BINS - 1, max(0, (at - summary.began) * BINS // summary.duration))

    def _spread(self, level: str, began: int, ended: int) -> None:
        """Add a time to the bins that it is in."""
        first, last = self._bin(began), self._bin(ended)
        for number in range(first, last + 1):
            low = self._edge(number) if number > first else began
            high = self._edge(number + 1) if number < last else ended
            self._summary.busy[number][level] += max(0, high - low)

    def _edge(self, number: int) -> int:
        return self._summary.began + number * self._summary.duration // BINS

    def _exit(self, event: Event, function: str, level: str, cost: int) -> None:
        if level == "L1" and event.vcpu in self._meanwhile:
            self._meanwhile[event.vcpu].append(((function, cause_of(event)), cost))
        if level == "L2" and level_of(event.target) == "L1":
            self._meanwhile[event.vcpu] = []
            self._summary.guests[vmid_of(event)] += 1
        found = self._finder.see(event)
        if found is not None:
            self._ended(found, self._meanwhile.pop(event.vcpu, []))

    def _ended(self, found: Exit, meanwhile: list[tuple[tuple[str, ...], int]]) -> None:
        summary = self._summary
        summary.exits.setdefault(found.cause, Distribution()).add(
            self._trace.nanoseconds(found.ticks)
        )
        root = (found.cause, self._function(found.trap))
        summary.flame[(*root, "L1 itself")] += self._trace.nanoseconds(found.l1)
        summary.flame[(*root, "L0: the exit")] += self._trace.nanoseconds(found.trap.cost)
        for path, cost in meanwhile:
            summary.flame[(*root, *path)] += cost


def _access(event: Event, function: str) -> Access:
    return _access_of(function, cause_of(event), event.esr if is_access(event) else 0)


@lru_cache(maxsize=1 << 16)
def _access_of(function: str, cause: str, esr: int) -> Access:
    if esr == 0:
        return Access(function, cause)
    iss = ESR_ELx.ISS.get(esr)
    is_read = bool(ISS_SYS64.Direction.get(iss)) and ISS_SYS64.Op0.get(iss) != 1
    return Access(function, cause, trap_key_from_iss(iss), is_read, True)


def ranked(tallies: dict[tuple[str, str], Tally], limit: int) -> Iterator[tuple[str, str, Tally]]:
    """Give the most frequent, at most `limit`."""
    order = sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))
    for (name, level), tally in order[:limit]:
        yield name, level, tally

"""A simulated machine with several pcpus, which take turns at each access to what they share.

Each pcpu runs resident functions in a greenlet of its own, with its own registers. Memory is one.
Before an access to a *shared* word (one that two pcpus touch and one of them writes), a pcpu comes
to `Machine.point`, where a `Director` says who goes on. Between two points nobody else runs, and
nothing happens that another pcpu could see.

Which words are shared is found out by running: a word that turns out to be shared only while it was
not watched sets `Machine.found`, and whoever explores begins anew with more to watch.

A plain store to a word that nothing orders (`Machine.delayed`) may be seen late: it stays in a
buffer of its pcpu, which reads it from there, until the buffer takes a turn of its own. A store
with release goes behind it into the buffer; a barrier or an atomic waits until the buffer is empty.

A pcpu that spins (YIELD or WFE behind a load) waits until another one writes what it has read: the
load that was in vain changes nothing, so it is taken out of the record.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, cast

import greenlet

from vel2.arch import sysregs as sr
from vel2.arch.insn import SysInsn, by_key
from vel2.check.interleave.tlb import Tlbs
from vel2.lang.sim import ORDERING, ORDERING_KEY, Simulation

if TYPE_CHECKING:
    from vel2.lang.structs import Views

__all__ = ("Actor", "Deadlock", "Director", "Event", "Finding", "Machine", "Pcpu", "Step", "Told")

HCR_KEY = sr.HCR_EL2.trap_key
TTLB = sr.HCR_EL2.TTLB.mask
VTTBR_KEY = sr.VTTBR_EL2.trap_key
WORD_SHIFT = 3
MAX_PCPUS = 8
EVENTS_AT_MOST = 5_000
LOADS_AT_MOST = 200_000
"""Of words that are not watched. No run of a scene is as long: a pcpu goes round and round."""
WAITS = ("yield", "wfe")
PLAIN, ACQUIRE, RELEASE, UPDATE, GHOST = "plain", "acquire", "release", "update", "ghost"
"""How an access is ordered; a ghost is the checker's own or the guest's, and owes no order."""


class Finding(Exception):
    """A rule of the protocol does not hold: a sentence."""


class Deadlock(Finding):
    """Nobody can go on, and not everybody is done."""


class Step(NamedTuple):
    """What a pcpu is about to do."""

    reads: tuple[int, ...] = ()
    """Words, or numbers below 0: what only the checker knows of."""
    writes: tuple[int, ...] = ()
    order: str = PLAIN
    what: str = ""
    value: int = 0


class Event(NamedTuple):
    """What a pcpu has done: a step that was taken, and how many it had taken before."""

    pcpu: int
    nth: int
    step: Step


@dataclass
class Told:
    """What a step did, and where in L0."""

    event: Event
    callers: tuple[str, ...]
    """The resident functions that it is part of, innermost first."""
    change: tuple[int, int] | None = None
    """The value written, before and after, where they differ."""


def resident_callers() -> tuple[str, ...]:
    """Name the resident functions that run."""
    frame: FrameType | None = sys._getframe(1)
    names = []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "hyp":
            names.append(f"{path.stem}.{frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(names)


class Director(Protocol):
    """Who says which pcpu goes on."""

    def choose(self, machine: Machine) -> Actor:
        """Give the pcpu that takes the next step; raises `Ended` when there is none."""

    def voided(self, pcpu: Pcpu) -> None:
        """Learn that the step just chosen was a load in vain: the pcpu waits."""


class Ended(Exception):
    """The run is over: all are done, or what is left has been seen in another order."""


class Off(Exception):
    """A pcpu goes off."""


class Pcpu:
    """One pcpu: its registers and its program."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine = machine
        self.number = number
        self.registers = Registers(self)
        self.begin: Callable[[], None] | None = None
        self.greenlet: Any = None
        self.pending: Callable[[], Step] | Step = Step()
        self.waits_for: int | None = None
        self.granted = False
        self.stores: list[tuple[int, int, str]] = []
        """Stores that nobody else has seen yet, the oldest first: word, value and order."""
        self.drains = False
        self.is_done = True
        self.count = 0
        self.last_word = 0
        """Of its last ordered access."""

    @property
    def can_go_on(self) -> bool:
        """Whether it has a step to take."""
        if self.drains and self.stores:
            return False
        return not self.is_done and self.waits_for is None

    def next_step(self) -> Step:
        """Say what it is about to do, as things are now."""
        pending = self.pending
        return pending if isinstance(pending, Step) else pending()


class Buffer:
    """The store buffer of a pcpu, which takes turns as pcpus do."""

    waits_for = None

    def __init__(self, owner: Pcpu, number: int) -> None:
        self.owner, self.number, self.count = owner, number, 0

    @property
    def can_go_on(self) -> bool:
        """Whether there is a store that nobody has seen."""
        return bool(self.owner.stores)

    @property
    def is_done(self) -> bool:
        """Whether all stores have been seen."""
        return not self.owner.stores

    def next_step(self) -> Step:
        """Say what is seen next."""
        word, value, order = self.owner.stores[0]
        mark = buffer_word(self.owner.number)
        return Step((mark,), (word, mark), order, "is seen", value)


Actor = Pcpu | Buffer
"""Whoever takes turns."""


class Registers(dict[int, int]):
    """The register file of one pcpu, as intrinsics use it."""

    def __init__(self, pcpu: Pcpu) -> None:
        super().__init__()
        self.pcpu = pcpu

    def __missing__(self, key: int) -> int:
        return 0

    def __setitem__(self, key: int, value: int) -> None:
        if key == VTTBR_KEY and self.get(key) != value:
            self.pcpu.machine.loads_vttbr(self.pcpu, value)
        elif key == HCR_KEY and (self[key] ^ value) & TTLB:
            self.pcpu.machine.changes_trap(self.pcpu)
        super().__setitem__(key, value)


class SharedView:
    """Memory in units of one size, which lets the machine look at every access."""

    __slots__ = ("machine", "raw", "scale")

    def __init__(self, machine: Machine, raw: memoryview, log: int) -> None:
        self.machine, self.raw, self.scale = machine, raw, WORD_SHIFT - log

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: Any) -> Any:
        if type(index) is slice:
            return self.raw[index]
        word = index >> self.scale
        self.machine.reads(word)
        running = self.machine.running
        if running is not None and running.stores and self.scale == 0:
            return self.machine.own_value(word)
        return self.raw[index]

    def __setitem__(self, index: int, value: int) -> None:
        word = index >> self.scale
        machine = self.machine
        if word in machine.watched and machine.running is not None:
            if word in machine.delayed:
                machine.delay(word, value, GHOST)
                return
            machine.point(Step((), (word,)))
        before = machine.words[word]
        self.raw[index] = value
        if before != machine.words[word]:
            machine.changed(word, before)


class Machine(Simulation):
    """See the module's text."""

    def __init__(self, base: int, size: int, pcpus: int) -> None:
        super().__init__(base, size)
        plain = self.views
        self.words = plain[3]
        self.plain_views = plain
        self.views = cast(
            "Views", tuple(SharedView(self, view, log) for log, view in enumerate(plain))
        )
        self.pcpus = [Pcpu(self, number) for number in range(pcpus)]
        self.actors: list[Actor] = list(self.pcpus)
        self.actors += [Buffer(pcpu, pcpus + pcpu.number) for pcpu in self.pcpus]
        self.delayed: set[int] = set()
        """Words, used by whole eight bytes, whose plain stores others may see late."""
        self.running: Pcpu | None = None
        self.director: Director | None = None
        self.hub: Any = None
        self.chosen: Actor | None = None
        self.trace: list[Event] = []
        self.watched: set[int] = set()
        self.found: set[int] = set()
        self.readers: dict[int, int] = {}
        self.writers: dict[int, int] = {}
        self.undo: dict[int, int] = {}
        self.loads = 0
        self.told: list[Told] | None = None
        """What each step of a run did, when somebody wants to know."""
        self.tables = range(0)
        """Words that are part of tables hardware walks."""
        self.tlbs = Tlbs(self)

    # --- accesses ---

    def reads(self, word: int) -> None:
        """Come to a plain load; one of a word that is not watched is noted, so that it may be."""
        if self.running is None:
            return
        if word in self.watched:
            self.point(Step((word,)))
        else:
            self.loads += 1
            if self.loads > LOADS_AT_MOST:
                raise Finding(f"no end: {LOADS_AT_MOST} loads were made")
            self.note(word, False)

    def delay(self, word: int, value: int, order: str) -> None:
        """Store what others may see later."""
        assert self.running is not None
        mark = buffer_word(self.running.number)
        self.ghost(None, (mark,), f"stores {value:#x}, to be seen later", value)
        self.running.stores.append((word, value, order))

    def own_value(self, word: int) -> int:
        """Give what the running pcpu reads: what it stored last, even if nobody has seen it."""
        if self.running is not None:
            for stored, value, _ in reversed(self.running.stores):
                if stored == word:
                    return value
        return self.words[word]

    def drain(self) -> None:
        """Wait until others have seen all that the running pcpu has stored."""
        me = self.running
        if me is not None and me.stores:
            me.drains = True
            mark = buffer_word(me.number)
            self.ghost(lambda: (mark,), (), "waits until its stores are seen")
            me.drains = False

    def note(self, word: int, is_write: bool) -> None:
        """Note who touches a word."""
        assert self.running is not None
        if word < 0:
            return
        bit = 1 << self.running.number
        table = self.writers if is_write else self.readers
        seen = table.get(word, 0)
        if not seen & bit:
            table[word] = seen | bit
            everybody = self.readers.get(word, 0) | self.writers.get(word, 0)
            if everybody & (everybody - 1) and self.writers.get(word, 0):
                self.found.add(word)

    def changed(self, word: int, before: int) -> None:
        """Learn that a word has another value now.

        A store that changes nothing is not noted: a word that has one value in all runs is shared
        by nobody, however often it is cleared.
        """
        if word not in self.undo:
            self.undo[word] = before
        if self.told and word in self.told[-1].event.step.writes:
            self.told[-1].change = (before, self.words[word])
        running = self.running
        if running is not None and word not in self.watched:
            self.note(word, True)
        if word in self.tables or word == self.tlbs.stage1_word:
            self.tlbs.stored(-1 if running is None else running.number, word, before)

    def access(self, address: int, step: Step) -> int:
        """Come to an ordered access of eight bytes; give its word."""
        word = self._offset(address, 8, 8) >> WORD_SHIFT
        if self.running is not None:
            # LDAR, too, comes after an STLR before it.
            if step.writes or any(order == RELEASE for _, _, order in self.running.stores):
                self.drain()
            self.running.last_word = word
            if word in self.watched:
                self.point(
                    step._replace(
                        reads=(word,) * len(step.reads), writes=(word,) * len(step.writes)
                    )
                )
            else:
                if step.reads:
                    self.note(word, False)
                if step.writes:
                    self.note(word, True)
        return word

    def put(self, word: int, value: int) -> None:
        """Write a word that has come to its point."""
        before = self.words[word]
        if before != value:
            self.words[word] = value
            self.changed(word, before)

    def load_acquire(self, size: int, address: int) -> int:
        """Read as LDAR does."""
        assert size == 8
        return self.words[self.access(address, Step((0,), (), ACQUIRE))]

    def store_release(self, size: int, address: int, value: int) -> None:
        """Write as STLR does."""
        assert size == 8
        running = self.running
        word = self._offset(address, 8, 8) >> WORD_SHIFT
        if running is not None and running.stores:
            self.note(word, True)
            self.delay(word, value, RELEASE)
            return
        self.put(self.access(address, Step((), (0,), RELEASE)), value)

    def update(self, address: int, change: Callable[[int], int | None]) -> int:
        """Read and write as one access, ordered as LDADDAL and CASAL are."""
        word = self.access(address, Step((0,), (0,), UPDATE))
        old = self.words[word]
        new = change(old)
        if new is not None:
            self.put(word, new)
        return old

    # --- registers and instructions ---

    def loads_vttbr(self, pcpu: Pcpu, value: int) -> None:
        """Come to a write of VTTBR_EL2: from now on this pcpu may walk other tables."""
        if self.running is pcpu:
            self.ghost(lambda: self.tlbs.walk_words(value), (), "loads VTTBR_EL2", value)
        self.tlbs.loaded(pcpu.number, value)

    def changes_trap(self, pcpu: Pcpu) -> None:
        """Come to a change of HCR_EL2.TTLB: whether this pcpu's TLBIs trap."""
        if self.running is pcpu:
            self.ghost(None, (trap_word(pcpu.number),), "changes HCR_EL2.TTLB")

    def log_operation(self, key: int, value: int = 0) -> None:
        """Do a system instruction, a barrier or a hint."""
        pcpu = self.running
        if pcpu is None:
            return
        if key >= ORDERING_KEY:
            name = ORDERING[key - ORDERING_KEY]
            if name in WAITS:
                self.wait(pcpu)
            elif name.startswith("dmb"):
                self.drain()
            elif name.startswith("dsb"):
                self.drain()
                writes = self.tlbs.completes(pcpu.number)
                if writes:
                    self.ghost(None, writes, f"{name}: TLBI is complete")
                self.tlbs.synchronized(pcpu.number)
            return
        instruction = by_key(key)
        if isinstance(instruction, SysInsn) and instruction.name.startswith("TLBI "):
            self.tlbs.invalidates(pcpu.number, instruction.name, pcpu.registers[VTTBR_KEY])

    # --- taking turns ---

    def ghost(
        self,
        reads: Callable[[], Iterable[int]] | None,
        writes: Iterable[int],
        what: str,
        value: int = 0,
    ) -> None:
        """Come to something that no instruction of L0 does, but that others' order matters to."""
        writes = tuple(writes)

        def step() -> Step:
            return Step(() if reads is None else tuple(reads()), writes, GHOST, what, value)

        now = step()
        for word in now.reads:
            self.note(word, False)
        for word in writes:
            self.note(word, True)
        if reads is None:
            self.point(now)
        else:
            self.point(step)

    def point(self, pending: Callable[[], Step] | Step) -> None:
        """Wait for one's turn, and take it."""
        me = self.running
        assert me is not None and self.director is not None
        if me.granted:
            me.granted = False
        else:
            me.pending = pending
            chosen = self.director.choose(self)
            if chosen is not me:
                self.chosen = chosen
                self.hub.switch()
        me.pending = pending
        self.record(me)

    def record(self, pcpu: Actor) -> None:
        """Note that somebody takes a step."""
        step = pcpu.next_step()
        pcpu.count += 1
        event = Event(pcpu.number, pcpu.count, step)
        self.trace.append(event)
        if self.told is not None:
            self.told.append(Told(event, resident_callers()))
        if len(self.trace) > EVENTS_AT_MOST:
            raise Finding(f"no end: {EVENTS_AT_MOST} steps were taken")
        for word in step.writes:
            for other in self.pcpus:
                if other.waits_for == word and other is not pcpu:
                    other.waits_for = None

    def wait(self, me: Pcpu) -> None:
        """Spin: take back the load that was in vain, and wait until another one writes there."""
        assert self.director is not None
        last = self.trace[-1] if self.trace else None
        if last is None or last.pcpu != me.number or last.step.writes or len(last.step.reads) != 1:
            self.found.add(me.last_word)
            raise Ended
        self.trace.pop()
        if self.told:
            self.told.pop()
        me.count -= 1
        me.waits_for = last.step.reads[0]
        me.pending = last.step
        self.director.voided(me)
        self.chosen = self.director.choose(self)
        if self.chosen is not me:
            self.hub.switch()
        me.granted = True

    # --- runs ---

    @property
    def is_over(self) -> bool:
        """Whether everybody has done all there was to do."""
        return all(actor.is_done for actor in self.actors)

    def prepare(self, programs: dict[int, Callable[[], None]]) -> None:
        """Say what each pcpu runs; those without a program are off."""
        for pcpu in self.pcpus:
            pcpu.begin = programs.get(pcpu.number)
            pcpu.is_done = pcpu.begin is None
            pcpu.pending, pcpu.waits_for, pcpu.granted = Step((), (), GHOST, "begins"), None, False
            pcpu.count = 0
            pcpu.stores, pcpu.drains = [], False
            pcpu.greenlet = None
        for actor in self.actors[len(self.pcpus) :]:
            actor.count = 0

    def turn_on(self, number: int, program: Callable[[], None]) -> None:
        """Start a pcpu that is off: its first step depends on the caller's last."""
        pcpu = self.pcpus[number]
        pcpu.begin, pcpu.is_done, pcpu.greenlet = program, False, None
        pcpu.pending = Step((power_word(number),), (), GHOST, "begins")

    def run(self, director: Director) -> None:
        """Let the pcpus run until nobody has anything left to do."""
        self.director = director
        self.hub = greenlet.getcurrent()
        self._stack.append(self)
        try:
            while True:
                try:
                    pcpu = self.chosen or director.choose(self)
                except Ended:
                    return
                self.chosen = None
                if isinstance(pcpu, Buffer):
                    self.record(pcpu)
                    word, value, _ = pcpu.owner.stores.pop(0)
                    self.put(word, value)
                    continue
                self.running = pcpu
                self.registers = cast("Any", pcpu.registers)
                if pcpu.greenlet is None:
                    assert pcpu.begin is not None
                    pcpu.greenlet = greenlet.greenlet(self._life)
                    self.record(pcpu)
                try:
                    pcpu.greenlet.switch(pcpu)
                except Ended:
                    return
        finally:
            self._stack.pop()
            self.running = None
            self.chosen = None
            for pcpu in self.pcpus:
                if pcpu.greenlet is not None and not pcpu.greenlet.dead:
                    pcpu.greenlet.throw(greenlet.GreenletExit)
                pcpu.greenlet = None

    def _life(self, pcpu: Pcpu) -> None:
        assert pcpu.begin is not None
        with contextlib.suppress(Off):
            pcpu.begin()
        pcpu.is_done = True

    def leave(self) -> NoReturn:
        """End the program of the pcpu that runs: its firmware has turned it off."""
        raise Off

    def take_back(self) -> None:
        """Make memory what it was before the run."""
        words = self.words
        for word, value in self.undo.items():
            words[word] = value
        self.undo.clear()
        self.trace = []
        self.loads = 0


def buffer_word(number: int) -> int:
    """Give the word of the checker's own that stands for what is in a pcpu's store buffer."""
    return -2 * MAX_PCPUS - 1 - number


def trap_word(number: int) -> int:
    """Give the word of the checker's own that stands for a pcpu's HCR_EL2.TTLB."""
    return -MAX_PCPUS - 1 - number


def orders(word: int) -> bool:
    """Whether a word of the checker's own orders what comes before and behind it."""
    return -MAX_PCPUS <= word < 0 or -3 * MAX_PCPUS <= word < -2 * MAX_PCPUS


def power_word(number: int) -> int:
    """Give the word of the checker's own that stands for a pcpu being turned on."""
    return -1 - number

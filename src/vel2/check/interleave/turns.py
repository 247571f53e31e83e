"""Taking turns: before each step a pcpu comes to a point where a `Director` says who goes on.

Between two points nobody else runs, and nothing happens that another pcpu could see.

Which words are shared is found out by running: a word that turns out to be shared only while it was
not watched sets `Turns.found`, and whoever explores begins anew with more to watch.

A pcpu that spins (YIELD or WFE behind a load) waits until another one writes what it has read: the
load that was in vain changes nothing, so it is taken out of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vel2.check.interleave.actors import Actor, Director, Pcpu
from vel2.check.interleave.steps import (
    GHOST,
    WORD_SHIFT,
    Ended,
    Event,
    Finding,
    Step,
    Told,
    resident_callers,
)
from vel2.lang.sim import Simulation

__all__ = ("Turns",)

EVENTS_AT_MOST = 5_000


class Turns(Simulation):
    """Memory of several pcpus, and the order in which they get at it."""

    def __init__(self, base: int, size: int) -> None:
        super().__init__(base, size)
        self.words = self.views[WORD_SHIFT]
        """Memory, looked at by nobody."""
        self.pcpus: list[Pcpu] = []
        self.actors: list[Actor] = []
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
        self.told: list[Told] | None = None
        """What each step of a run did, when somebody wants to know."""
        self.tables = range(0)
        """Words that are part of tables hardware walks."""

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
        self.walked(word, before)

    def walked(self, word: int, before: int) -> None:
        """Learn that a word that hardware may walk has another value."""

    def put(self, word: int, value: int) -> None:
        """Write a word that has come to its point."""
        before = self.words[word]
        if before != value:
            self.words[word] = value
            self.changed(word, before)

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

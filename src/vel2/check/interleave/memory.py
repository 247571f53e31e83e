"""What the pcpus share: accesses of every kind and order, and stores that are seen late.

A plain store to a word that nothing orders (`SharedMemory.delayed`) may be seen late: it stays in a
buffer of its pcpu, which reads it from there, until the buffer takes a turn of its own. A store
with release goes behind it into the buffer; a barrier or an atomic waits until the buffer is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from vel2.check.interleave.steps import (
    ACQUIRE,
    GHOST,
    RELEASE,
    UPDATE,
    WORD_SHIFT,
    Finding,
    Step,
    buffer_word,
)
from vel2.check.interleave.turns import Turns

if TYPE_CHECKING:
    from vel2.lang.structs import Views

__all__ = ("SharedMemory",)

LOADS_AT_MOST = 200_000
"""Of words that are not watched. No run of a scene is as long: a pcpu goes round and round."""


class SharedView:
    """Memory in units of one size, which lets the machine look at every access."""

    __slots__ = ("machine", "raw", "scale")

    def __init__(self, machine: SharedMemory, raw: memoryview, log: int) -> None:
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


class SharedMemory(Turns):
    """See the module's text."""

    def __init__(self, base: int, size: int) -> None:
        super().__init__(base, size)
        plain = self.views
        self.views = cast(
            "Views", tuple(SharedView(self, view, log) for log, view in enumerate(plain))
        )
        self.delayed: set[int] = set()
        """Words, used by whole eight bytes, whose plain stores others may see late."""
        self.loads = 0

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

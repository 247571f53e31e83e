"""Running on a ground: as a pcpu that nobody watches, and run after run from the same beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from vel2.arch.descriptors import ENTRIES
from vel2.check.interleave.ground import Ground
from vel2.hyp import pool, power, shadow

__all__ = ("Stage",)


class Stage(Ground):
    """A ground, with the checker's firmware below L0."""

    @contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Do something as a pcpu while nobody watches: to come to where the scene begins."""
        machine = self.machine
        machine.registers = machine.pcpus[number].registers  # type: ignore[assignment]
        with machine, self.stand_ins():
            yield

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Look at memory as nobody."""
        machine = self.machine
        running, machine.running = machine.running, None
        try:
            with machine:
                yield
        finally:
            machine.running = running

    @contextmanager
    def stand_ins(self) -> Iterator[None]:
        """Put the checker's firmware below L0."""

        def call(function: int, first: int, second: int, third: int) -> int:
            return self.firmware(function, first, second, third)

        with (
            patch.object(power, "firmware_call", call),
            patch.object(pool, "zero_page", self.zero_page),
            # As small as can be: the lock is given back behind each entry of a range.
            patch.object(shadow, "PART", 1),
        ):
            yield

    def zero_page(self, page: int) -> None:
        """Clear a page as `pool.zero_page` does, but for stores of 0 over 0 that nobody sees."""
        machine = self.machine
        first = page - machine.memory_base >> 3
        for word in range(first, first + ENTRIES):
            if machine.words[word] or word in machine.watched:
                machine.views[3][word] = 0

    def save(self) -> None:
        """Say that the scene begins as things are now."""
        self.machine.undo.clear()
        self.machine.tlbs.begin()
        self.saved_registers = [dict(pcpu.registers) for pcpu in self.machine.pcpus]
        self.saved_allowed = {key: set(outputs) for key, outputs in self.allowed.items()}

    def put_back(self) -> None:
        """Go back to where the scene begins."""
        self.machine.take_back()
        self.machine.tlbs.put_back()
        for pcpu, before in zip(self.machine.pcpus, self.saved_registers, strict=True):
            pcpu.registers.clear()
            dict.update(pcpu.registers, before)
        self.allowed = {key: set(outputs) for key, outputs in self.saved_allowed.items()}
        for reset in self.resets:
            reset()

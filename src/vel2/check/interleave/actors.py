"""Who takes turns: pcpus, and their store buffers; and who says whose turn it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from vel2.arch import sysregs as sr
from vel2.check.interleave.steps import Step, buffer_word

if TYPE_CHECKING:
    from vel2.check.interleave.machine import Machine
    from vel2.check.interleave.turns import Turns

__all__ = ("HCR_KEY", "TTLB", "VTTBR_KEY", "Actor", "Buffer", "Director", "Pcpu", "Registers")

HCR_KEY = sr.HCR_EL2.trap_key
TTLB = sr.HCR_EL2.TTLB.mask
VTTBR_KEY = sr.VTTBR_EL2.trap_key


class Director(Protocol):
    """Who says which pcpu goes on."""

    def choose(self, machine: Turns) -> Actor:
        """Give the pcpu that takes the next step; raises `Ended` when there is none."""

    def voided(self, pcpu: Pcpu) -> None:
        """Learn that the step just chosen was a load in vain: the pcpu waits."""


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

"""What pcpus do, one step at a time: the words that the whole checker is written in.

A step is one access to shared memory, or something that no instruction does but that others' order
matters to (a *ghost*). It names words of memory; numbers below 0 are words of the checker's own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NamedTuple

__all__ = (
    "ACQUIRE",
    "GHOST",
    "MAX_PCPUS",
    "PLAIN",
    "RELEASE",
    "UPDATE",
    "WORD_SHIFT",
    "Deadlock",
    "Ended",
    "Event",
    "Finding",
    "Off",
    "Step",
    "Told",
    "buffer_word",
    "orders",
    "power_word",
    "resident_callers",
    "trap_word",
)

WORD_SHIFT = 3
MAX_PCPUS = 8
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


class Ended(Exception):
    """The run is over: all are done, or what is left has been seen in another order."""


class Off(Exception):
    """A pcpu goes off."""


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

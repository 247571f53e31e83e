"""What is known of a value: an interval of numbers, or a place in a region.

A value of 64 bits is *somewhere*: in a region, by an interval of offsets from its start, or,
without a region, in an interval of numbers. `step` is a power of two that divides every offset or
number.
"""

from __future__ import annotations

from dataclasses import dataclass

from vel2.lang.confined.rules import Region
from vel2.lang.types import WORD_MASK

STEP_MAX = 16
"""Enough for the alignment of any access."""
OFFSET_MAX = 1 << 40
"""An offset beyond is taken for a number: no region is so large."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value.

    :ivar low, high: the least and the greatest number or offset it can be.
    """

    low: int
    high: int
    region: Region | None = None
    step: int = 1

    @property
    def constant(self) -> int | None:
        """Give the number, if it can be only one."""
        return self.low if self.region is None and self.low == self.high else None

    def join(self, other: Known) -> Known:
        """Say what is known of a value that is this one or the other."""
        if self.region != other.region:
            return ANYTHING
        step = min(self.step, other.step)
        return Known(min(self.low, other.low), max(self.high, other.high), self.region, step)

    def widen(self, later: Known) -> Known:
        """Say what surely holds of a value that was this one, and later the other.

        Each side that has moved goes as far as it can, so that a loop comes to an end.
        """
        if self.region != later.region:
            return ANYTHING
        if self.region is not None and (later.low < self.low or later.high > self.high):
            return ANYTHING
        low = self.low if later.low >= self.low else 0
        high = self.high if later.high <= self.high else WORD_MASK
        return Known(low, high, self.region, min(self.step, later.step))

    def clip(self, low: int, high: int) -> Known | None:
        """Say what is known if it also lies between two numbers; None if it cannot."""
        if self.region is not None:
            return self
        low, high = max(self.low, low), min(self.high, high)
        return Known(low, high, None, self.step) if low <= high else None


def number(value: int) -> Known:
    """Say that a value is one number."""
    value &= WORD_MASK
    return Known(value, value, None, step_of(value))


def between(low: int, high: int, step: int = 1) -> Known:
    """Say that a value is a number from an interval; anything, if that leaves 64 bits."""
    if low < 0 or high > WORD_MASK:
        return ANYTHING
    return Known(low, high, None, step)


def step_of(value: int) -> int:
    """Give the power of two that divides a number, as far as it matters."""
    return min(value & -value, STEP_MAX) if value else STEP_MAX


def start_of(region: Region) -> Known:
    """Give the address of a region."""
    return Known(0, 0, region, STEP_MAX)


ANYTHING = Known(0, WORD_MASK)
TRUTH = Known(0, 1)

"""Memory that is given out in pieces."""

from __future__ import annotations

__all__ = ("Area",)


class Area:
    """A range of addresses of which pieces are taken: the first free one that is large enough.

    :param unit: what addresses and sizes of pieces are multiples of.
    """

    def __init__(self, base: int, size: int, unit: int) -> None:
        self._base, self._end, self._unit = base, base + size, unit
        self._taken: dict[int, int] = {}

    def take(self, size: int) -> int | None:
        """Give the address of a piece; None if none is large enough."""
        size = -(-size // self._unit) * self._unit
        here = self._base
        for start, length in sorted(self._taken.items()):
            if start - here >= size:
                break
            here = start + length
        if here + size > self._end:
            return None
        self._taken[here] = size
        return here

    def give_back(self, address: int) -> None:
        """Let a piece be free again."""
        del self._taken[address]

    @property
    def free_bytes(self) -> int:
        """How many bytes are in no piece."""
        return self._end - self._base - sum(self._taken.values())

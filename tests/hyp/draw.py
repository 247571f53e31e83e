"""What the tests of the resident code draw: words with every bit in play, and the edges of sizes.

`st.integers(0, 2**64 - 1)` draws small numbers nearly always: bit 46 is set in one example of
sixteen, and a pair of such bits in one of hundreds. A test of masks has to have words in which half
of all bits are set, and words that differ in one bit. A test of sizes has to have each limit, and
the number to each side of it.
"""

from __future__ import annotations

from hypothesis import strategies as st

from vel2.arch.bits import Layout

BITS = 64
ALL = (1 << BITS) - 1

ANY_WORDS = st.binary(min_size=8, max_size=8).map(lambda data: int.from_bytes(data, "little"))
ONE_BIT = st.integers(0, BITS - 1).map(lambda bit: 1 << bit)
ALL_BUT_ONE = ONE_BIT.map(lambda bit: ALL ^ bit)

WORDS = st.one_of(ANY_WORDS, ANY_WORDS, ONE_BIT, ALL_BUT_ONE, st.sampled_from((0, ALL)))
"""Values of a 64-bit register."""


def around(*limits: int, top: int = ALL) -> st.SearchStrategy[int]:
    """Draw a limit, or what is one below or one above it, from 0 to `top`."""
    near = {limit + step for limit in limits for step in (-1, 0, 1)}
    return st.sampled_from(sorted(value for value in near if 0 <= value <= top))


def sizes(*limits: int, top: int) -> st.SearchStrategy[int]:
    """Draw a number from 0 to `top`, half of the time near a limit or an end."""
    return st.one_of(around(0, top, *limits, top=top), st.integers(0, top))


def values_of(
    register: type[Layout], /, **fields: st.SearchStrategy[int]
) -> st.SearchStrategy[int]:
    """Draw a value of a register: given fields as they are drawn, the other bits at random."""
    parts = [register.field(name) for name in fields]

    def put(word: int, drawn: tuple[int, ...]) -> int:
        for field, value in zip(parts, drawn, strict=True):
            word = field.set(word, value & field.ones)
        return word & (1 << register.width) - 1

    return st.builds(put, WORDS, st.tuples(*fields.values()))

"""What is known of a result holds for every number that the operands can be.

The operations themselves come from the interpreter of the IR in `tests/unit/probes`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.probes.interpret import computed as exactly
from vel2.lang.confined.rules import Region
from vel2.lang.confined.transfer import ARITHMETIC, COMPARISONS, NEGATED, SWAPPED, computed, kept
from vel2.lang.confined.values import Known
from vel2.lang.types import WORD_MASK

NUMBERS = st.one_of(
    st.integers(0, 70),
    st.integers(0, WORD_MASK),
    st.sampled_from([1 << n for n in range(64)]),
    st.integers(WORD_MASK - 20, WORD_MASK),
)
REGION = Region("a map", 1 << 12, True)
BASE = 0x4000_0000


@st.composite
def known_numbers(draw: st.DrawFn) -> tuple[Known, int]:
    """Draw what is known of a number, and one that it can be."""
    step = draw(st.sampled_from([1, 1, 2, 4, 8, 16]))
    value = draw(NUMBERS) // step * step
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    return Known(min(low, value), max(high, value), None, step), value


@st.composite
def known_places(draw: st.DrawFn) -> tuple[Known, int]:
    """Draw what is known of an address in a region, and one that it can be."""
    step = draw(st.sampled_from([1, 4, 8, 16]))
    offset = draw(st.integers(-64, 5000)) // step * step
    low, high = sorted((draw(st.integers(-64, 5000)), draw(st.integers(-64, 5000))))
    return Known(min(low, offset), max(high, offset), REGION, step), BASE + offset


def holds(known: Known | None, value: int) -> bool:
    """Whether a value is one of those that are known."""
    assert known is not None
    if known.region is None:
        return known.low <= value <= known.high and value % known.step == 0
    # An offset is an integer; the address that it gives is a word, and wraps.
    offset = known.low + (value - BASE - known.low) % (WORD_MASK + 1)
    return offset <= known.high and offset % known.step == 0


def test_an_address_may_wrap() -> None:
    b = Known(0, BASE + 1, None, 1)
    assert holds(computed("sub", [Known(0, 0, REGION, 1), b]), WORD_MASK)


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS])
@given(a=known_numbers(), b=known_numbers())
def test_two_numbers(op: str, a: tuple[Known, int], b: tuple[Known, int]) -> None:
    result = exactly(op, [a[1], b[1]]) & WORD_MASK
    assert holds(computed(op, [a[0], b[0]]), result)


@pytest.mark.parametrize("op", ["clz", "ctz", "rbit"])
@given(a=known_numbers())
def test_one_number(op: str, a: tuple[Known, int]) -> None:
    assert holds(computed(op, [a[0]]), exactly(op, [a[1]]))


@pytest.mark.parametrize("op", list(ARITHMETIC))
@given(a=known_places(), b=known_numbers(), is_second=st.booleans())
def test_an_address_and_a_number(
    op: str, a: tuple[Known, int], b: tuple[Known, int], is_second: bool
) -> None:
    operands = (b, a) if is_second else (a, b)
    result = exactly(op, [value for _, value in operands]) & WORD_MASK
    assert holds(computed(op, [known for known, _ in operands]), result)


@pytest.mark.parametrize("op", COMPARISONS)
@given(a=known_numbers(), b=known_numbers())
def test_what_a_condition_leaves(op: str, a: tuple[Known, int], b: tuple[Known, int]) -> None:
    relation = op if exactly(op, [a[1], b[1]]) else NEGATED[op]
    assert holds(kept(relation, a[0], b[0]), a[1])
    assert holds(kept(SWAPPED[relation], b[0], a[0]), b[1])


@given(a=known_numbers(), b=known_numbers())
def test_joining_and_widening_lose_nothing(a: tuple[Known, int], b: tuple[Known, int]) -> None:
    both = a[0].join(b[0])
    assert holds(both, a[1])
    assert holds(both, b[1])
    wider = a[0].widen(both)
    assert holds(wider, a[1])
    assert holds(wider, b[1])

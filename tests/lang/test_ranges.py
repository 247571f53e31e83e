"""The ranges of integers are sound: no operation gives a value outside what its rule says."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.lang.lower import values
from vel2.lang.lower.values import Range
from vel2.lang.types import WORD_MASK

wide = st.integers(-(1 << 130), 1 << 130)
narrow = st.one_of(st.integers(0, 200), st.integers(0, WORD_MASK))
Pair = tuple[Range, int]


@st.composite
def pairs(draw: st.DrawFn, numbers: st.SearchStrategy[int]) -> Pair:
    """Draw a range and a value in it."""
    low, value, high = sorted(draw(st.lists(numbers, min_size=3, max_size=3)))
    return Range(low, high), value


Rule = Callable[[Range, Range], Range]
WIDE_RULES: list[tuple[Rule, Callable[[int, int], int]]] = [
    (values.add_range, operator.add),
    (values.sub_range, operator.sub),
    (values.mul_range, operator.mul),
    (values.and_range, operator.and_),
    (values.or_range, operator.or_),
    (values.xor_range, operator.xor),
]
NARROW_RULES: list[tuple[Rule, Callable[[int, int], int]]] = [
    (values.div_range, operator.floordiv),
    (values.mod_range, operator.mod),
    (values.shr_range, operator.rshift),
]


def inside(found: Range, value: int) -> bool:
    """Tell whether a value is in a range, where the far ends stand for infinity."""
    low = found.low <= value or found.low == -values.FAR
    high = value <= found.high or found.high == values.FAR
    return low and high


@pytest.mark.parametrize(("rule", "python"), WIDE_RULES)
@given(a=pairs(wide), b=pairs(wide))
def test_wide_rules(rule: Rule, python: Callable[[int, int], int], a: Pair, b: Pair) -> None:
    assert inside(rule(a[0], b[0]), python(a[1], b[1]))


@pytest.mark.parametrize(("rule", "python"), NARROW_RULES)
@given(a=pairs(narrow), b=pairs(narrow))
def test_narrow_rules(rule: Rule, python: Callable[[int, int], int], a: Pair, b: Pair) -> None:
    if b[1] == 0 and rule is not values.shr_range:
        expected = 0 if rule is values.div_range else a[1]
    else:
        expected = python(a[1], b[1])
    assert inside(rule(a[0], b[0]), expected)


@given(a=pairs(wide), b=pairs(st.integers(0, 90)))
def test_left_shift(a: Pair, b: Pair) -> None:
    assert inside(values.shl_range(a[0], b[0]), a[1] << b[1])


def test_what_is_proved_needs_no_wrapping() -> None:
    byte = Range(0, 0xFF)
    assert not values.add_range(byte, Range(1, 1)).is_wide
    assert not values.sub_range(Range(64, 64), Range(0, 63)).is_wide
    assert not values.mul_range(byte, byte).is_wide
    assert not values.shl_range(byte, Range(0, 56)).is_wide
    assert values.shl_range(byte, Range(0, 57)).is_wide
    assert values.add_range(values.FULL, Range(1, 1)).is_wide
    assert values.sub_range(byte, Range(1, 1)).is_wide
    assert values.and_range(values.ANY, byte) == byte

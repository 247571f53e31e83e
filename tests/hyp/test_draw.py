"""What is drawn has what it is drawn for."""

from __future__ import annotations

from itertools import combinations

from hypothesis import find, given, settings
from hypothesis import strategies as st

from tests.hyp import draw
from vel2.arch import sysregs as sr


def drawn(strategy: st.SearchStrategy[int], count: int = 400) -> list[int]:
    """Draw many values, the same ones each time."""
    found: list[int] = []

    @settings(max_examples=count, derandomize=True, database=None)
    @given(strategy)
    def collect(value: int) -> None:
        found.append(value)

    collect()
    return found


def test_any_two_bits_are_drawn_in_each_combination() -> None:
    """Show that a mask with one bit too many or too few, set with another, will be seen."""
    words = drawn(draw.WORDS)
    for low, high in combinations(range(0, 64, 3), 2):
        pairs = [word >> low & 1 | (word >> high & 1) << 1 for word in words]
        assert min(pairs.count(pair) for pair in range(4)) >= 8, (low, high)


def test_both_sides_of_a_limit_are_drawn() -> None:
    for value in (41, 42, 43, 0, 48, 47):
        assert find(draw.sizes(42, top=48), lambda drawn, value=value: drawn == value) == value
    assert set(drawn(draw.around(0, 48, top=48), 60)) == {0, 1, 47, 48}


@given(value=draw.values_of(sr.VTCR_EL2, T0SZ=draw.around(16, 39, top=63), SL0=st.just(1)))
def test_fields_are_drawn_as_asked(value: int) -> None:
    assert sr.VTCR_EL2.T0SZ.get(value) in (15, 16, 17, 38, 39, 40)
    assert sr.VTCR_EL2.SL0.get(value) == 1

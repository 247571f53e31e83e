"""What CPUs that work together must come to, and what is said when they do not."""

from __future__ import annotations

import pytest

from vel2.guests.parallel import differences, expected
from vel2.guests.parallel.expected import splitmix64
from vel2.guests.parallel.work import SLICE
from vel2.runtime.mix import mixed

# The first outputs of the reference implementation (Vigna, splitmix64.c) from seed 0.
OUTPUTS = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)


def test_the_function_is_splitmix64() -> None:
    assert tuple(splitmix64(number) for number in range(3)) == OUTPUTS


@pytest.mark.parametrize("number", [0, 1, 2, 8 * SLICE - 1])
def test_guest_and_host_mean_the_same(number: int) -> None:
    assert mixed(number) == splitmix64(number)


def test_right_results_are_right() -> None:
    assert differences(4, {"cpus": 4, **expected(4)}) == []


@pytest.mark.parametrize("name", expected(2))
def test_each_result_counts(name: str) -> None:
    found = {**expected(2), name: 1}
    assert differences(2, found) == [f"{name} is 1, not {expected(2)[name]}"]
    del found[name]
    assert differences(2, found) == [f"{name} is missing, not {expected(2)[name]}"]

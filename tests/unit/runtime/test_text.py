"""Reading numbers and comparing strings, in CPython and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vel2.lang import Jit, Simulation
from vel2.runtime.text import equal, length, parse_hex, parse_size

JIT = Jit(equal, length, parse_hex, parse_size)
BASE, SIZE = 0x1000, 0x1000


def both(function: Callable[..., Any], *texts: bytes) -> Any:
    """Call a function with the addresses of strings in both ways; they must agree."""
    results = []
    for call in (function, lambda *operands: JIT.call(function, *operands)):
        memory = bytearray(SIZE)
        with Simulation(BASE, memory):
            here, addresses = 0, []
            for text in texts:
                memory[here : here + len(text)] = text
                addresses.append(BASE + here)
                here += len(text) + 1
            results.append(call(*addresses))
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"256", 256),
        (b"4K", 4096),
        (b"256M", 268435456),
        (b"3G", 3221225472),
        (b"18446744073709551615", 18446744073709551615),
        (b"", 0),
        (b"M", 0),
        (b"12m", 0),
        (b"12MB", 12582912),
        (b"-1", 0),
    ],
)
def test_sizes(text: bytes, value: int) -> None:
    assert both(parse_size, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"ffff800080012345", 0xFFFF_8000_8001_2345),
        (b"09af", 0x9AF),
        (b"12 text", 0x12),
        (b"g", 0),
        (b"1F", 1),
    ],
)
def test_hexadecimal_numbers(text: bytes, value: int) -> None:
    assert both(parse_hex, text) == value


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (b"", b"", True),
        (b"--pmu", b"--pmu", True),
        (b"--pmu", b"--pm", False),
        (b"--pm", b"--pmu", False),
        (b"", b"x", False),
    ],
)
def test_comparing(left: bytes, right: bytes, same: bool) -> None:
    assert both(equal, left, right) is same


def test_lengths() -> None:
    assert [both(length, text) for text in (b"", b"a", b"x" * 300)] == [0, 1, 300]

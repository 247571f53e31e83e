"""Printing numbers: the digits are Python's own, whatever the number."""

from __future__ import annotations

from random import Random

import pytest

from vel2.lang import PA, Jit, Simulation, load_u64, resident, store_u8, store_u64, u8, u64
from vel2.runtime.console import console

BASE, SIZE = 0x1000, 0x1000
COUNT, TEXT = BASE, BASE + 8
EDGES = (0, 9, 10, 15, 16, 99, 100, 1 << 32, 10**19 - 1, 10**19, (1 << 64) - 1)
NUMBERS = (*EDGES, *(Random(7).getrandbits(bits) for bits in range(1, 65)))


@resident
def keep(byte: u64) -> None:
    """Append a byte to what is in memory."""
    count = load_u64(PA(COUNT))
    store_u8(PA(TEXT + count), u8(byte))
    store_u64(PA(COUNT), u64(count + 1))


_, put, put_hex, put_decimal = console(keep)


@resident
def show(value: u64, text: u64) -> None:
    """Print a number in both ways, and a string."""
    put_hex(value)
    keep(32)
    put_decimal(value)
    keep(32)
    put(text)


JIT = Jit(show)


@pytest.mark.parametrize("compiled", [False, True])
def test_numbers_and_text(compiled: bool) -> None:
    for number in NUMBERS:
        memory = bytearray(SIZE)
        memory[SIZE - 4 :] = b"end\0"
        with Simulation(BASE, memory):
            if compiled:
                JIT.call(show, number, BASE + SIZE - 4)
            else:
                show(number, BASE + SIZE - 4)
        printed = memory[8 : 8 + memory[0]].decode()
        assert printed == f"{number:#x} {number} end"

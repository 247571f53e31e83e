"""Finding where a kernel runs from what trapped in it."""

from __future__ import annotations

import random

from vel2.guests.kallsyms import KernelSymbols
from vel2.guests.symbols import Place, locate

SIZE = 1 << 20
BASE, ALIAS = 0xFFFF_8000_8120_0000, 0x1234_0021_0000
NAMES = [(at, f"f{at:x}") for at in range(0x1000, SIZE, 0x400)]
SYMBOLS = KernelSymbols(tuple(NAMES))


def image(seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(SIZE - 0x1000)


def sites(data: bytes, base: int, offsets: list[int]) -> dict[int, int]:
    return {base + at: int.from_bytes(data[at : at + 4], "little") for at in offsets}


def test_a_base_and_an_alias() -> None:
    data = image()
    wild = {0xFFFF_8000_8120_0008: 0x1234_5678}
    both = sites(data, BASE, [0x1004, 0x2008, 0x9000, 0x1_2340, 0x1_2350]) | sites(
        data, ALIAS, [4, 8, 12]
    )
    found = locate(data, SIZE, SYMBOLS, both | wild)
    assert found.bases == (BASE, ALIAS)
    assert found.at(BASE + 0x1404) == Place("f1400", 4)
    assert str(found.at(ALIAS + 0x1400)) == "f1400"
    assert found.at(BASE + 0x800) is None  # before the first function
    assert found.at(BASE + SIZE) is None
    assert found.addresses("f1400") == [BASE + 0x1400, ALIAS + 0x1400]
    assert found.addresses("unheard_of") == []


def test_what_was_patched_is_outvoted() -> None:
    data = image()
    offsets = list(range(0x1000, 0x1100, 4))
    patched = sites(image(2), BASE, offsets[:30])
    assert locate(data, SIZE, SYMBOLS, sites(data, BASE, offsets) | patched).bases == (BASE,)


def test_no_base_is_better_than_a_wrong_one() -> None:
    data = image()
    assert locate(data, SIZE, SYMBOLS, {}).bases == ()
    assert locate(data, SIZE, SYMBOLS, sites(data, BASE, [4, 8])).bases == ()
    assert locate(data, SIZE, SYMBOLS, sites(image(2), BASE, [4, 8, 12, 16])).bases == ()
    # The same code twice, 64 KiB apart: either base would do.
    twice = data[:0x1_0000] * 2
    assert locate(twice, SIZE, SYMBOLS, sites(twice, BASE, [4, 8, 12, 16])).bases == ()


def test_a_name_that_two_functions_have_is_no_address() -> None:
    symbols = KernelSymbols(((0, "a"), (16, "b"), (32, "a")))
    assert symbols.offset("a") is None
    assert symbols.offset("b") == 16

"""Finding where a kernel runs from nothing but the addresses at which it trapped."""

from __future__ import annotations

import random

from vel2.arch.a64 import SystemRegisterMove
from vel2.arch.trapped import HVC
from vel2.guests.kallsyms import KernelSymbols
from vel2.guests.locating import locate_by_addresses
from vel2.guests.symbols import Place

SIZE = 1 << 20
BASE, ALIAS = 0xFFFF_8000_8120_0000, 0x1234_0021_0000
SYMBOLS = KernelSymbols(tuple((at, f"f{at:x}") for at in range(0, SIZE, 0x400)))
MRS = SystemRegisterMove.match | SystemRegisterMove.compose(L=1, Rt=3)


def kernel(seed: int = 1) -> tuple[bytes, list[int]]:
    """Give an image in which one word in thirty is an MRS or HVC, and where a trap would be."""
    draw = random.Random(seed)
    data, trapping = bytearray(SIZE - 0x8000), []
    for offset in range(0, len(data), 4):
        kind = draw.randrange(60)
        word = MRS if kind == 0 else HVC if kind == 1 else draw.getrandbits(30)
        data[offset : offset + 4] = word.to_bytes(4, "little")
        if kind < 2:
            trapping.append(offset + 4 * kind)  # behind an HVC
    return bytes(data), draw.sample(trapping, 40)


def test_a_base_and_an_alias() -> None:
    data, trapping = kernel()
    addresses = [BASE + each for each in trapping] + [ALIAS + each for each in trapping[:12]]
    elsewhere = [0xAAAA_0000_0000 + 0x1234 * n for n in range(5)]
    found = locate_by_addresses(data, SIZE, SYMBOLS, addresses + elsewhere)
    assert found.bases == (BASE, ALIAS)
    assert found.at(BASE + 0x404) == Place("f400", 4)
    assert found.at(elsewhere[0]) is None


def test_aborts_do_not_confuse_it() -> None:
    data, trapping = kernel()
    aborts = [BASE + 4 * n for n in range(100, 115)]
    addresses = [BASE + each for each in trapping] + aborts
    assert locate_by_addresses(data, SIZE, SYMBOLS, addresses).bases == (BASE,)


def test_no_base_is_better_than_a_wrong_one() -> None:
    data, trapping = kernel()
    for addresses in (
        [],
        [BASE + each for each in trapping[:5]],
        [BASE + 4 * n * 97 for n in range(40)],
        [BASE + each for each in kernel(2)[1]],
    ):
        assert locate_by_addresses(data, SIZE, SYMBOLS, addresses).bases == ()
    twice = data[:0x1_0000] * 2
    inside = [BASE + each for each in trapping if each < 0x1_0000] * 8
    assert locate_by_addresses(twice, SIZE, SYMBOLS, inside).bases == ()

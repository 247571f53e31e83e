"""Finding a kernel's symbols in an Image made here, as `scripts/kallsyms.c` lays them out."""

from __future__ import annotations

import random
import struct

import pytest

from vel2.guests.kallsyms import KernelSymbols, read_kallsyms

SYMBOLS = [
    (0, "T_text"),
    (0, "t__pi__text"),
    (16, "tfirst"),
    (16, "tsame_place"),
    (24, "dvariable"),
]
SYMBOLS += [(64 * n, f"{'tTWwd'[n % 5]}function_{n:05}_{'x' * (n % 150)}") for n in range(1, 3000)]
"""More than 128 characters make a length of two bytes."""
CHARACTERS = sorted({ord(character) for _, name in SYMBOLS for character in name})


def padded(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


def tokens() -> list[bytes]:
    """One for each byte: a character that occurs is its own, as are digits; others are pairs."""
    own = {*CHARACTERS, *range(ord("0"), ord("9") + 1)}
    return [bytes([byte]) if byte in own else b"function_" for byte in range(256)]


def parts(alignment: int) -> dict[str, bytes]:
    names, markers = b"", []
    pair = min(set(range(256)) - set(CHARACTERS) - set(range(48, 58)))
    for number, (_, name) in enumerate(SYMBOLS):
        if number % 256 == 0:
            markers.append(len(names))
        coded = name.encode().replace(b"function_", bytes([pair]))
        length = len(coded)
        names += bytes([length] if length < 128 else [length & 0x7F | 0x80, length >> 7]) + coded
    table = b"".join(token + b"\0" for token in tokens())
    begins = [0]
    for token in tokens():
        begins.append(begins[-1] + len(token) + 1)
    return {
        "count": padded(struct.pack("<I", len(SYMBOLS)), alignment),
        "names": padded(names, alignment),
        "markers": padded(struct.pack(f"<{len(markers)}I", *markers), alignment),
        "table": padded(table, alignment),
        "index": padded(struct.pack("<256H", *begins[:-1]), alignment),
        "sequence": padded(random.Random(1).randbytes(3 * len(SYMBOLS)), alignment),
        "offsets": padded(struct.pack(f"<{len(SYMBOLS)}I", *(at for at, _ in SYMBOLS)), alignment),
        "base": struct.pack("<Q", 0xFFFF_8000_0800_0000),
    }


def image(order: str, alignment: int = 8) -> bytes:
    found = parts(alignment)
    data = random.Random(2).randbytes(4096)
    for name in order.split():
        if name == "relative":
            values = [(at - len(data) - 4 * n) & 0xFFFF_FFFF for n, (at, _) in enumerate(SYMBOLS)]
            data += struct.pack(f"<{len(values)}I", *values)
        else:
            data += found[name]
    return data + random.Random(3).randbytes(4096)


LAYOUTS = {
    "6.1 of Debian": image("offsets base count names markers sequence table index"),
    "6.12": image("count names markers table index offsets base sequence"),
    "7": image("count names markers table index relative sequence", 4),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout(name: str) -> None:
    found = read_kallsyms(LAYOUTS[name])
    assert found is not None
    assert found.functions[:3] == ((0, "_text"), (16, "first"), (64, f"function_00001_{'x'}"))
    code = {at for at, symbol in SYMBOLS if symbol[0] != "d"}
    assert [at for at, _ in found.functions] == sorted(code)
    assert found.at(64 * 2999 - 4) == f"function_02998_{'x' * (2998 % 150)}"
    assert found.at(-4) is None


def test_a_table_that_leaves_the_header_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux 6.1 counts from `_stext`, 64 KiB into the Image."""
    first = 0x1_0000
    monkeypatch.setattr("tests.unit.guests.test_kallsyms.SYMBOLS", [(0, "T_stext"), *SYMBOLS[2:]])
    table = image("offsets base count names markers sequence table index")
    code = bytearray(first + 64 * 3000)
    for at, symbol in SYMBOLS[2:]:
        if symbol[0] != "d":
            code[first + at : first + at + 4] = (0xD503_233F).to_bytes(4, "little")
    found = read_kallsyms(bytes(code) + table)
    assert found is not None
    assert found.functions[:2] == ((first, "_stext"), (first + 16, "first"))


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_a_kernel_that_is_cut_off_or_has_no_table(cut: float) -> None:
    whole = LAYOUTS["6.12"]
    assert read_kallsyms(whole[: int(len(whole) * cut)]) is None
    assert read_kallsyms(random.Random(4).randbytes(1 << 16)) is None


def test_a_table_that_contradicts_itself() -> None:
    data = bytearray(LAYOUTS["6.12"])
    names = data.index(b"T_text") - 1
    data[names] += 1
    assert read_kallsyms(bytes(data)) is None


# --- where it runs ------------------------------------------------------------------------------

KERNEL = KernelSymbols(tuple((at, f"f{at:x}") for at in (0, 0x40, 0x100, 0x2_0000, 0x2_0008)))
BASE = 0xFFFF_8000_8120_0000


def calls(*targets: int) -> list[int]:
    return [pc for target in targets for pc in (BASE + target, BASE + target + 4)]


def test_the_base_is_where_calls_arrive_at_functions() -> None:
    pcs = calls(0x44, 0x2_0000, 0x40, 0x2_0008, 0x44, 0x100, 0x2_0024)
    assert KERNEL.find_base(pcs) == BASE
    assert KERNEL.at(pcs[-1] - BASE) == "f20008"


def test_a_base_in_doubt() -> None:
    assert KERNEL.find_base([]) is None
    assert KERNEL.find_base([BASE]) is None
    assert KERNEL.find_base(calls(0x44, 0x48, 0x2_0024)) is None
    # As good a place 64 KiB further on: no other decides.
    twice = KernelSymbols(tuple((at + n, "f") for at in (0, 0x1_0000) for n in (0, 8, 0x40, 0x80)))
    arrivals = (0x44, 0x80, 0, 0x40, 8)
    assert twice.find_base(calls(*arrivals)) is None
    assert KernelSymbols(twice.functions[:4]).find_base(calls(*arrivals)) == BASE

"""No mask is typed beside a handler: what an architecture lays out has a field in vel2.arch.

A literal in `&`, `|`, `^`, `<<` or `>>`, and a name for one in hexadecimal or binary, is a mask
typed by hand. What L0 lays out for itself is listed here, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HYP = Path(__file__).resolve().parents[2] / "src" / "vel2" / "hyp"
BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)
OWN_WORDS = "bits of a word of L0's own"
VECTOR = "the offset of a vector, as the table of the Arm ARM has it"
ALLOWED: dict[str, dict[str, str]] = {
    "a64": {
        "1 << 63": "the sign of 64 bits",
        "1 << 64": "keeps a difference of 64-bit numbers above 0",
    },
    "aarch32": {
        "IMPDEF_C9 = 0b1_1110_0111": "a set of CRm, by bit",
        "IMPDEF_C10 = 0b1_0001_0011": "a set of CRm, by bit",
    },
    "errand": {
        "box.value & 255": "the part of a word that is stored",
        "box.value & 4294967295": "the part of a word that is stored",
    },
    "exception": {
        "FROM_CURRENT_SPX = 0x200": VECTOR,
        "FROM_LOWER_AARCH64 = 0x400": VECTOR,
        "FROM_LOWER_AARCH32 = 0x600": VECTOR,
    },
    "hook": {"key & 63": "a bit of a set that has a word for each 64"},
    "mailbox": {"1 << 16": "a size: as many as there are trap keys"},
    "places": {
        "1 << 11": "a size: as many blocks as there are keys without CRm",
        "key >> 4": "an index of the table, whose blocks have an entry for each CRm",
    },
    "counters": {"1 << 16": "a size: as many as there are trap keys"},
    "records": {
        "1 << 6": "a number that no fault status code is",
        "1 << 7": "another one",
        "IRQ = 0x080": VECTOR,
        "FIQ = 0x100": VECTOR,
        "SERROR = 0x180": VECTOR,
    },
    "smmu": {"2 << QUEUE_BITS": "a size: entries of two doublewords"},
    "stage1": {
        "BYTE_PAIRS = 0x00FF_00FF_00FF_00FF": "swaps bytes",
        "HALF_PAIRS = 0x0000_FFFF_0000_FFFF": "swaps bytes",
    },
    "start": {"EL2_MAIR = 0x44_04_FF": "three attributes, said beside it"},
    "state": {
        "1 << 2": OWN_WORDS,
        "1 << 3": OWN_WORDS,
    },
    "timer": {"1 << 63": "the sign of 64 bits"},
    "watch": dict.fromkeys(("1 << 2", "1 << 3", "1 << 4", "1 << 5"), OWN_WORDS),
    "vectors": {"VECTOR_BYTES = 0x80": "the size of a vector"},
}
SIZES_AND_PLACES = {"layout"}
"""Modules of nothing but offsets in L0's memory."""


def is_literal(node: ast.expr) -> bool:
    """Whether an operand is a number, as it is or inverted, that is more than one bit or none."""
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value > 1


def typed_masks(source: str) -> Iterator[str]:
    """Yield the text of each mask that is typed in a module."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, BITWISE):
            yield from [ast.unparse(node)] * (is_literal(node.left) or is_literal(node.right))
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            values = statement.value
            parts = values.elts if isinstance(values, ast.Tuple) else [values]
            texts = [str(ast.get_source_segment(source, part)) for part in parts]
            if any(text.startswith(("0x", "0b")) and int(text, 0) > 15 for text in texts):
                names = statement.targets[0]
                each = names.elts if isinstance(names, ast.Tuple) else [names]
                yield from (
                    f"{ast.unparse(n)} = {text}" for n, text in zip(each, texts, strict=True)
                )


@pytest.mark.parametrize("path", sorted(HYP.glob("*.py")), ids=lambda path: path.stem)
def test_a_mask_has_a_field_in_arch(path: Path) -> None:
    if path.stem not in SIZES_AND_PLACES:
        found = set(typed_masks(path.read_text()))
        assert found == set(ALLOWED.get(path.stem, {}))


def test_the_search_itself() -> None:
    assert list(typed_masks("x = y & 0x3F\n")) == ["y & 63"]
    assert list(typed_masks("def f(y): return y >> 46 & MASK\n")) == ["y >> 46"]
    assert list(typed_masks("A = 1 << 41\nB = HCR_EL2.TGE.mask\n")) == ["1 << 41"]
    assert list(typed_masks("M, V = 0xFFD0_0000, 0xD510_0000\n")) == [
        "M = 0xFFD0_0000",
        "V = 0xD510_0000",
    ]
    assert list(typed_masks("x = y & ~7 | z\n")) == ["y & ~7"]
    assert list(typed_masks("x = 1 << n | y & 1\nBITS = 0b11\n")) == []

"""The exception table of EL2, as it is assembled: the vector can tell what may abort."""

from __future__ import annotations

import pytest

from vel2.arch.insn import SysInsn
from vel2.hyp import fallible, vectors
from vel2.hyp.records import Walk
from vel2.hyp.vectors import STUB_BYTES

ASSEMBLED = vectors.assemble()
NAMES = [*(name for name, _ in fallible.STUBS), "try_load_entry", "try_exchange"]
RET = 0xD65F_03C0
MOVZ_X0_1 = 0xD280_0020
LDR_X2_X1 = 0xF940_0022
CASAL_X2_X3_X1 = 0xC8E2_FC23
STR_X2_ENTRY = 0xF900_0002 | Walk.offset_of("entry") // 8 << 10


def words(label: str) -> list[int]:
    """Give the four instructions at a label."""
    start = ASSEMBLED.labels[label]
    data = bytes(ASSEMBLED.data[start : start + STUB_BYTES])
    return [int.from_bytes(data[n : n + 4], "little") for n in range(0, STUB_BYTES, 4)]


def test_the_table_holds_the_stubs_and_nothing_else() -> None:
    """Show that the stubs fill it without a gap, each at a multiple of its size."""
    start, end = ASSEMBLED.labels["fallible_start"], ASSEMBLED.labels["fallible_end"]
    assert start % STUB_BYTES == 0 and ASSEMBLED.alignment % STUB_BYTES == 0
    found = sorted(ASSEMBLED.labels[name] for name in NAMES)
    assert found == list(range(start, end, STUB_BYTES))
    assert not start <= ASSEMBLED.labels["fallible_failed"] < end


@pytest.mark.parametrize(("name", "instruction"), fallible.STUBS, ids=lambda x: str(x))
def test_a_stub_of_at_begins_with_it(name: str, instruction: SysInsn) -> None:
    """Show AT with x0, before anything else, and 1 as what it gives."""
    first, _, *end = words(name)
    op0, op1, crn, crm, op2 = instruction.encoding
    assert first == 0xD500_0000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
    assert end == [MOVZ_X0_1, RET]


def test_the_accesses_come_first() -> None:
    """Show that what may abort of the other stubs is their first instruction."""
    assert words("try_load_entry")[0] == LDR_X2_X1
    assert words("try_exchange")[0] == CASAL_X2_X3_X1
    for name in ("try_load_entry", "try_exchange"):
        assert words(name)[1:] == [STR_X2_ENTRY, MOVZ_X0_1, RET]

"""Walks of tables in software: sizes, granules and faults, against sums done by hand."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, GRANULE_16K, GRANULE_64K, Stage2Leaf, Stage2Table
from vel2.arch.esr import FSC
from vel2.inspect.tables import Fault, Step, plan_stage1, plan_stage2, walk_tables

TABLE = Stage2Table.compose(VALID=1, TYPE=1)
BLOCK = Stage2Leaf.compose(VALID=1, AF=1)
PAGE = Stage2Leaf.compose(VALID=1, TYPE=1, AF=1)


@pytest.mark.parametrize(
    ("granule", "bits", "level", "root_bytes"),
    [
        (GRANULE_4K, 48, 0, 4096),
        (GRANULE_4K, 39, 1, 4096),
        (GRANULE_4K, 40, 0, 16),  # two entries of level 0
        (GRANULE_4K, 36, 1, 512),
        (GRANULE_16K, 47, 1, 16384),
        (GRANULE_16K, 48, 0, 16),
        (GRANULE_64K, 42, 2, 65536),
        (GRANULE_64K, 48, 1, 512),
    ],
)
def test_where_stage_1_begins(granule, bits, level, root_bytes) -> None:  # type: ignore[no-untyped-def]
    plan = plan_stage1("s1", 0xFFFF_FFFF_FFFF, 64 - bits, granule)
    assert (plan.level, plan.bits) == (level, bits)
    assert plan.root == 0xFFFF_FFFF_FFFF & ~(root_bytes - 1)


@pytest.mark.parametrize(
    ("size", "sl0", "tg0", "level"),
    [(25, 1, 0, 1), (24, 1, 0, 1), (20, 2, 0, 0), (16, 2, 0, 0), (34, 0, 0, 2), (24, 1, 1, 2)],
)
def test_where_stage_2_begins(size: int, sl0: int, tg0: int, level: int) -> None:
    plan = plan_stage2("s2", 0, sr.VTCR_EL2.compose(T0SZ=size, SL0=sl0, TG0=tg0))
    assert plan.level == level


@pytest.mark.parametrize(("size", "sl0"), [(16, 0), (34, 2), (25, 3)])
def test_a_start_level_that_does_not_fit_is_a_fault(size: int, sl0: int) -> None:
    vtcr = sr.VTCR_EL2.compose(T0SZ=size, SL0=sl0)
    with pytest.raises(Fault) as stopped:
        plan_stage2("s2", 0, vtcr)
    assert stopped.value.code == FSC.TRANSLATION


def walk(entries: dict[int, int], address: int, vtcr: int) -> tuple[int | None, str, list[Step]]:
    """Walk stage 2 from 0x1000, with these descriptors by address."""
    steps: list[Step] = []

    def load(pa: int) -> bytes:
        return entries.get(pa, 0).to_bytes(8, "little")

    try:
        plan = plan_stage2("s2", 0x1000, vtcr)
        return walk_tables(plan, address, lambda pa: pa, load, steps), "", steps
    except Fault as fault:
        return None, str(fault), steps


def test_a_page_at_level_3() -> None:
    entries = {0x1008: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3010: 0x8_0000 | PAGE}
    output, fault, steps = walk(entries, (1 << 30) + 0x2345, sr.VTCR_EL2.compose(T0SZ=25, SL0=1))
    assert (output, fault) == (0x8_0345, "")
    assert [(s.level, s.index, s.kind, s.output) for s in steps] == [
        (1, 1, "table", 0x2000),
        (2, 0, "table", 0x3000),
        (3, 2, "page", 0x8_0345),
    ]
    assert str(steps[2]).startswith("s2 level 3 [0x2] at 0x3010: page -> 0x80345\n")


def test_concatenated_tables_are_one() -> None:
    """40 bits from level 1: the root is two tables, and bit 39 chooses the second."""
    entries = {0x3000 + 8: 0x4000_0000 | BLOCK}
    steps: list[Step] = []
    plan = plan_stage2("s2", 0x2000, sr.VTCR_EL2.compose(T0SZ=24, SL0=1))
    address = (1 << 39) + (1 << 30) + 5
    output = walk_tables(
        plan, address, lambda pa: pa, lambda pa: entries[pa].to_bytes(8, "little"), steps
    )
    assert output == 0x4000_0005


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({}, "Translation fault, level 1"),
        ({0x1000: 0x2000 | TABLE}, "Translation fault, level 2"),
        # A block has no meaning at level 3.
        (
            {0x1000: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3000: BLOCK},
            "Translation fault, level 3",
        ),
    ],
)
def test_where_a_walk_stops(entries: dict[int, int], fault: str) -> None:
    output, said, steps = walk(entries, 0, sr.VTCR_EL2.compose(T0SZ=25, SL0=1))
    assert (output, said) == (None, fault)
    assert steps[-1].kind == "invalid"

"""Translation descriptors and granules."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs
from vel2.arch.descriptors import (
    DESC_BLOCK,
    DESC_PAGE,
    DESC_TABLE,
    GRANULE_4K,
    GRANULE_16K,
    GRANULE_64K,
    GRANULES,
    S2AP,
    SH,
    Granule,
    S2MemAttr,
    Stage1Leaf,
    Stage1Table,
    Stage2Leaf,
    Stage2Table,
)
from vel2.arch.sysregs.el1 import TG0, TG1


def test_a_stage_2_page_is_the_word_hardware_expects() -> None:
    page = Stage2Leaf.compose(
        OA=0x4008_0000 >> 12,
        AF=1,
        SH=SH.INNER,
        S2AP=S2AP.RW,
        MemAttr=S2MemAttr.NORMAL_WB,
        TYPE=1,
        VALID=1,
    )
    assert page == 0x4008_07FF
    assert page & 0b11 == DESC_PAGE
    assert Stage2Leaf.describe(page) == ("OA=0x40080|AF|SH=INNER|S2AP=RW|MemAttr=0xf|TYPE|VALID")


def test_a_stage_1_block_is_the_word_hardware_expects() -> None:
    block = Stage1Leaf.compose(UXN=1, PXN=1, nG=1, AF=1, SH=SH.INNER, AttrIndx=4, VALID=1)
    assert block == 0x0060_0000_0000_0F11
    assert block & 0b11 == DESC_BLOCK


def test_table_descriptors() -> None:
    assert Stage1Table.compose(NLTA=0x40081, TYPE=1, VALID=1) == 0x4008_1003
    assert Stage2Table.compose(NLTA=0x40081, TYPE=1, VALID=1) & 0b11 == DESC_TABLE
    assert Stage1Table.compose(NSTable=1, APTable=2, UXNTable=1, PXNTable=1) >> 59 == 0b11011


def test_where_the_two_stages_must_agree() -> None:
    for name in ("VALID", "TYPE", "SH", "AF", "OA", "Contiguous", "DBM", "SW"):
        assert Stage1Leaf.field(name).bits == Stage2Leaf.field(name).bits
    assert Stage1Table.NLTA.bits == Stage2Table.NLTA.bits == Stage2Leaf.OA.bits


@pytest.mark.parametrize("granule", GRANULES, ids=lambda g: g.name)
def test_a_table_fills_one_granule(granule: Granule) -> None:
    assert 8 << granule.bits_per_level == granule.size == int(granule.name[:-1]) << 10


@pytest.mark.parametrize(
    ("granule", "level", "size"),
    [
        (GRANULE_4K, 0, 512 << 30),
        (GRANULE_4K, 1, 1 << 30),
        (GRANULE_4K, 2, 2 << 20),
        (GRANULE_4K, 3, 4 << 10),
        (GRANULE_16K, 2, 32 << 20),
        (GRANULE_16K, 3, 16 << 10),
        (GRANULE_64K, 1, 4 << 40),
        (GRANULE_64K, 2, 512 << 20),
        (GRANULE_64K, 3, 64 << 10),
    ],
)
def test_what_an_entry_maps(granule: Granule, level: int, size: int) -> None:
    assert 1 << granule.level_shift(level) == size
    assert granule.address_mask(level) == (1 << 48) - size


def test_address_masks() -> None:
    assert GRANULE_4K.table_mask == Stage2Leaf.OA.mask == 0x0000_FFFF_FFFF_F000
    assert GRANULE_64K.table_mask == 0x0000_FFFF_FFFF_0000
    assert GRANULE_4K.address_mask(1) == 0x0000_FFFF_C000_0000


@pytest.mark.parametrize("granule", GRANULES, ids=lambda g: g.name)
def test_granules_carry_the_numbers_tcr_uses(granule: Granule) -> None:
    assert TG0(granule.TG0).name == "G" + granule.name
    assert TG1(granule.TG1).name == "G" + granule.name


@pytest.mark.parametrize(
    ("granule", "by_sl0"),
    [
        (GRANULE_4K, (2, 1, 0, 3)),
        (GRANULE_16K, (3, 2, 1, 0)),
        (GRANULE_64K, (3, 2, 1, None)),
    ],
)
def test_stage_2_start_levels(granule: Granule, by_sl0: tuple[int | None, ...]) -> None:
    """Arm ARM, VTCR_EL2.SL0 with SL2 = 0."""
    assert granule.start_levels == by_sl0
    assert sysregs.VTCR_EL2.SL0.ones == len(by_sl0) - 1


def test_blocks_are_allowed_where_a_contiguous_run_of_entries_is() -> None:
    for granule in GRANULES:
        for level in granule.block_levels:
            assert granule.contiguous[level] > 0
        assert granule.contiguous[3] > 0

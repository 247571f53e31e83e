"""Syndromes: the class table, layouts of the ISS, fault status codes."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs
from vel2.arch.bits import Layout
from vel2.arch.esr import (
    EC,
    EC_ROWS,
    FSC,
    ISS_DABT,
    ISS_ERET,
    ISS_HVC,
    ISS_NONE,
    ISS_SYS64,
    ISS_WATCHPOINT,
    ISS_WFX,
    UNALLOCATED,
    ESR_ELx,
    describe_esr,
    describe_fsc,
    fault_level,
)


def test_every_class_has_its_row() -> None:
    assert [row.value for row in EC_ROWS] == list(range(64))
    for row in EC_ROWS:
        if row.value in set(EC):
            assert row.name == EC(row.value).name
        else:
            assert row[1:] == (UNALLOCATED, ISS_NONE, False)
    assert sum(row.name == UNALLOCATED for row in EC_ROWS) == 64 - len(EC)


def test_every_syndrome_is_25_bits() -> None:
    for row in EC_ROWS:
        assert row.iss.width == 25 == ESR_ELx.ISS.width
    assert issubclass(sysregs.ESR_EL1, ESR_ELx)
    assert sysregs.ESR_EL2.EC.mask == ESR_ELx.EC.mask == 0xFC00_0000


@pytest.mark.parametrize(
    ("lower", "same"),
    [
        (EC.IABT_LOWER, EC.IABT_SAME),
        (EC.DABT_LOWER, EC.DABT_SAME),
        (EC.BREAKPOINT_LOWER, EC.BREAKPOINT_SAME),
        (EC.SOFTSTEP_LOWER, EC.SOFTSTEP_SAME),
        (EC.WATCHPOINT_LOWER, EC.WATCHPOINT_SAME),
    ],
)
def test_from_lower_and_from_same_level_are_neighbours(lower: EC, same: EC) -> None:
    assert same == lower + 1
    assert EC_ROWS[lower][2:] == EC_ROWS[same][2:]


@pytest.mark.parametrize(
    ("layout", "fields", "value"),
    [
        (ISS_DABT, {"ISV": 1, "SAS": 3, "SRT": 31, "SF": 1, "WnR": 1, "DFSC": 0x7}, 0x1DF_8047),
        (ISS_DABT, {"VNCR": 1, "CM": 1, "S1PTW": 1, "FnV": 1}, 0x2580),
        (ISS_SYS64, {"Op0": 3, "Op1": 4, "CRn": 1, "CRm": 1, "Rt": 2, "Direction": 1}, 0x31_0443),
        (ISS_ERET, {"ERET": 1, "ERETA": 1}, 0b11),
        (ISS_HVC, {"imm16": 0x4A48}, 0x4A48),
        (ISS_WFX, {"CV": 1, "COND": 0xE, "TI": 1}, 0x1E0_0001),
        (ISS_WATCHPOINT, {"VNCR": 1, "WnR": 1, "DFSC": 0x22}, 0x2062),
    ],
)
def test_known_syndromes(layout: type[Layout], fields: dict[str, int], value: int) -> None:
    assert layout.compose(**fields) == value
    for name, x in fields.items():
        assert layout.field(name).get(value) == x


@pytest.mark.parametrize(
    ("fsc", "level"),
    [
        (FSC.TRANSLATION, 0),
        (FSC.TRANSLATION + 3, 3),
        (FSC.PERMISSION + 1, 1),
        (FSC.ADDRESS_SIZE + 2, 2),
        (FSC.ACCESS_FLAG + 3, 3),
        (FSC.SYNC_EXTERNAL_WALK + 2, 2),
        (FSC.SYNC_PARITY_WALK + 1, 1),
        (FSC.GPF_WALK + 3, 3),
        (FSC.TRANSLATION_M1, -1),
        (FSC.ADDRESS_SIZE_M2, -2),
        (FSC.SYNC_EXTERNAL, None),
        (FSC.ALIGNMENT, None),
        (FSC.GPF, None),
        (FSC.TLB_CONFLICT, None),
        (0x3F, None),
    ],
)
def test_fault_level(fsc: int, level: int | None) -> None:
    assert fault_level(fsc) == level


@pytest.mark.parametrize(
    ("esr", "text"),
    [
        (0x6231_0443, "EC 0x18 SYS64 Op0=0x3|Op1=0x4|CRn=0x1|Rt=0x2|CRm=0x1|Direction"),
        (0x9200_0047, "EC 0x24 DABT_LOWER TRANSLATION level 3 WnR"),
        (0x9200_0010, "EC 0x24 DABT_LOWER SYNC_EXTERNAL"),
        (0x8200_008C, "EC 0x20 IABT_LOWER PERMISSION level 0 S1PTW"),
        (0x5A00_0000, "EC 0x16 HVC64"),
        (0x0000_0000, "EC 0x00 UNKNOWN IL=0"),
        (0x0A00_0001, "EC 0x02 UNALLOCATED RES0[24:0]=0x1"),
        (0x20_9200_0000, "EC 0x24 DABT_LOWER ADDRESS_SIZE level 0 ISS2=0x20"),
    ],
)
def test_describe_esr(esr: int, text: str) -> None:
    assert describe_esr(esr) == text


@pytest.mark.parametrize(
    ("fsc", "text"),
    [
        (FSC.TRANSLATION_M1, "TRANSLATION level -1"),
        (FSC.ADDRESS_SIZE_M2, "ADDRESS_SIZE level -2"),
        (FSC.SYNC_EXTERNAL_WALK + 1, "SYNC_EXTERNAL_WALK level 1"),
        (FSC.TLB_CONFLICT, "TLB_CONFLICT"),
        (0x3F, "0x3f"),
    ],
)
def test_describe_fsc(fsc: int, text: str) -> None:
    assert describe_fsc(fsc) == text

"""Memory attributes of both stages, against the words of the Arm ARM."""

from __future__ import annotations

import pytest

from tests.hyp.rig import fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.descriptors import S2MemAttr, S2MemAttrFWB
from vel2.hyp import memattr

FWB = sr.HCR_EL2.FWB.mask
PAR = sr.PAR_EL1
INNER, OUTER = 0b11, 0b10
NC, WT_R, WB_RW, WB_TRANSIENT_W = 0b0100, 0b1010, 0b1111, 0b0101
NIBBLES = (NC, WT_R, WB_RW, WB_TRANSIENT_W)
DEVICES = (0b0000, 0b0100, 0b1000, 0b1100)
NORMAL = tuple(outer << 4 | inner for outer in NIBBLES for inner in NIBBLES)


def combined(stage1: int, stage2: int, hcr: int, sh: int = INNER) -> tuple[int, int]:
    """Give attribute and shareability of both stages, from the resident code."""
    rig = fresh_rig()
    par = PAR.ATTR.put(stage1) | PAR.SH.put(INNER) | 0x1234_5000
    result = rig.run(memattr.combine, par, stage2, sh, hcr)
    assert result & 0xFFFF_F000 == 0x1234_5000
    return PAR.ATTR.get(result), PAR.SH.get(result)


@pytest.mark.parametrize("stage1", (*DEVICES, *NORMAL), ids=hex)
def test_stage_1_decides_where_stage_2_says_so(stage1: int) -> None:
    assert combined(stage1, S2MemAttrFWB.STAGE1, FWB)[0] == stage1
    # The same bits say Non-cacheable outside, Write-Back inside, without FWB.
    if stage1 in NORMAL:
        assert combined(stage1, S2MemAttr.NORMAL_NC_WB, 0)[0] == NC << 4 | stage1 & 15


@pytest.mark.parametrize(
    ("stage1", "attr"),
    [
        *((device, WB_RW << 4 | WB_RW) for device in DEVICES),
        (NC << 4 | NC, WB_RW << 4 | WB_RW),
        # Write-Through becomes Write-Back; hints and being transient stay.
        (WT_R << 4 | WT_R, 0b1110_1110),
        (WB_TRANSIENT_W << 4 | NC, 0b0101_1111),
        (0b0010_0001, 0b0110_0101),
    ],
)
def test_write_back_is_forced(stage1: int, attr: int) -> None:
    assert combined(stage1, S2MemAttrFWB.NORMAL_WB, FWB) == (attr, INNER)


@pytest.mark.parametrize("stage1", (*DEVICES, *NORMAL), ids=hex)
def test_non_cacheable_leaves_devices_alone(stage1: int) -> None:
    wanted = stage1 if stage1 in DEVICES else NC << 4 | NC
    assert combined(stage1, S2MemAttrFWB.NORMAL_NC, FWB) == (wanted, OUTER)


@pytest.mark.parametrize("hcr", [0, FWB], ids=["without-fwb", "fwb"])
@pytest.mark.parametrize("stage2", range(4))
def test_device_of_stage_2_wins_but_for_a_stronger_one(stage2: int, hcr: int) -> None:
    for stage1 in NORMAL:
        assert combined(stage1, stage2, hcr) == (stage2 << 2, OUTER)
    for stage1 in DEVICES:
        assert combined(stage1, stage2, hcr)[0] == min(stage1, stage2 << 2)


def test_the_wider_shareability_holds() -> None:
    normal = WB_RW << 4 | WB_RW
    assert combined(normal, S2MemAttrFWB.STAGE1, FWB, sh=OUTER) == (normal, OUTER)
    assert combined(normal, S2MemAttrFWB.STAGE1, FWB, sh=0) == (normal, INNER)

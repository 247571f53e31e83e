"""A guest with HCR_EL2.E2H = 0: what its EL2 registers become, and that they survive L2."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.hyp.draw import WORDS
from tests.hyp.rig import fresh_rig, rig_of, write_el2
from tests.hyp.test_context import FILES, hardware, put_hardware, put_vel1
from vel2.arch import sysregs as sr
from vel2.hyp import context, translate
from vel2.hyp.homes import SWITCHED, switched

DIRECT = ("ELR_EL2", "SPSR_EL2", "ESR_EL2", "FAR_EL2", "SP_EL2")
"""What an nVHE guest writes without a trap: hardware has the truth while vEL2 runs."""


@settings(max_examples=20)
@given(truth=FILES, first_hardware=FILES, vel1_file=FILES, after_l2=FILES)
def test_shadow_values_never_come_back(
    truth: list[int], first_hardware: list[int], vel1_file: list[int], after_l2: list[int]
) -> None:
    """Show that a round trip keeps vEL2's own values, not what they were translated to."""
    rig = fresh_rig()
    rig.vcpu.e2h = 0
    put_hardware(rig, first_hardware)
    for row, value in zip(SWITCHED, truth, strict=True):
        rig.vcpu.vel2.el1[row.index] = value
    put_vel1(rig, vel1_file)
    rig.run(context.enter_vel1, rig.vcpu)
    paired = [row for row in SWITCHED if row.hardware.vncr is not None]
    assert all(rig[row.hardware] == vel1_file[row.index] for row in paired)
    common = switched(sr.CNTKCTL_EL1).index
    assert rig[sr.CNTKCTL_EL1] == first_hardware[common], "both contexts mean the same register"
    put_hardware(rig, after_l2)
    rig.run(context.enter_vel2, rig.vcpu)
    assert all(rig.slot(row.hardware) == after_l2[row.index] for row in paired)
    for row in SWITCHED:
        kept = rig.vcpu.vel2.el1[row.index]
        if row.vel2.name in DIRECT:
            assert kept == rig[row.hardware] == first_hardware[row.index], row.vel2.name
        else:
            assert kept == truth[row.index], row.vel2.name
    again = hardware(rig)
    rig.run(context.enter_vel1, rig.vcpu)
    rig.run(context.enter_vel2, rig.vcpu)
    assert hardware(rig) == again


@pytest.mark.parametrize("value", [0, sr.HCR_EL2.E2H.mask])
def test_a_change_of_e2h_leaves_nothing_of_the_other_regime(value: int) -> None:
    """Show that what the TLB has of EL2&0 is not used in EL2, and the other way round."""
    rig = rig_of("vhe-nv")
    if value:
        rig.vcpu.e2h = 0
    rig.run(write_el2, rig.vcpu, sr.HCR_EL2.trap_key, value)
    assert rig.vcpu.e2h == bool(value)
    vttbrs = [vttbr for name, _, vttbr in rig.instructions() if name == "TLBI VMALLE1"]
    assert vttbrs == [rig.vm.stage2.canonical.vttbr]
    rig.put_back(rig.state())
    rig.run(write_el2, rig.vcpu, sr.HCR_EL2.trap_key, value)
    assert rig.instructions() == [], "E2H is as it was"


TCR_BITS = {  # bit of TCR_EL2 (E2H=0): bit of TCR_EL1
    **{bit: bit for bit in (*range(6), *range(8, 16))},
    **{16 + bit: 32 + bit for bit in range(3)},
    20: 37,
    21: 39,
    22: 40,
    24: 41,
    25: 43,
    26: 44,
    27: 45,
    28: 46,
    29: 51,
    30: 57,
    32: 59,
    33: 60,
}
UPPER_BITS = {**{bit: 16 + bit for bit in range(6)}, 20: 38, 29: 52, 30: 58, 33: 61}
"""The same for the upper half, which has the size and tags of the lower: E2H=0 has one range."""
TG1 = {0b00: 0b10, 0b01: 0b11, 0b10: 0b01, 0b11: 0b10}
"""TG1 of the same granule as TG0; a reserved TG0 is QEMU's 4 KiB."""


@settings(max_examples=60)
@given(tcr=WORDS)
def test_tcr_moves_bit_by_bit(tcr: int) -> None:
    """Show TCR_EL1 for any TCR_EL2: each bit in its place, the upper half not walked."""
    expected = 1 << 23 | TG1[tcr >> 14 & 3] << 30
    for source, target in (*TCR_BITS.items(), *UPPER_BITS.items()):
        expected |= (tcr >> source & 1) << target
    assert translate.tcr_el2_to_el1(tcr) == expected


@settings(max_examples=60)
@given(cptr=WORDS)
def test_cptr_enables_what_it_does_not_trap(cptr: int) -> None:
    """Show CPACR_EL1 for any CPTR_EL2 (E2H=0): TFP bit 10, TZ bit 8, TSM bit 12, TTA bit 20."""
    expected = (cptr >> 20 & 1) << 28
    for trap_bit, enable_lsb in ((10, 20), (8, 16), (12, 24)):
        if not cptr >> trap_bit & 1:
            expected |= 3 << enable_lsb
    assert translate.cptr_el2_to_cpacr_el1(cptr) == expected


@settings(max_examples=60)
@given(value=WORDS)
def test_sctlr_and_ttbr_keep_only_what_the_el2_regime_has(value: int) -> None:
    """Show that EL0's controls do not act, that M, C and I are L1's, and that there is no ASID."""
    sctlr = translate.sctlr_el2_to_el1(value)
    for name in ("M", "A", "C", "SA", "I", "WXN", "EE", "EnIA", "EnIB", "EnDA", "EnDB"):
        assert sr.SCTLR_EL1.field(name).get(sctlr) == sr.SCTLR_EL2.field(name).get(value), name
    for name in ("UCI", "UCT", "DZE", "nTWI", "nTWE", "SPAN"):
        assert sr.SCTLR_EL1.field(name).get(sctlr) == 1, name
    assert translate.ttbr0_el2_to_el1(value) == value & ((1 << 48) - 1)

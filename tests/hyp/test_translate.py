"""The translations of an nVHE guest's EL2 registers into hardware's EL1 registers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULES
from vel2.hyp import translate
from vel2.hyp.homes import SWITCHED, Switched

U64 = st.integers(0, (1 << 64) - 1)
TCR_FIELDS = {
    "T0SZ": "T0SZ", "IRGN0": "IRGN0", "ORGN0": "ORGN0", "SH0": "SH0", "TG0": "TG0", "PS": "IPS",
    "TBI": "TBI0", "HA": "HA", "HD": "HD", "HPD": "HPD0", "TBID": "TBID0", "TCMA": "TCMA0",
    "DS": "DS", "HWU59": "HWU059", "HWU60": "HWU060", "HWU61": "HWU061", "HWU62": "HWU062",
    "MTX": "MTX0",
}  # fmt: skip
UPPER_FIELDS = {"T0SZ": "T1SZ", "TBI": "TBI1", "TBID": "TBID1", "TCMA": "TCMA1", "MTX": "MTX1"}


@given(U64)
def test_tcr_carries_every_field_and_disables_the_upper_half(value: int) -> None:
    """Show that each field of TCR_EL2 arrives, twice where it shapes pointers, and EPD1 is set."""
    result = translate.tcr_el2_to_el1(value)
    expected = sr.TCR_EL1.EPD1.mask
    for source, target in TCR_FIELDS.items():
        expected |= sr.TCR_EL1.field(target).put(sr.TCR_EL2.field(source).get(value))
    for source, target in UPPER_FIELDS.items():
        expected |= sr.TCR_EL1.field(target).put(sr.TCR_EL2.field(source).get(value))
    by_size = {granule.TG0: granule.TG1 for granule in GRANULES}
    tg0 = sr.TCR_EL2.TG0.get(value)
    expected |= sr.TCR_EL1.TG1.put(by_size.get(tg0, by_size[0]))
    assert result == expected
    named = {f.name for f in sr.TCR_EL2.fields if f.mask & sr.TCR_EL2.known}
    assert named == set(TCR_FIELDS)


@given(U64)
def test_sctlr_keeps_what_el2_has_and_frees_el0(value: int) -> None:
    """Show that MMU, caches, alignment and pointer authentication are L1's, and EL0 never traps."""
    result = translate.sctlr_el2_to_el1(value)
    for name in (
        *("M", "A", "C", "SA", "nAA", "I", "WXN", "IESB", "EE", "EOS", "EIS", "DSSBS"),
        *("EnIA", "EnIB", "EnDA", "EnDB"),
    ):
        assert sr.SCTLR_EL1.field(name).get(result) == sr.SCTLR_EL2.field(name).get(value), name
    for name in ("nTWI", "nTWE", "UCT", "UCI", "DZE", "SPAN"):
        assert sr.SCTLR_EL1.field(name).get(result) == 1, name
    assert sr.SCTLR_EL1.BT1.get(result) == sr.SCTLR_EL2.BT.get(value)
    for name in ("UMA", "EPAN", "E0E", "ATA", "BT0", "SA0", "TIDCP", "NMI", "TCF"):
        assert sr.SCTLR_EL1.field(name).get(result) == 0, name


@given(U64)
def test_ttbr0_loses_its_asid_alone(value: int) -> None:
    """Show that the EL2 regime, which has no ASID, runs with ASID 0."""
    assert translate.ttbr0_el2_to_el1(value) == value & ((1 << 48) - 1)


@given(U64)
def test_cptr_becomes_enables(value: int) -> None:
    """Show that each trap bit of CPTR_EL2 is a disabled field of CPACR_EL1, and back in routing."""
    cpacr = translate.cptr_el2_to_cpacr_el1(value)
    for trap, enable in (("TFP", "FPEN"), ("TZ", "ZEN"), ("TSM", "SMEN")):
        traps = sr.CPTR_EL2.field(trap).get(value)
        assert sr.CPACR_EL1.field(enable).get(cpacr) == (0 if traps else 0b11)
    assert sr.CPACR_EL1.TTA.get(cpacr) == sr.CPTR_EL2.TTA.get(value)
    e2h = translate.cptr_el2_to_e2h(value)
    assert sr.CPTR_EL2_E2H.TCPAC.get(e2h) == sr.CPTR_EL2.TCPAC.get(value)


KEPT_IN_TCR2 = {"PnCH", "PIE", "POE", "AIE", "D128", "PTTWI", "HAFT", "DisCH0"}


@given(U64)
def test_tcr2_keeps_what_e2h_0_has(value: int) -> None:
    """Show that what is about EL0, the upper half, ASIDs or Realm memory is not there."""
    tcr2 = translate.tcr2_el2_to_el1(value)
    for field in sr.TCR2_EL1.fields:
        assert field.get(tcr2) == (field.get(value) if field.name in KEPT_IN_TCR2 else 0)


LOST_OF_SCTLR2 = {"BTD0", "CPTM0", "CPTA0", "EnPACM0", "EnIDCP128"}


@given(U64)
def test_sctlr2_keeps_what_e2h_0_has(value: int) -> None:
    """Show that what is about EL0 or Realm memory is not there."""
    sctlr2 = translate.sctlr2_el2_to_el1(value)
    for field in sr.SCTLR2_EL1.fields:
        reserved = field.name.startswith("_") or field.name in LOST_OF_SCTLR2
        assert field.get(sctlr2) == (0 if reserved else field.get(value)), field.name


@given(U64)
def test_cnthctl_moves_the_el1_enables(value: int) -> None:
    """Show that EL1PCTEN and EL1PCEN are found where E2H=1 has them."""
    e2h = translate.cnthctl_el2_to_e2h(value)
    assert sr.CNTHCTL_EL2_E2H.EL1PCTEN.get(e2h) == sr.CNTHCTL_EL2.EL1PCTEN.get(value)
    assert sr.CNTHCTL_EL2_E2H.EL1PTEN.get(e2h) == sr.CNTHCTL_EL2.EL1PCEN.get(value)


OTHERWISE = {
    "SCTLR_EL2": "sctlr_el2_to_el1",
    "TCR_EL2": "tcr_el2_to_el1",
    "TCR2_EL2": "tcr2_el2_to_el1",
    "SCTLR2_EL2": "sctlr2_el2_to_el1",
    "TTBR0_EL2": "ttbr0_el2_to_el1",
    "TTBR1_EL2": "zero",
    "CPTR_EL2": "cptr_el2_to_cpacr_el1",
}
"""Registers whose layouts with E2H=0 and at EL1 differ, or that E2H=0 does not have."""


@pytest.mark.parametrize("row", SWITCHED, ids=lambda row: row.hardware.name)
def test_a_register_goes_through_its_translation(row: Switched) -> None:
    """Show that the home table gives each register the function of its layout."""
    assert row.to_el1 is getattr(translate, OTHERWISE.get(row.vel2.name, "identity"))

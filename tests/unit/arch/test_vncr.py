"""The VNCR page: its audit, and what it says for both kinds of guest hypervisor."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vel2.arch import sysregs as sr
from vel2.arch import vncr
from vel2.arch.vncr import VNCR_PAGE, VncrRow

HCR = vncr.BY_NAME["HCR_EL2"]
SCTLR = vncr.BY_NAME["SCTLR_EL1"]


def test_the_page() -> None:
    assert len(VNCR_PAGE) == len(vncr.BY_NAME) == 117
    assert VncrRow(0x78, "HCR_EL2", "A", "HCR_EL2", None, "L") == HCR
    assert VncrRow(0x110, "SCTLR_EL1", "P", "SCTLR_EL1", "SCTLR_EL12", "L") == SCTLR
    assert [row.offset for row in VNCR_PAGE] == sorted(row.offset for row in VNCR_PAGE)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"offset": 0x7C},
            "VNCR slot 0x07c (HCR_EL2): the offset is not a multiple of 8 below 0x1000.",
        ),
        (
            {"offset": 0x1000},
            "VNCR slot 0x1000 (HCR_EL2): the offset is not a multiple of 8 below 0x1000.",
        ),
        (
            {"offset": 0x110},
            "VNCR slot 0x110 (HCR_EL2): SCTLR_EL1 has this offset too.",
        ),
        (
            {"name": "SCTLR_EL1"},
            "VNCR slot 0x078 (SCTLR_EL1): the register has slot 0x110 too.",
        ),
        ({"source": "X"}, "VNCR slot 0x078 (HCR_EL2): source 'X' is none of L, S, Q, M."),
        (
            {"vncr_class": "P"},
            "VNCR slot 0x078 (HCR_EL2): class A has one name, class P two; this row does not fit.",
        ),
        (
            {"offset": 0x70},
            "VNCR slot 0x070 (HCR_EL2): HCR_EL2 itself says offset 0x78, class A.",
        ),
        (
            {"name": "TPIDR_EL1"},
            "VNCR slot 0x078 (TPIDR_EL1): TPIDR_EL1 itself says offset None, class None.",
        ),
        (
            {"plain": "HSTR_EL2"},
            "VNCR slot 0x078 (HCR_EL2): HSTR_EL2 is not the plain name of HCR_EL2.",
        ),
    ],
)
def test_a_wrong_row_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match="^" + re.escape(sentence) + "$"):
        vncr.audit([SCTLR, HCR._replace(**change)])


def test_an_unknown_register_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^VNCR slot 0x078 \(HRC_EL2\): HRC_EL2 is not a register"):
        vncr.audit([HCR._replace(name="HRC_EL2")])


def test_a_wrong_alias_is_refused() -> None:
    sentence = "VNCR slot 0x110 (SCTLR_EL1): TCR_EL12 is not the alias of SCTLR_EL1."
    with pytest.raises(TypeError, match="^" + re.escape(sentence) + "$"):
        vncr.audit([SCTLR._replace(el12="TCR_EL12")])


def test_a_register_whose_slot_has_no_row_is_refused() -> None:
    rows = [row for row in VNCR_PAGE if row.name != "ICH_LR7_EL2"]
    with pytest.raises(TypeError, match=r"^ICH_LR7_EL2 claims VNCR slot 0x438: no such row\.$"):
        vncr.audit(rows)


def test_what_a_vhe_guest_redirects() -> None:
    slots = vncr.redirected(NV1=False)
    assert len(slots) == 117
    assert slots[sr.HCR_EL2.trap_key] == 0x78
    assert slots[sr.SCTLR_EL12.trap_key] == 0x110
    assert sr.SCTLR_EL1.trap_key not in slots
    assert slots[sr.CNTV_CTL_EL02.trap_key] == 0x170
    assert sr.CNTV_CTL_EL0.trap_key not in slots


def test_what_an_nvhe_guest_redirects() -> None:
    slots = vncr.redirected(NV1=True)
    assert len(slots) == 117
    assert slots[sr.HCR_EL2.trap_key] == 0x78
    assert slots[sr.SCTLR_EL1.trap_key] == 0x110
    assert sr.SCTLR_EL12.trap_key not in slots


def test_no_register_goes_both_to_memory_and_to_an_el1_register() -> None:
    for NV1 in (False, True):
        slots = vncr.redirected(NV1=NV1)
        for el2, el1 in vncr.REDIRECTED_TO_EL1:
            assert sr.by_name(el2).trap_key not in slots
            assert sr.by_name(el2).encoding == sr.by_name(el1).encoding._replace(op1=4)


def test_registers_hardware_needs_at_vel2_are_not_in_memory() -> None:
    """What the guest hypervisor itself runs on keeps trapping (or has an EL1 name)."""
    for name in ("SCTLR_EL2", "TCR_EL2", "TTBR0_EL2", "VBAR_EL2", "CPTR_EL2", "MDCR_EL2"):
        assert name not in vncr.BY_NAME
        assert sr.by_name(name).vncr is None

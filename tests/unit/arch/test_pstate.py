"""PSTATE: modes and masks."""

from __future__ import annotations

import pytest

from vel2.arch import pstate, sysregs
from vel2.arch.pstate import Mode, SPSR_ELx


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_is_its_level_and_stack(mode: Mode) -> None:
    level, stack = int(mode.name[2]), mode.name[3]
    assert (mode & pstate.PSTATE_EL) >> 2 == level
    assert bool(mode & pstate.PSTATE_SP) == (stack == "h")
    assert getattr(pstate, f"M_{mode.name}") == mode


def test_masks() -> None:
    assert pstate.PSTATE_NZCV == 0xF000_0000
    assert pstate.PSTATE_DAIF == 0x3C0
    assert pstate.PSTATE_PAN == 1 << 22
    assert pstate.PSTATE_MODE == 0x1F


def test_spsr_of_el1_and_el2_share_the_layout() -> None:
    for register in (sysregs.SPSR_EL1, sysregs.SPSR_EL2):
        assert [(f.name, f.bits) for f in register.fields] == [
            (f.name, f.bits) for f in SPSR_ELx.fields
        ]


def test_fields_agree_with_the_registers_that_show_pstate() -> None:
    """PAN, UAO, DIT, SSBS, TCO, ALLINT, PM, NZCV and DAIF hold PSTATE at SPSR's positions."""
    views = (
        *(sysregs.PAN, sysregs.UAO, sysregs.DIT, sysregs.SSBS, sysregs.TCO),
        *(sysregs.ALLINT, sysregs.PM, sysregs.NZCV, sysregs.DAIF),
    )
    for view in views:
        for field in view.fields:
            if field.mask & view.known:
                assert SPSR_ELx.field(field.name).bits == field.bits


def test_aarch32_shares_what_software_tests_first() -> None:
    for name in ("N", "Z", "C", "V", "SS", "IL", "A", "I", "F", "nRW"):
        assert pstate.SPSR_A32.field(name).bits == SPSR_ELx.field(name).bits


def test_a_vel2_state_reads_as_a_person_would_say_it() -> None:
    assert SPSR_ELx.describe(0x3C9) == "D|A|I|F|M=EL2h"
    assert SPSR_ELx.describe(0x6000_0000) == "Z|C"

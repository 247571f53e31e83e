"""Names of the VNCR page that L1 may and may not use where all of them trap (FEAT_NV alone)."""

from __future__ import annotations

import pytest

from tests.hyp.rig import fresh_rig, refusal
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import el2regs, pagenames, places
from vel2.hyp.answer import UNDEFINED_SYNDROME

HIDDEN = (
    *(sr.CNTPOFF_EL2, sr.VNCR_EL2, sr.SCXTNUM_EL12, sr.TFSR_EL12, sr.ZCR_EL12, sr.HFGRTR2_EL2),
    *(sr.HDFGWTR2_EL2, sr.HAFGRTR_EL2, sr.PIR_EL12, sr.VSTCR_EL2, sr.MPAMHCR_EL2, sr.PMSCR_EL12),
)


def named(register: type[Register]) -> tuple[int, int]:
    """Give a register as `el2regs` is asked for it: trap key and place."""
    return register.trap_key, places.place_of(register.trap_key)


@pytest.mark.parametrize("register", HIDDEN, ids=lambda register: register.name)
def test_a_hidden_name_is_undefined(register: type[Register]) -> None:
    rig = fresh_rig()
    for is_read in (True, False):
        syndrome = rig.run(refusal, rig.vcpu, *named(register), is_read)
        assert syndrome == UNDEFINED_SYNDROME


@pytest.mark.parametrize("row", pagenames.OPTIONAL, ids=lambda row: row.name.name)
def test_an_optional_name_is_there_with_its_feature(row: pagenames.Optional) -> None:
    rig = fresh_rig()
    for is_read in (True, False):
        syndrome = rig.run(refusal, rig.vcpu, *named(row.name), is_read)
        assert syndrome == UNDEFINED_SYNDROME
    rig.vm.id_registers[row.index] = row.field.put(1)
    for is_read in (True, False):
        assert rig.run(refusal, rig.vcpu, *named(row.name), is_read) == 0
    rig.run(el2regs.write, rig.vcpu, *named(row.name), 5)
    assert rig.page.slot[row.slot] == 5
    assert rig.run(el2regs.read, rig.vcpu, *named(row.name)) == 5


def test_every_name_is_hidden_or_not() -> None:
    names = {row.name.name for row in pagenames.NAMES}
    assert {"HCR_EL2", "VTTBR_EL2", "SCTLR_EL12", "ICH_LR15_EL2", "VSESR_EL2"} <= names
    assert not {name for name in names if name.startswith(("MPAM", "GCS", "TRF", "PMB"))}

"""Names that L1 may and may not use where all of vEL2's accesses trap (FEAT_NV alone)."""

from __future__ import annotations

import pytest

from tests.hyp.rig import fresh_rig, read_el2, refusal, write_el2
from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register
from vel2.hyp.answer import UNDEFINED_SYNDROME
from vel2.hyp.state import id_index

HIDDEN = (
    *(sr.CNTPOFF_EL2, sr.VNCR_EL2, sr.SCXTNUM_EL12, sr.TFSR_EL12, sr.ZCR_EL12, sr.HFGRTR2_EL2),
    *(sr.HDFGWTR2_EL2, sr.HAFGRTR_EL2, sr.PIR_EL12, sr.VSTCR_EL2, sr.MPAMHCR_EL2, sr.PMSCR_EL12),
)
WITH_A_FEATURE: tuple[tuple[type[Register], Field], ...] = (
    *((register, sr.ID_AA64MMFR0_EL1.FGT) for register in (sr.HFGRTR_EL2, sr.HFGWTR_EL2)),
    *((register, sr.ID_AA64MMFR0_EL1.FGT) for register in (sr.HFGITR_EL2, sr.HDFGRTR_EL2)),
    (sr.HDFGWTR_EL2, sr.ID_AA64MMFR0_EL1.FGT),
    (sr.HCRX_EL2, sr.ID_AA64MMFR1_EL1.HCX),
    (sr.TCR2_EL2, sr.ID_AA64MMFR3_EL1.TCRX),
    (sr.TCR2_EL12, sr.ID_AA64MMFR3_EL1.TCRX),
    (sr.SCTLR2_EL2, sr.ID_AA64MMFR3_EL1.SCTLRX),
    (sr.SCTLR2_EL12, sr.ID_AA64MMFR3_EL1.SCTLRX),
)


@pytest.mark.parametrize("register", HIDDEN, ids=lambda register: register.name)
def test_a_hidden_name_is_undefined(register: type[Register]) -> None:
    rig = fresh_rig()
    for is_read in (True, False):
        assert rig.run(refusal, rig.vcpu, register.trap_key, is_read) == UNDEFINED_SYNDROME


@pytest.mark.parametrize(
    ("register", "field"), WITH_A_FEATURE, ids=lambda each: getattr(each, "name", "")
)
def test_a_name_is_there_with_its_feature(register: type[Register], field: Field) -> None:
    rig = fresh_rig()
    identification = field.register
    assert issubclass(identification, Register)
    for is_read in (True, False):
        syndrome = rig.run(refusal, rig.vcpu, register.trap_key, is_read)
        assert syndrome == UNDEFINED_SYNDROME
    rig.vm.probed.id_registers[id_index(identification)] = field.put(1)
    for is_read in (True, False):
        assert rig.run(refusal, rig.vcpu, register.trap_key, is_read) == 0
    rig.run(write_el2, rig.vcpu, register.trap_key, 5)
    if register.vncr is not None:
        assert rig.slot(register) == 5
    assert rig.run(read_el2, rig.vcpu, register.trap_key) == 5

"""HCRX_EL2: the bits of L1's that reach hardware, when, and what becomes of MOPS exceptions."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.hyp.draw import WORDS
from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, hcrx, trap
from vel2.hyp.homes import slot
from vel2.hyp.state import HCRX_LOADED, id_index

HCRX = sr.HCRX_EL2
OFFERED = HCRX.compose(FGTnXS=1, FnXS=1, MSCEn=1, MCE2=1)
MMFR1 = sr.ID_AA64MMFR1_EL1.compose(HCX=1)
NMI = sr.ID_AA64PFR1_EL1.compose(NMI=1)
VBAR = 0x9_0000


def machine(xs: int = 1, mops: int = 1, hcx: int = 1, nmi: int = 1) -> Rig:
    """Make a VM that sees the features, on a machine with FEAT_HCX."""
    rig = fresh_rig()
    rig.vm.probed.id_registers[id_index(sr.ID_AA64ISAR1_EL1)] = sr.ID_AA64ISAR1_EL1.compose(XS=xs)
    rig.vm.probed.id_registers[id_index(sr.ID_AA64ISAR2_EL1)] = sr.ID_AA64ISAR2_EL1.compose(
        MOPS=mops
    )
    rig[sr.ID_AA64MMFR1_EL1] = MMFR1 * hcx
    rig[sr.ID_AA64PFR1_EL1] = NMI * nmi
    rig[HCRX] = 0
    rig.run(hcrx.init, rig.vm)
    rig.run(hcrx.reset, rig.vcpu)
    return rig


def enter(rig: Rig, value: int) -> None:
    """Let L1 write HCRX_EL2, and enter vEL1."""
    rig.page.slot[slot(HCRX)] = value
    rig.run(context.enter_vel1, rig.vcpu)


@pytest.mark.parametrize(
    ("xs", "mops", "bits"),
    [
        (0, 0, 0),
        (1, 0, HCRX.compose(FGTnXS=1, FnXS=1)),
        (0, 1, HCRX.compose(MSCEn=1, MCE2=1)),
        (1, 1, OFFERED),
    ],
)
@given(value=WORDS)
def test_only_the_bits_of_features_that_l1_sees_reach_hardware(
    xs: int, mops: int, bits: int, value: int
) -> None:
    rig = machine(xs=xs, mops=mops)
    enter(rig, value)
    assert rig[HCRX] == value & bits | HCRX.TALLINT.mask
    rig.run(context.enter_vel2, rig.vcpu)
    needs = HCRX.compose(MSCEn=1, FnXS=1)
    assert rig[HCRX] & needs == HCRX.MSCEn.mask * mops
    assert rig[HCRX] & HCRX.TALLINT.mask
    assert rig[HCRX] == rig.vcpu.pcpu.hcrx | HCRX.TALLINT.mask


def test_nothing_is_written_where_hardware_can_keep_what_it_has() -> None:
    rig = machine()
    enter(rig, OFFERED & ~HCRX.FnXS.mask)
    assert not rig.vcpu.pcpu.loaded & HCRX_LOADED
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig[HCRX] == OFFERED & ~HCRX.FnXS.mask | HCRX.TALLINT.mask


def test_a_machine_without_the_register_is_not_asked_for_it() -> None:
    rig = machine(hcx=0)
    rig[HCRX] = 0x1234
    enter(rig, OFFERED)
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig[HCRX] == 0x1234


def test_without_nmi_there_is_nothing_of_its_own() -> None:
    assert machine(nmi=0)[HCRX] == HCRX.MSCEn.mask


@pytest.mark.parametrize("in_vel1", [False, True])
def test_a_mops_exception_is_vel2s(in_vel1: bool) -> None:
    """From vEL1 because L1 set MCE2; from vEL2 because hardware may still have it."""
    rig = machine()
    rig[sr.VBAR_EL1] = VBAR
    if in_vel1:
        enter(rig, OFFERED)
    esr = ESR_ELx.compose(EC=EC.MOPS, IL=1) | 0x12345
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig.run(trap.handle_sync, rig.vcpu, esr)
    assert rig.vcpu.pc == VBAR + (0x400 if in_vel1 else 0x200)
    assert rig[sr.ESR_EL1] == esr
    assert rig[sr.ELR_EL1] == 0x1000


ENABLED = (("TCRX", "TCR2En"), ("SCTLRX", "SCTLR2En"))
"""Fields of ID_AA64MMFR3_EL1, and the bit that lets EL1 have the feature's registers."""


@pytest.mark.parametrize(("feature", "enable"), ENABLED)
def test_vel2_has_what_el1_has_by_leave(feature: str, enable: str) -> None:
    """Show that a bit that vEL1 runs without is there while vEL2 runs, whatever L1 writes."""
    rig = machine()
    bit = HCRX.field(enable).mask
    MMFR3 = sr.ID_AA64MMFR3_EL1
    rig.vm.probed.id_registers[id_index(MMFR3)] = MMFR3.field(feature).put(1)
    rig.run(hcrx.init, rig.vm)
    rig.run(hcrx.reset, rig.vcpu)
    assert rig[HCRX] & bit
    for wanted in (0, bit):
        enter(rig, wanted)
        assert rig[HCRX] & bit == wanted
        rig.run(context.enter_vel2, rig.vcpu)
        assert rig[HCRX] & bit

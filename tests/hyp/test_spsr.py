"""SPSR_EL2 of a guest without VHE under FEAT_NV alone, where hardware says EL1 for vEL2.

With HCR_EL2.{NV2,NV1,NV} == {0,1,1} an exception from EL1 to EL1 leaves EL1 in SPSR_EL1.M; in every
other configuration L0 uses, it leaves EL2 there.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hyp.rig import RAM_BASE, Rig, fresh_rig
from tests.hyp.test_exception import MODES, PSTATES
from tests.hyp.test_sysreg import access
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, exception, trap
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, LEVEL_NV

ERET = ESR_ELx.compose(EC=EC.ERET, IL=1)
HVC = 0
RT = 3
CONFIGURATIONS = [(0, LEVEL_NV), (1, LEVEL_NV), (0, 0), (1, 0)]
EL1T, EL1H, EL2T, EL2H = 0b0100, 0b0101, 0b1000, 0b1001

in_each_configuration = pytest.mark.parametrize(
    ("e2h", "nv_level"), CONFIGURATIONS, ids=["nVHE-nv", "VHE-nv", "nVHE-nv2", "VHE-nv2"]
)


def machine(e2h: int, nv_level: int) -> Rig:
    """Give a machine whose vEL2 has no stage 2 for L2 in use."""
    rig = fresh_rig()
    rig.vcpu.e2h, rig.vm.config.nv_level = e2h, nv_level
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.VM.mask)
    rig.set_slot(sr.VTTBR_EL2, 7 << 48 | RAM_BASE)
    return rig


def hardware_takes_an_exception(rig: Rig, pstate: int) -> None:
    """Do what a BRK at vEL2 does to SPSR_EL1 (AArch64.TakeException with FEAT_NV, FEAT_NV2)."""
    nv1, nv2 = rig.vcpu.e2h == 0, rig.vm.config.nv_level != LEVEL_NV
    if not nv1 or nv2:
        pstate = pstate & ~0b1100 | 0b1000
    rig[sr.SPSR_EL1] = pstate


def read(rig: Rig) -> int:
    """Read SPSR_EL2 at vEL2."""
    access(rig, sr.SPSR_EL2.encoding, RT, True)
    assert rig.vcpu.pc == 0x1004
    return rig.vcpu.x[RT]


def write(rig: Rig, value: int) -> None:
    """Write SPSR_EL2 at vEL2."""
    rig.vcpu.x[RT] = value
    access(rig, sr.SPSR_EL2.encoding, RT, False)
    assert rig.vcpu.pc == 0x1004


@in_each_configuration
@given(flags=PSTATES, sp=st.sampled_from((0, 1)))
def test_an_exception_of_vel2_itself_came_from_vel2(
    e2h: int, nv_level: int, flags: int, sp: int
) -> None:
    rig = machine(e2h, nv_level)
    hardware_takes_an_exception(rig, flags | EL1T | sp)
    assert read(rig) == flags | EL2T | sp
    rig.run(trap.handle_sync, rig.vcpu, ERET)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig.vcpu.pstate == flags | EL1T | sp


@in_each_configuration
@given(flags=PSTATES, mode=st.sampled_from((0, EL1T, EL1H)))
def test_an_exception_of_l2_came_from_its_own_mode(
    e2h: int, nv_level: int, flags: int, mode: int
) -> None:
    rig = machine(e2h, nv_level)
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig.vcpu.pstate = flags | mode
    rig.run(exception.take_to_vel2, rig.vcpu, HVC)
    assert read(rig) == flags | mode
    rig.run(trap.handle_sync, rig.vcpu, ERET)
    assert rig.vcpu.context == CONTEXT_VEL1
    assert rig.vcpu.pstate == flags | mode


@in_each_configuration
@given(flags=PSTATES, mode=st.sampled_from((*MODES.values(), EL2T, EL2H, 0b1100, 0b1101)))
def test_what_l1_writes_it_reads(e2h: int, nv_level: int, flags: int, mode: int) -> None:
    rig = machine(e2h, nv_level)
    write(rig, flags | mode)
    assert read(rig) == flags | mode


@given(flags=PSTATES, mode=st.sampled_from((0b1100, 0b1101, 0b0110, 0b0111, 0b1110, 0b1111)))
def test_a_mode_that_no_guest_has_stays_illegal(flags: int, mode: int) -> None:
    rig = machine(*CONFIGURATIONS[0])
    write(rig, flags | mode)
    rig.run(trap.handle_sync, rig.vcpu, ERET)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig.vcpu.pstate >> 20 & 1, "PSTATE.IL"


@given(flags=PSTATES, mode=st.sampled_from((0, EL1T, EL1H, EL2T, EL2H)))
def test_it_survives_a_change_of_e2h(flags: int, mode: int) -> None:
    """FEAT_NV alone lets L1 change HCR_EL2.E2H, and with it how hardware says EL2."""
    rig = machine(0, LEVEL_NV)
    write(rig, flags | mode)
    for e2h in (1, 0):
        rig.vcpu.x[RT] = sr.HCR_EL2.E2H.put(e2h)
        access(rig, sr.HCR_EL2.encoding, RT, False)
        assert rig.vcpu.e2h == e2h
        assert read(rig) == flags | mode

"""ERET of vEL2, against AArch64.ExceptionReturn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import RAM_BASE, Rig, fresh_rig, pac
from tests.hyp.test_exception import (
    BTYPE,
    D_A_I_F,
    DIT,
    IL,
    MODES,
    N_Z_C_V,
    PAN,
    PSTATES,
    SS,
    SSBS,
    TGE,
    UAO,
    VBAR_VEL2,
)
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, trap
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, SLOW_VTIMER
from vel2.hyp.timer import CNTHCTL_VEL2, VIRTUAL

ERET = ESR_ELx.compose(EC=EC.ERET, IL=1)
ERETAA, ERETAB = ERET | 0b10, ERET | 0b11
TARGET = 0xFFFF_8000_0BAD_CAFE & ~3
ISAR1 = 6 * 8 + 1


def eret(spsr: int, tge: int, now: int, esr: int = ERET, target: int = TARGET) -> Rig:
    """Trap on an ERET of vEL2."""
    rig = fresh_rig()
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1], rig[sr.VBAR_EL1] = spsr, target, VBAR_VEL2
    rig.set_slot(sr.HCR_EL2, tge | sr.HCR_EL2.VM.mask)
    rig.set_slot(sr.VTTBR_EL2, 7 << 48 | RAM_BASE)
    rig.vcpu.pstate = now
    rig.vcpu.pc = 0x1000
    rig.run(trap.handle_sync, rig.vcpu, esr)
    return rig


@pytest.mark.parametrize("tge", [0, TGE], ids=["TGE=0", "TGE=1"])
@pytest.mark.parametrize("mode", range(32), ids=lambda mode: f"M={mode:05b}")
@settings(max_examples=6)
@given(flags=PSTATES, now=PSTATES, sp=st.sampled_from((0b0100, 0b0101)))
def test_every_target_mode(mode: int, tge: int, flags: int, now: int, sp: int) -> None:
    """Show for each SPSR_EL2.M and TGE where L1 goes, or that the return is illegal."""
    rig = eret(flags | mode, tge, now | sp)
    vcpu = rig.vcpu
    assert vcpu.pc == TARGET
    if mode in (0b01000, 0b01001):
        assert vcpu.context == CONTEXT_VEL2
        assert vcpu.pstate == flags | (0b0100 if mode == 0b01000 else 0b0101)
    elif mode == 0 and tge:
        assert vcpu.context == CONTEXT_VEL2
        assert vcpu.pstate == flags
    elif mode in MODES.values() and not tge:
        assert vcpu.context == CONTEXT_VEL1
        assert vcpu.pstate == flags | mode
        assert rig.stage2_of(vcpu.shadow).guest_vttbr == 7 << 48 | RAM_BASE
        assert rig[sr.VTTBR_EL2] == rig.stage2_of(vcpu.shadow).vttbr
    else:
        assert vcpu.context == CONTEXT_VEL2
        assert vcpu.pstate & IL
        from_spsr = N_Z_C_V | D_A_I_F | PAN
        unknown = UAO | DIT | SSBS | BTYPE | SS
        assert vcpu.pstate & from_spsr == flags & from_spsr
        assert vcpu.pstate & ~(from_spsr | unknown | IL) == sp, "EL and SP must stay"


@pytest.mark.parametrize(
    ("mode", "tge"), [(0b1000, 0), (0b1001, 0), (0b1001, TGE), (0, TGE)], ids=bin
)
def test_what_l1_wrote_unseen_is_in_effect_behind_an_eret(mode: int, tge: int) -> None:
    """Show it for EL2 and the host's EL0: MDSCR_EL1, and a timer that was left live."""
    rig = fresh_rig()
    rig.vcpu.e2h = 1
    rig[sr.CNTPCT_EL0] = 1000
    rig[sr.CNTV_CTL_EL0], rig[sr.CNTV_CVAL_EL0] = 1, 0
    rig[sr.CNTHCTL_EL2] = CNTHCTL_VEL2
    rig.vcpu.slow_eret = SLOW_VTIMER
    rig.set_slot(sr.CNTV_CTL_EL0, 1)
    rig.set_slot(sr.CNTV_CVAL_EL0, 1234)
    rig.set_slot(sr.MDSCR_EL1, 1 << 12)
    rig.set_slot(sr.HCR_EL2, tge)
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1] = mode, TARGET
    rig.vcpu.pstate, rig.vcpu.pc = 0b0101, 0x1000
    rig.run(trap.handle_sync, rig.vcpu, ERET)
    assert (rig.vcpu.context, rig.vcpu.pc) == (CONTEXT_VEL2, TARGET)
    assert rig[sr.MDSCR_EL1] == 1 << 12
    assert (rig[sr.CNTV_CTL_EL0], rig[sr.CNTV_CVAL_EL0]) == (1, 1234)
    assert rig.vcpu.slow_eret == 0
    assert rig[sr.CNTHCTL_EL2] == CNTHCTL_VEL2 | VIRTUAL, "L1 must come to L0 for it now"


def test_an_eret_of_l2_is_forwarded() -> None:
    """Show that ERET trapped at vEL1 reaches L1 with hardware's syndrome."""
    rig = fresh_rig()
    rig[sr.VBAR_EL1] = VBAR_VEL2
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig.vcpu.pstate = 0b0101
    rig.run(trap.handle_sync, rig.vcpu, ERET)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == ERET
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400


def mask_of(pointer: int, t0sz: int, t1sz: int, tbi0: int, tbi1: int) -> int:
    """Give the PAC field's mask: bits 54 to 64-TxSZ, and 63-56 unless the top byte is ignored.

    A size beyond its limits, here those without FEAT_LVA, FEAT_LPA2 and FEAT_TTST, is the limit.
    """
    upper = pointer >> 55 & 1
    size, ignored = (t1sz, tbi1) if upper else (t0sz, tbi0)
    size = min(max(size, 16), 39)
    return sum(1 << bit for bit in range(64 - size, 55)) | (0 if ignored else 0xFF << 56)


def corrupted(plain: int, mask: int, wrong: int, feature: int, esr: int) -> int:
    """Give what Auth makes of an address whose PAC has wrong bits (AArch64.Auth)."""
    if feature >= 3:
        return plain ^ wrong
    lsb = 61 if mask >> 63 else 53
    return plain & ~(3 << lsb) | (2 if esr == ERETAB else 1) << lsb


@pytest.mark.parametrize("feature", [1, 3, 4, 5])
@pytest.mark.parametrize("esr", [ERETAA, ERETAB], ids=["ERETAA", "ERETAB"])
@settings(max_examples=25)
@given(
    address=st.integers(0, (1 << 64) - 1),
    t0sz=st.one_of(st.integers(0, 63), st.sampled_from((15, 16, 17, 38, 39, 40))),
    t1sz=st.one_of(st.integers(0, 63), st.sampled_from((15, 16, 17, 38, 39, 40))),
    tbi=st.integers(0, 3),
    tbid=st.integers(0, 3),
    sp=st.sampled_from((0b0100, 0b0101)),
    good=st.booleans(),
    damage=st.integers(0, 63),
)
def test_a_signed_return_is_checked(
    feature: int,
    esr: int,
    address: int,
    t0sz: int,
    t1sz: int,
    tbi: int,
    tbid: int,
    sp: int,
    good: bool,
    damage: int,
) -> None:
    """Show that a right PAC is stripped and a wrong one never becomes the address it hides."""
    rig = fresh_rig()
    mask = mask_of(address, t0sz, t1sz, tbi & 1 and not tbid & 1, tbi >> 1 and not tbid >> 1)
    plain = address | mask if address >> 55 & 1 else address & ~mask
    modifier = 0x5151 if sp == 0b0101 else 0x5050
    code = pac(2 if esr == ERETAB else 1, plain, modifier)
    signed = plain ^ code & mask if feature >= 3 else plain & ~mask | code & mask
    checked = mask & 0xFFFF_FFFF_0000_0000
    wrong = not good and checked >> damage & 1
    if wrong:
        signed ^= 1 << damage
    rig.vm.probed.id_registers[ISAR1] = sr.ID_AA64ISAR1_EL1.APA.put(feature)
    rig[sr.TCR_EL1] = sr.TCR_EL1.compose(
        T0SZ=t0sz, T1SZ=t1sz, TBI0=tbi & 1, TBI1=tbi >> 1, TBID0=tbid & 1, TBID1=tbid >> 1
    )
    rig[sr.SCTLR_EL1] = sr.SCTLR_EL1.compose(EnIA=1, EnIB=1)
    rig[sr.SP_EL0], rig[sr.SP_EL1] = 0x5050, 0x5151
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1], rig[sr.VBAR_EL1] = 0b1001, signed, VBAR_VEL2
    rig.vcpu.pstate, rig.vcpu.pc = sp, 0x1000
    rig.run(trap.handle_sync, rig.vcpu, esr)
    if not wrong:
        assert rig.vcpu.pc == plain
    elif feature >= 5:
        assert rig.vcpu.pc == VBAR_VEL2 + (0x200 if sp == 0b0101 else 0)
        assert rig[sr.ELR_EL1] == 0x1000
        assert rig[sr.ESR_EL1] == ESR_ELx.compose(EC=EC.FPAC, IL=1, ISS=esr & 1)
    else:
        assert rig.vcpu.pc == corrupted(plain, mask, checked & 1 << damage, feature, esr)
        assert rig.vcpu.pstate == 0b0101, "the return itself goes on"


@pytest.mark.parametrize("esr", [ERETAA, ERETAB], ids=["ERETAA", "ERETAB"])
def test_a_key_that_is_off_signs_nothing(esr: int) -> None:
    """Show that with SCTLR_EL1.EnIA or EnIB clear the address is used as it is."""
    rig = fresh_rig()
    rig[sr.SCTLR_EL1] = sr.SCTLR_EL1.compose(EnIA=esr & 1, EnIB=~esr & 1)
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1] = 0b1001, 0x1234_5678_9ABC_DEF0
    rig.run(trap.handle_sync, rig.vcpu, esr)
    assert rig.vcpu.pc == 0x1234_5678_9ABC_DEF0

"""Timers of vEL1 while vEL2 runs: in hardware without E2H; with it, what L1 must see of them."""

from __future__ import annotations

import pytest

from tests.hyp.rig import Rig, fresh_rig
from tests.hyp.test_sysreg import access
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import context
from vel2.hyp.state import LEVEL_NV

ENABLE, IMASK, ISTATUS = 1, 2, 4
NOW = 1000
RT = 3
VIRTUAL = (sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0, sr.CNTV_TVAL_EL0)
PHYSICAL = (sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0, sr.CNTP_TVAL_EL0)
EL02 = {register: sr.by_name(f"{register.name}2") for register in (*VIRTUAL, *PHYSICAL)}
"""What L1 calls them with E2H=1: `CNTV_CTL_EL02`."""
Timer = tuple[type[Register], type[Register], type[Register]]

for_both = pytest.mark.parametrize("timer", [VIRTUAL, PHYSICAL], ids=["virtual", "physical"])


def after_it_fired(timer: Timer, e2h: int = 1) -> Rig:
    """Give a machine where the timer fired in L2 and the interrupt went to L1."""
    control, compare, _ = timer
    rig = fresh_rig()
    rig.vcpu.e2h = e2h
    rig[sr.CNTPCT_EL0] = NOW
    rig.set_slot(control, ENABLE)
    rig.set_slot(compare, NOW - 1)
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig[control] = rig[control] | ISTATUS  # which the simulated timer does not raise by itself
    rig.prepare(context.enter_vel2, rig.vcpu)
    assert rig[control] & (ENABLE | IMASK) == ENABLE, "L1 must see the interrupt"
    return rig


def write(rig: Rig, register: type[Register], value: int) -> None:
    """Write a register at vEL2 by an access that traps."""
    rig.vcpu.x[RT] = value
    name = EL02.get(register, register) if rig.vcpu.e2h else register
    access(rig, name.encoding, RT, False)
    assert rig.vcpu.pc == 0x1004


@for_both
@pytest.mark.parametrize("control", [0, ENABLE | IMASK, ENABLE | IMASK | ISTATUS, IMASK])
def test_masking_it_withdraws_the_interrupt_at_once(timer: Timer, control: int) -> None:
    """L1 may mask it in its handler and ask the GIC for the next interrupt, with no ERET."""
    rig = after_it_fired(timer)
    write(rig, timer[0], control)
    assert rig[timer[0]] == 0
    assert rig.slot(timer[0]) == control & (ENABLE | IMASK)


@for_both
@pytest.mark.parametrize("part", [1, 2], ids=["CVAL", "TVAL"])
def test_moving_it_into_the_future_withdraws_the_interrupt(timer: Timer, part: int) -> None:
    rig = after_it_fired(timer)
    write(rig, timer[part], NOW + 1)
    assert rig[timer[0]] == 0
    assert rig.slot(timer[0]) & ENABLE, "it runs on when L2 does"


@for_both
def test_what_still_asserts_it_leaves_it_asserted(timer: Timer) -> None:
    rig = after_it_fired(timer)
    for register, value in ((timer[0], ENABLE), (timer[1], NOW), (timer[0], ENABLE | ISTATUS)):
        write(rig, register, value)
        assert rig[timer[0]] & (ENABLE | IMASK) == ENABLE


@for_both
def test_another_register_changes_nothing(timer: Timer) -> None:
    rig = after_it_fired(timer)
    write(rig, sr.VTTBR_EL2, 0x1234_5000)
    assert rig[timer[0]] & (ENABLE | IMASK) == ENABLE


@for_both
@pytest.mark.parametrize("part", [0, 1, 2], ids=["CTL", "CVAL", "TVAL"])
@pytest.mark.parametrize("fired", [False, True], ids=["runs", "fired"])
def test_without_e2h_it_is_hardwares(timer: Timer, part: int, fired: bool) -> None:
    """It runs on while vEL2 does, and masking it withdraws its interrupt as at real EL2."""
    control, compare, _ = timer
    rig = fresh_rig()
    rig.vcpu.e2h = 0
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig[compare] = NOW + 1
    rig[control] = ENABLE | (ISTATUS if fired else 0)
    before = rig[control], rig[compare]
    rig.run(context.enter_vel2, rig.vcpu)
    assert (rig[control], rig[compare]) == before
    rig.set_slot(sr.CNTVOFF_EL2, 77)
    write(rig, timer[part], 3)
    assert rig[timer[part]] == 3
    assert rig[sr.CNTVOFF_EL2] == 77
    access(rig, timer[part].encoding, RT, True)
    assert rig.vcpu.x[RT] == 3
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[timer[part]] == 3


@for_both
def test_it_moves_when_e2h_changes(timer: Timer) -> None:
    """FEAT_NV alone lets L1 change HCR_EL2.E2H: from hardware to the page, and back."""
    control, compare, _ = timer
    rig = fresh_rig()
    rig.vcpu.e2h, rig.vm.nv_level = 0, LEVEL_NV
    rig[control], rig[compare] = ENABLE, NOW
    write(rig, sr.HCR_EL2, sr.HCR_EL2.E2H.mask)
    assert (rig.slot(control), rig.slot(compare), rig[control]) == (ENABLE, NOW, 0)
    rig.set_slot(compare, NOW + 5)
    write(rig, sr.HCR_EL2, 0)
    assert (rig[control], rig[compare]) == (ENABLE, NOW + 5)

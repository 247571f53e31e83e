"""Timers of vEL1 that were left asserted for L1 to see: when they stop."""

from __future__ import annotations

import pytest

from tests.hyp.rig import Rig, fresh_rig
from tests.hyp.test_sysreg import access
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import context

ENABLE, IMASK, ISTATUS = 1, 2, 4
NOW = 1000
RT = 3
VIRTUAL = (sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0, sr.CNTV_TVAL_EL0)
PHYSICAL = (sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0, sr.CNTP_TVAL_EL0)
Timer = tuple[type[Register], type[Register], type[Register]]

for_both = pytest.mark.parametrize("timer", [VIRTUAL, PHYSICAL], ids=["virtual", "physical"])


def after_it_fired(timer: Timer, e2h: int = 0) -> Rig:
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
    access(rig, register.encoding, RT, False)
    assert rig.vcpu.pc == 0x1004


@for_both
@pytest.mark.parametrize("control", [0, ENABLE | IMASK, ENABLE | IMASK | ISTATUS, IMASK])
def test_masking_it_withdraws_the_interrupt_at_once(timer: Timer, control: int) -> None:
    """Xen masks it in its handler and then asks the GIC for the next interrupt, with no ERET."""
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

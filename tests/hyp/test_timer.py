"""Timers of vEL1 while vEL2 runs: without E2H hardware's own; with it, to come, fired or quiet."""

from __future__ import annotations

import pytest

from tests.hyp.rig import Rig, fresh_rig
from tests.hyp.test_sysreg import access
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import context
from vel2.hyp.state import LEVEL_NV, SLOW_PTIMER, SLOW_VTIMER
from vel2.hyp.timer import TRAPS_ALWAYS

ENABLE, IMASK, ISTATUS = 1, 2, 4
ALL = (1 << 64) - 1
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
    assert rig.slot(timer[0]) & (ENABLE | IMASK) == control & (ENABLE | IMASK)
    assert not traps(rig, timer)


@for_both
@pytest.mark.parametrize("part", [1, 2], ids=["CVAL", "TVAL"])
def test_moving_it_into_the_future_withdraws_the_interrupt(timer: Timer, part: int) -> None:
    """It runs on to its new time."""
    rig = after_it_fired(timer)
    write(rig, timer[part], 1 if part == 2 else NOW + 1)
    assert (rig[timer[0]], rig[timer[1]]) == (ENABLE, NOW + 1)
    assert rig.slot(timer[0]) == ENABLE and rig.slot(timer[1]) == NOW + 1
    assert traps(rig, timer)


def to_come(timer: Timer, offset: int = 0, distance: int = 50) -> Rig:
    """Give a machine where L2 has left with the timer running."""
    control, compare, _ = timer
    rig = fresh_rig()
    rig.vcpu.e2h = 1
    rig[sr.CNTPCT_EL0] = NOW
    rig.set_slot(sr.CNTVOFF_EL2, offset)
    rig.set_slot(control, ENABLE)
    rig.set_slot(compare, NOW + distance - (offset if timer is VIRTUAL else 0) & ALL)
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig.prepare(context.enter_vel2, rig.vcpu)
    return rig


def traps(rig: Rig, timer: Timer) -> bool:
    """Tell whether vEL2's accesses to the timer trap under FEAT_NV2."""
    bits = sr.CNTHCTL_EL2
    return rig[bits] & (bits.EL1NVVCT if timer is VIRTUAL else bits.EL1NVPCT).mask != 0


def read(rig: Rig, register: type[Register]) -> int:
    """Read a register at vEL2 by an access that traps."""
    access(rig, EL02[register].encoding, RT, True)
    return rig.vcpu.x[RT]


@for_both
@pytest.mark.parametrize("offset", [0, 77, ALL - 76], ids=["none", "ahead", "behind"])
def test_one_that_is_to_come_runs_on_at_vel2(timer: Timer, offset: int) -> None:
    """Virtual time has no offset there, so the timer in hardware is set to physical time."""
    rig = to_come(timer, offset)
    assert (rig[timer[0]], rig[timer[1]], rig[sr.CNTVOFF_EL2]) == (ENABLE, NOW + 50, 0)
    assert traps(rig, timer) and rig.vcpu.slow_eret == 0
    assert read(rig, timer[0]) == ENABLE
    assert traps(rig, timer)


@for_both
@pytest.mark.parametrize("tval", [0, 1, (1 << 31) - 1, 1 << 31, ALL >> 32])
def test_a_time_value_is_signed(timer: Timer, tval: int) -> None:
    """Show CVAL for the ends of TVAL's range: its 32 bits are a signed distance from now."""
    rig = to_come(timer, 77)
    count = NOW - (77 if timer is VIRTUAL else 0)
    write(rig, timer[2], 0xABCD << 32 | tval)
    distance = tval - (1 << 32) if tval >= 1 << 31 else tval
    assert rig.slot(timer[1]) == (count + distance) & ALL
    assert read(rig, timer[2]) == tval


def test_one_beyond_the_end_of_time_never_fires() -> None:
    rig = to_come(VIRTUAL, 77, ALL - NOW)
    rig.set_slot(VIRTUAL[1], ALL)
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig[VIRTUAL[1]] == ALL


@for_both
def test_l1_sees_that_it_has_fired_meanwhile(timer: Timer) -> None:
    """The handler of its interrupt finds ISTATUS set; from then on accesses need not trap."""
    rig = to_come(timer, 77)
    rig[sr.CNTPCT_EL0] = NOW + 50
    assert read(rig, timer[0]) == ENABLE | ISTATUS
    assert rig[timer[0]] == ENABLE, "the interrupt stays"
    assert rig[timer[1]] <= NOW + 50
    assert rig.slot(timer[0]) == ENABLE | ISTATUS
    assert not traps(rig, timer)
    assert rig.vcpu.slow_eret == (SLOW_VTIMER if timer is VIRTUAL else SLOW_PTIMER)


@for_both
def test_l1_stops_one_that_is_to_come(timer: Timer) -> None:
    """A hypervisor does so when it takes the guest off the CPU; then it has only memory to use."""
    rig = to_come(timer)
    write(rig, timer[0], 0)
    assert (rig[timer[0]], rig.slot(timer[0])) == (0, 0)
    assert not traps(rig, timer)


@for_both
def test_before_vel1_was_ever_entered_the_timers_are_l1s_own(timer: Timer) -> None:
    """Firmware with FEAT_VHE uses them so: every access traps, and hardware obeys."""
    control, compare, _ = timer
    rig = fresh_rig()
    rig.vcpu.e2h, rig.vcpu.pcpu.timer_traps_kept = 1, TRAPS_ALWAYS
    rig[sr.CNTPCT_EL0] = NOW
    for _ in range(2):
        write(rig, control, 0)
        assert rig[control] == 0 and traps(rig, timer)
        write(rig, compare, NOW + 9)
        write(rig, control, ENABLE)
        assert (rig[control], rig[compare]) == (ENABLE, NOW + 9)
        rig[sr.CNTPCT_EL0] = NOW + 9
        assert read(rig, control) == ENABLE | ISTATUS and traps(rig, timer)
        rig[sr.CNTPCT_EL0] = NOW
    rig.run(context.enter_vel1, rig.vcpu)
    rig[control] = 0
    rig.run(context.enter_vel2, rig.vcpu)
    assert not traps(rig, timer)


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
    rig.vcpu.e2h, rig.vm.config.nv_level = 0, LEVEL_NV
    rig[control], rig[compare] = ENABLE, NOW
    write(rig, sr.HCR_EL2, sr.HCR_EL2.E2H.mask)
    assert (rig.slot(control), rig.slot(compare)) == (ENABLE, NOW)
    assert (rig[control], rig[compare]) == (ENABLE, NOW), "it is to come, and runs on"
    rig.set_slot(compare, NOW + 5)
    write(rig, sr.HCR_EL2, 0)
    assert (rig[control], rig[compare]) == (ENABLE, NOW + 5)

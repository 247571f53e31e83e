"""Payload `interrupts`: interrupts to EL2, timers of L2, and L2's virtual interrupts.

L1 owns the GICv3 of the board. Each interrupt is acknowledged where it must arrive, and the payload
checks which vector was entered, which INTID it was, and what state is left.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF
from vel2.check.payloads.interrupts import virtual
from vel2.check.payloads.interrupts.lpi import lpis
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import CURRENT_SPX_IRQ, LOWER_AARCH64_IRQ, NO_EXCEPTION
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import HCR_GUEST, HCR_HOST, has_e2h, set_hcr
from vel2.check.payloads.library.gic import (
    ENABLE,
    HCR_IRQ,
    PPI_HPTIMER,
    PPI_HVTIMER,
    PPI_PTIMER,
    PPI_VTIMER,
    acknowledge,
    end_interrupt,
    gic_init,
    interrupt_l2,
    later,
    return_to_el2,
    soon,
    start_hptimer,
    take_hptimer,
)
from vel2.check.payloads.library.guest import done, enter_guest, leave_guest, probe, start_guest
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64

VMID = 7
IMASK, ISTATUS = 2, 4
SGI = 3
OFFSET = 0x1_2345
MASKS_AND_MODE = PSTATE_DAIF | 0x1F
ISR_I = sr.ISR_EL1.I.mask


OWN_TIMERS = (
    (b"el2-hptimer\0", sr.CNTHP_CVAL_EL2, sr.CNTHP_CTL_EL2, PPI_HPTIMER, False),
    (b"el2-hptimer-by-cntp\0", sr.CNTP_CVAL_EL0, sr.CNTP_CTL_EL0, PPI_HPTIMER, True),
    (b"el2-hvtimer\0", sr.CNTHV_CVAL_EL2, sr.CNTHV_CTL_EL2, PPI_HVTIMER, False),
    (b"el2-hvtimer-by-cntv\0", sr.CNTV_CVAL_EL0, sr.CNTV_CTL_EL0, PPI_HVTIMER, True),
    (b"el2-vtimer\0", sr.CNTV_CVAL_EL02, sr.CNTV_CTL_EL02, PPI_VTIMER, False),
    (b"el2-ptimer\0", sr.CNTP_CVAL_EL02, sr.CNTP_CTL_EL02, PPI_PTIMER, False),
)
"""EL2's timers, by their own names and by those that mean them only with E2H=1; then EL1's, which
firmware at EL2 uses as its own."""


@resident
def own_timers(state: State) -> None:
    """Let EL2's timers, and EL1's before there is an EL1, interrupt EL2."""
    msr(sr.CNTVOFF_EL2, 0)
    for name, cval, control, intid, e2h_only in OWN_TIMERS:
        if e2h_only and not has_e2h():
            continue
        begin(state, bytes_address(name), NO_SUBJECT)
        msr(cval, soon())
        msr(control, ENABLE)
        isb()
        state.vector = probe(symbol_address("el2_wait"), 0, 0)
        expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_IRQ)
        expect(state, bytes_address(b"ctl\0"), mrs(control), ENABLE | ISTATUS)
        acknowledge(state, intid)
        msr(control, 0)
        end_interrupt(intid)
        end(state)


@resident
def masked(state: State) -> None:
    """Check that a masked interrupt pends, is seen in ISR_EL1, and can be acknowledged."""
    begin(state, bytes_address(b"el2-masked\0"), NO_SUBJECT)
    start_hptimer(0)
    state.vector = probe(symbol_address("el2_pass"), 0, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
    expect(state, bytes_address(b"isr\0"), mrs(sr.ISR_EL1) & ISR_I, ISR_I)
    msr(sr.CNTHP_CTL_EL2, 0)
    isb()
    expect(state, bytes_address(b"isr-off\0"), mrs(sr.ISR_EL1) & ISR_I, 0)
    end(state)
    begin(state, bytes_address(b"el2-sgi\0"), NO_SUBJECT)
    msr(sr.ICC_SGI1R_EL1, SGI << 24 | 1)
    isb()
    state.vector = probe(symbol_address("el2_wait"), 0, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_IRQ)
    acknowledge(state, SGI)
    end_interrupt(SGI)
    end(state)


@resident
def while_l2_runs(state: State) -> None:
    """Let EL2's timer interrupt L2, which has interrupts masked: EL2 takes it anyway."""
    begin(state, bytes_address(b"l2-hptimer\0"), NO_SUBJECT)
    start_hptimer(soon())
    interrupt_l2(state)
    expect_in_loop(state, state.elr)
    expect(state, bytes_address(b"spsr\0"), state.spsr & MASKS_AND_MODE, state.guest_pstate)
    take_hptimer(state)
    end(state)


@resident
def virtual_count(state: State) -> None:
    """Check that L2's virtual count is the physical one less CNTVOFF_EL2."""
    begin(state, bytes_address(b"l2-virtual-count\0"), NO_SUBJECT)
    for offset in (0, OFFSET, (1 << 64) - OFFSET):
        msr(sr.CNTVOFF_EL2, offset)
        isb()
        before = u64(mrs(sr.CNTPCT_EL0) - offset)
        state.vector = enter_guest(state, symbol_address("l2_virtual_count"), 0, 0)
        isb()
        after = u64(mrs(sr.CNTPCT_EL0) - offset)
        passed = u64(state.x[1] - before)
        if passed > u64(after - before):
            expect(state, bytes_address(b"count\0"), state.x[1], before)
    msr(sr.CNTVOFF_EL2, OFFSET)
    isb()
    end(state)


GUEST_TIMERS = (
    (
        b"l2-vtimer\0",
        "l2_start_vtimer",
        "l2_set_vtimer",
        "l2_control_of_vtimer",
        sr.CNTV_CTL_EL02,
        sr.CNTV_CVAL_EL02,
        OFFSET,
        PPI_VTIMER,
    ),
    (
        b"l2-ptimer\0",
        "l2_start_ptimer",
        "l2_set_ptimer",
        "l2_control_of_ptimer",
        sr.CNTP_CTL_EL02,
        sr.CNTP_CVAL_EL02,
        0,
        PPI_PTIMER,
    ),
)


@resident
def guest_timers(state: State) -> None:
    """Let L2's own timers fire in L2: EL2 gets the interrupt, sees the timer, and masks it."""
    for name, start, _, read, control, cval, offset, intid in GUEST_TIMERS:
        begin(state, bytes_address(name), NO_SUBJECT)
        when = u64(soon() - offset)
        state.vector = enter_guest(state, symbol_address(start), when, 0)
        expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_IRQ)
        expect(state, bytes_address(b"ctl\0"), mrs(control), ENABLE | ISTATUS)
        expect(state, bytes_address(b"cval\0"), mrs(cval), when)
        acknowledge(state, intid)
        msr(control, ENABLE | IMASK)
        state.vector = return_to_el2(state)
        end_interrupt(intid)
        state.vector = enter_guest(state, symbol_address(read), 0, 0)
        expect(state, bytes_address(b"hvc\0"), done(state), 1)
        expect(state, bytes_address(b"l2-ctl\0"), state.x[1], ENABLE | IMASK | ISTATUS)
        msr(control, 0)
        isb()
        state.vector = enter_guest(state, symbol_address(read), 0, 0)
        expect(state, bytes_address(b"off\0"), state.x[1] & ENABLE, 0)
        end(state)


@resident
def guest_timers_at_el2(state: State) -> None:
    """Let timers that L2 has set fire after its exit: EL2 gets the interrupt and sees the timer.

    Then once more with EL2 moving the timer to now, and with EL2 stopping it.
    """
    for name, _, start, _, control, cval, offset, intid in GUEST_TIMERS:
        begin(state, bytes_address(name), 2)
        for moved in (False, True):
            when = u64(later() - offset)
            state.vector = enter_guest(state, symbol_address(start), when, 0)
            expect(state, bytes_address(b"hvc\0"), done(state), 1)
            expect(state, bytes_address(b"running\0"), mrs(control), ENABLE)
            if moved:
                when = u64(soon() - offset)
                msr(cval, when)
                isb()
            state.vector = probe(symbol_address("el2_wait"), 0, 0)
            expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_IRQ)
            expect(state, bytes_address(b"ctl\0"), mrs(control), ENABLE | ISTATUS)
            expect(state, bytes_address(b"cval\0"), mrs(cval), when)
            acknowledge(state, intid)
            msr(control, 0)
            end_interrupt(intid)
        state.vector = enter_guest(state, symbol_address(start), u64(later() - offset), 0)
        expect(state, bytes_address(b"hvc-again\0"), done(state), 1)
        msr(control, 0)
        msr(cval, 0)
        isb()
        expect(state, bytes_address(b"isr\0"), mrs(sr.ISR_EL1) & ISR_I, 0)
        end(state)


@resident
def timer_of_another_guest(state: State) -> None:
    """Check that a timer EL2 sets before the entry, in the past, fires in L2; and then is quiet."""
    for name, _, _, _, control, cval, _, intid in GUEST_TIMERS:
        begin(state, bytes_address(name), 1)
        msr(cval, 0)
        msr(control, ENABLE)
        isb()
        interrupt_l2(state)
        acknowledge(state, intid)
        msr(control, 0)
        state.vector = return_to_el2(state)
        end_interrupt(intid)
        expect(state, bytes_address(b"isr\0"), mrs(sr.ISR_EL1) & ISR_I, 0)
        state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
        expect(state, bytes_address(b"quiet\0"), done(state), 1)
        end(state)


@resident
def expect_in_loop(state: State, address: u64) -> None:
    """Require that an address is in L2's waiting loop."""
    if address < symbol_address("l2_loop") or address >= symbol_address("l2_loop_end"):
        expect(state, bytes_address(b"elr\0"), address, symbol_address("l2_loop"))


@resident
def interrupts_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    gic_init()
    set_hcr(HCR_HOST | sr.HCR_EL2.compose(IMO=1, FMO=1, AMO=1))
    isb()
    own_timers(state)
    masked(state)
    root = start_guest(state, parameters, VMID)
    set_hcr(HCR_IRQ)
    isb()
    while_l2_runs(state)
    virtual_count(state)
    guest_timers(state)
    guest_timers_at_el2(state)
    timer_of_another_guest(state)
    virtual.list_registers(state)
    virtual.masked(state)
    virtual.opened_by_l2(state)
    virtual.hardware_list_register(state)
    virtual.maintenance(state)
    virtual.without_gic(state)
    lpis(state, root)
    set_hcr(HCR_GUEST)
    isb()
    virtual.physical_to_l2(state)
    leave_guest()
    finish(state)

"""The part of `registers` about effects: what an exception, EL0 or FP does after a write."""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ISS_FP, ESR_ELx
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h, M_EL1t, M_EL2h, M_EL2t
from vel2.check.payloads.layout import ARENA, State
from vel2.check.payloads.library.assembly import CURRENT_SPX_SYNC, NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import (
    CNTHCTL_BASE,
    HCR_BASE,
    has_e2h,
    no_traps,
    set_cnthctl,
    set_cptr,
    set_hcr,
    set_mdcr,
)
from vel2.check.payloads.library.guest import enter_guest, enter_guest_el0, probe, reset_guest
from vel2.check.payloads.library.seen import saw
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64

TGE = sr.HCR_EL2.TGE.mask
SCTLR = sr.SCTLR_EL1
CNTKCTL = sr.CNTHCTL_EL2_E2H
COUNTER_CASES = (
    0,
    CNTKCTL.EL0PCTEN.mask,
    CNTKCTL.EL0VCTEN.mask,
    CNTKCTL.EL0VTEN.mask,
    CNTKCTL.EL0PTEN.mask,
)
COUNTER_CODES = (
    (b"cntpct\0", "l2_read_cntpct_el0"),
    (b"cntvct\0", "l2_read_cntvct_el0"),
    (b"cntv_ctl\0", "l2_read_cntv_ctl_el0"),
    (b"cntp_ctl\0", "l2_read_cntp_ctl_el0"),
)
SCTLR_CASES = (
    SCTLR_OFF,
    SCTLR_OFF | SCTLR.UCT.mask,
    SCTLR_OFF | SCTLR.UCI.mask,
    SCTLR_OFF | SCTLR.DZE.mask,
)
SCTLR_CODES = (
    (b"ctr\0", "l2_read_ctr_el0"),
    (b"civac\0", "l2_dc_civac"),
    (b"zva\0", "l2_dc_zva_trap"),
)


@resident
def vbar(state: State) -> None:
    """Check that EL2's exceptions go where VBAR_EL2 says, from EL2 and from the guest."""
    before = mrs(sr.VBAR_EL2)
    msr(sr.VBAR_EL2, symbol_address("other_vectors"))
    isb()
    state.vector = probe(symbol_address("el2_hvc"), 0, 0)
    saw(state, bytes_address(b"other-vbar\0"), 2)
    state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
    saw(state, bytes_address(b"other-vbar\0"), 1)
    msr(sr.VBAR_EL2, before)
    isb()
    state.vector = probe(symbol_address("el2_hvc"), 0, 0)
    saw(state, bytes_address(b"vbar\0"), 2)


DISTANCES = (0x4000_0000, (1 << 64) - 1)
"""Values of TVAL: ahead, and just past."""
OFFSET = 0x1000


@resident
def timer_values(state: State) -> None:
    """Check that EL2's TVALs are signed distances to CVAL, and when the condition is met."""
    for tval, cval, control, name in TIMERS:
        begin(state, bytes_address(name), NO_SUBJECT)
        for distance in DISTANCES:
            isb()
            before = mrs(sr.CNTPCT_EL0)
            msr(tval, distance & 0xFFFF_FFFF)
            isb()
            passed = u64(mrs(sr.CNTPCT_EL0) - before)
            if u64(mrs(cval) - distance - before) > passed:
                expect(state, bytes_address(b"cval\0"), mrs(cval), before)
            msr(control, 3)
            isb()
            expect(state, bytes_address(b"ctl\0"), mrs(control), 3 | 4 * (distance >> 63))
            msr(control, 0)
            isb()
        end(state)


TIMERS = (
    (sr.CNTHP_TVAL_EL2, sr.CNTHP_CVAL_EL2, sr.CNTHP_CTL_EL2, b"cnthp_tval_el2\0"),
    (sr.CNTHV_TVAL_EL2, sr.CNTHV_CVAL_EL2, sr.CNTHV_CTL_EL2, b"cnthv_tval_el2\0"),
)


@resident
def guest_timer_values(state: State) -> None:
    """Check the same of the guest's timers as EL2 sees them: the virtual one has its offset."""
    for tval, cval, control, is_virtual, name in GUEST_TIMERS:
        begin(state, bytes_address(name), NO_SUBJECT)
        offset = u64(0)
        if is_virtual:
            offset = u64(OFFSET)
        msr(sr.CNTVOFF_EL2, OFFSET)
        for distance in DISTANCES:
            isb()
            before = u64(mrs(sr.CNTPCT_EL0) - offset)
            msr(tval, distance & 0xFFFF_FFFF)
            isb()
            passed = u64(mrs(sr.CNTPCT_EL0) - offset - before)
            if u64(mrs(cval) - distance - before) > passed:
                expect(state, bytes_address(b"cval\0"), mrs(cval), before)
            msr(control, 3)
            state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
            expect(state, bytes_address(b"ctl\0"), mrs(control), 3 | 4 * (distance >> 63))
            msr(control, 0)
            isb()
        msr(sr.CNTVOFF_EL2, 0)
        end(state)


GUEST_TIMERS = (
    (sr.CNTP_TVAL_EL02, sr.CNTP_CVAL_EL02, sr.CNTP_CTL_EL02, False, b"cntp_tval_el02\0"),
    (sr.CNTV_TVAL_EL02, sr.CNTV_CVAL_EL02, sr.CNTV_CTL_EL02, True, b"cntv_tval_el02\0"),
)


@resident
def counters_at_el0(state: State) -> None:
    """Show which counters and timers the guest's EL0, and the host's own, may use."""
    for value in COUNTER_CASES:
        msr(sr.CNTKCTL_EL12, value)
        isb()
        for name, code in COUNTER_CODES:
            state.vector = enter_guest_el0(state, symbol_address(code), 0, 0)
            saw(state, bytes_address(name), value)
    if has_e2h():
        set_hcr(HCR_BASE | TGE)
        for value in COUNTER_CASES:
            set_cnthctl(CNTHCTL_BASE | value)
            isb()
            for name, code in COUNTER_CODES:
                state.vector = enter_guest_el0(state, symbol_address(code), 0, 0)
                saw(state, bytes_address(name), value | TGE)
        no_traps()
    msr(sr.CNTKCTL_EL12, 0)
    isb()


@resident
def cache_controls_at_el0(state: State) -> None:
    """Show what SCTLR_EL1 allows the guest's EL0, and SCTLR_EL2 the host's."""
    for value in SCTLR_CASES:
        msr(sr.SCTLR_EL12, value)
        isb()
        for name, code in SCTLR_CODES:
            state.vector = enter_guest_el0(state, symbol_address(code), ARENA, 0)
            saw(state, bytes_address(name), value)
    if has_e2h():
        set_hcr(HCR_BASE | TGE)
        for value in SCTLR_CASES:
            msr(sr.SCTLR_EL2, value)
            isb()
            for name, code in SCTLR_CODES:
                state.vector = enter_guest_el0(state, symbol_address(code), ARENA, 0)
                saw(state, bytes_address(name), value | TGE)
        msr(sr.SCTLR_EL2, SCTLR_OFF)
        no_traps()
    reset_guest()


@resident
def floating_point(state: State) -> None:
    """Show where an FP instruction traps to, for each CPTR_EL2.FPEN and CPACR_EL1.FPEN."""
    for host in range(4):
        for guest in range(4):
            if has_e2h() or host in TRAPS_ALL_OR_NONE:
                set_cptr(sr.CPTR_EL2_E2H.FPEN.put(host))
                msr(sr.CPACR_EL12, sr.CPACR_EL1.FPEN.put(guest))
                isb()
                subject = u64(host << 4 | guest)
                state.vector = enter_guest(state, symbol_address("l2_fmov"), 0, 0)
                saw(state, bytes_address(b"fp-el1\0"), subject)
                state.vector = enter_guest_el0(state, symbol_address("l2_fmov"), 0, 0)
                saw(state, bytes_address(b"fp-el0\0"), subject)
        if has_e2h() or host in TRAPS_ALL_OR_NONE:
            floating_point_of_host(state, host)
    no_traps()
    reset_guest()


TRAPS_ALL_OR_NONE = (0, 3)
"""With E2H=0 there is one bit, TFP."""


@resident
def floating_point_of_host(state: State, host: u64) -> None:
    """Show the same for EL2 itself, and for its EL0."""
    state.vector = probe(symbol_address("el2_fmov"), 0, 0)
    if state.vector != NO_EXCEPTION:
        saw(state, bytes_address(b"fp-el2\0"), host)
    else:
        begin(state, bytes_address(b"fp-el2\0"), host)
        end(state)
    if has_e2h():
        set_hcr(HCR_BASE | TGE)
        isb()
        state.vector = enter_guest_el0(state, symbol_address("l2_fmov"), 0, 0)
        saw(state, bytes_address(b"fp-host-el0\0"), host)
        set_hcr(HCR_BASE)
        isb()


@resident
def vector_length(state: State) -> None:
    """Check EL2's own accesses to ZCR_EL2 under each CPTR_EL2.{ZEN,FPEN}, or without SVE."""
    has_sve = sr.ID_AA64PFR0_EL1.SVE.get(mrs(sr.ID_AA64PFR0_EL1)) != 0
    for zen in range(4):
        for fpen in range(4):
            both = zen in TRAPS_ALL_OR_NONE and fpen in TRAPS_ALL_OR_NONE
            if has_e2h() or both:
                set_cptr(sr.CPTR_EL2_E2H.ZEN.put(zen) | sr.CPTR_EL2_E2H.FPEN.put(fpen))
                isb()
                for code in ZCR_CODES:
                    begin(state, bytes_address(b"zcr_el2\0"), u64(zen << 4 | fpen))
                    state.vector = probe(symbol_address(code), 0, 0)
                    want = u64(NO_EXCEPTION)
                    if not has_sve:
                        want = UNDEFINED
                    elif zen & 1 == 0:
                        want = TRAPPED_SVE
                    elif fpen & 1 == 0:
                        want = TRAPPED_FP
                    if want != NO_EXCEPTION:
                        expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_SYNC)
                        expect(state, bytes_address(b"esr\0"), state.esr, want)
                    else:
                        expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
                    end(state)
    no_traps()
    isb()


ZCR_CODES = ("feature_zcr_el2", "write_zcr_el2")
UNDEFINED = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)
TRAPPED_SVE = ESR_ELx.compose(EC=EC.SVE, IL=1)
TRAPPED_FP = ESR_ELx.compose(EC=EC.FP_ASIMD, IL=1, ISS=ISS_FP.compose(CV=1, COND=0b1110))


@resident
def debug_exceptions(state: State) -> None:
    """Show who takes a BRK at EL1 and EL0, with and without MDCR_EL2.TDE."""
    for value in (0, sr.MDCR_EL2.TDE.mask):
        set_mdcr(value)
        isb()
        state.vector = enter_guest(state, symbol_address("l2_brk"), 0, 0)
        saw(state, bytes_address(b"brk-el1\0"), value)
        state.vector = enter_guest_el0(state, symbol_address("l2_brk"), 0, 0)
        saw(state, bytes_address(b"brk-el0\0"), value)
    set_mdcr(0)


RETURN_MODES = (M_EL0t, M_EL1t, M_EL1h, M_EL2t, M_EL2h)


@resident
def return_modes(state: State) -> None:
    """Check that SPSR_EL2 and SPSR_EL1 keep the mode that was written, with a guest in between."""
    for mode in RETURN_MODES:
        begin(state, bytes_address(b"spsr-mode\0"), mode)
        msr(sr.SPSR_EL12, mode)
        msr(sr.SPSR_EL2, PSTATE_DAIF | mode)
        expect(state, bytes_address(b"el2\0"), mrs(sr.SPSR_EL2), PSTATE_DAIF | mode)
        expect(state, bytes_address(b"el1\0"), mrs(sr.SPSR_EL12), mode)
        state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
        expect(state, bytes_address(b"el1-after\0"), mrs(sr.SPSR_EL12), mode)
        end(state)


@resident
def run(state: State) -> None:
    """Show every effect."""
    no_traps()
    return_modes(state)
    vbar(state)
    timer_values(state)
    guest_timer_values(state)
    counters_at_el0(state)
    cache_controls_at_el0(state)
    floating_point(state)
    vector_length(state)
    debug_exceptions(state)

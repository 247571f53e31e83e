"""Payload `debug`: self-hosted debug of EL2, and of L2 by EL2 and by its own EL1.

Breakpoints, watchpoints and single steps at each Exception level, with debug exceptions going to
EL2 (MDCR_EL2.TDE) and to EL1; and L2's accesses to the debug registers with and without L1's traps.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h, M_EL2h, SPSR_ELx
from vel2.check.payloads.debug.code import ACCESSES
from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.accesses import show_access
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import all_counters, has_e2h, no_traps
from vel2.check.payloads.library.guest import (
    enter_guest,
    enter_guest_el0,
    probe,
    run_guest,
    start_guest,
)
from vel2.check.payloads.library.seen import saw, say
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64

VMID = 10
DFR0 = sr.ID_AA64DFR0_EL1
MDCR = sr.MDCR_EL2
MDSCR = sr.MDSCR_EL1
BCR, WCR = sr.DBGBCR_EL1, sr.DBGWCR_EL1
ENABLED = MDSCR.compose(MDE=1, KDE=1)
SS = SPSR_ELx.SS.mask
ALL_BYTES_BCR, ALL_BYTES_WCR = 15, 255
LOADS, STORES = 1, 2
CONTEXT_ID = 0x1234


@resident
def reset_debug() -> None:
    """Turn everything off."""
    msr(MDCR, all_counters())
    msr(MDSCR, 0)
    msr(sr.OSLAR_EL1, 0)
    msr(sr.DBGBCR0_EL1, 0)
    msr(sr.DBGBCR1_EL1, 0)
    msr(sr.DBGWCR0_EL1, 0)
    msr(sr.DBGWCR1_EL1, 0)
    isb()


PATTERNS = (0, 0xFFFF_FFFE, 0x5555_5554, 0xAAAA_AAAA, 0x0000_E1E7)


@resident
def read_back() -> None:
    """Show which bits of the controls stick."""
    for pattern in PATTERNS:
        msr(sr.DBGBCR0_EL1, pattern)
        say(bytes_address(b"bcr\0"), pattern, bytes_address(b"is\0"), mrs(sr.DBGBCR0_EL1))
        msr(sr.DBGWCR0_EL1, pattern)
        say(bytes_address(b"wcr\0"), pattern, bytes_address(b"is\0"), mrs(sr.DBGWCR0_EL1))
        msr(sr.DBGBVR0_EL1, pattern)
        say(bytes_address(b"bvr\0"), pattern, bytes_address(b"is\0"), mrs(sr.DBGBVR0_EL1))
    say(bytes_address(b"oslsr\0"), NO_SUBJECT, bytes_address(b"is\0"), mrs(sr.OSLSR_EL1))
    reset_debug()


@dataclass(frozen=True)
class Place:
    """Where code runs that a breakpoint or watchpoint is set on."""

    name: bytes
    el: int
    code: str
    target: str
    tde: int
    e2h_too: bool = True
    """False if it must not run with E2H=1 (see `docs/nesting.md`)."""


TO_EL2 = MDCR.TDE.mask
BREAK_PLACES = (
    Place(b"break-el2\0", 2, "el2_unmasked", "el2_target", TO_EL2),
    Place(b"break-el2-access\0", 2, "el2_accesses", "el2_second_target", TO_EL2),
    Place(b"break-el2-no-tde\0", 2, "el2_unmasked", "el2_target", 0, False),
    Place(b"break-el1-to-el2\0", 1, "l2_unmasked", "l2_target", TO_EL2),
    Place(b"break-el1\0", 1, "l2_unmasked", "l2_target", 0),
    Place(b"break-el0-to-el2\0", 0, "l0_target", "l0_target", TO_EL2),
    Place(b"break-el0\0", 0, "l0_target", "l0_target", 0),
)
WATCH_PLACES = (
    Place(b"watch-el2\0", 2, "el2_load", "", TO_EL2),
    Place(b"watch-el2-store\0", 2, "el2_store", "", TO_EL2),
    Place(b"watch-el1-to-el2\0", 1, "l2_load", "", TO_EL2),
    Place(b"watch-el1\0", 1, "l2_load", "", 0),
    Place(b"watch-el1-store\0", 1, "l2_store", "", 0),
    Place(b"watch-el0-to-el2\0", 0, "l0_load", "", TO_EL2),
    Place(b"watch-el0\0", 0, "l0_load", "", 0),
    Place(b"watch-el0-store\0", 0, "l0_store", "", 0),
)
WHERE = tuple(
    BCR.compose(HMC=hmc, SSC=ssc, PMC=pmc)
    for hmc, ssc, pmc in (
        *((0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 1, 1), (0, 1, 2), (0, 1, 3), (0, 2, 3)),
        *((1, 0, 1), (1, 0, 3), (1, 1, 1), (1, 1, 3), (1, 3, 0)),
    )
)
"""Every meaningful combination for a Non-secure PE; HMC, SSC and PAC are there in DBGWCR too."""


@resident
def run_at(state: State, el: u64, code: u64) -> None:
    """Run code at an EL with x0 = ARENA, and note the exception that ends it."""
    if el == 2:
        state.vector = probe(code, ARENA, 0)
    elif el == 1:
        state.vector = enter_guest(state, code, ARENA, 0)
    else:
        state.vector = enter_guest_el0(state, code, ARENA, 0)


@resident
def report(state: State, name: u64, subject: u64) -> None:
    """Print the exception, or that there was none at EL2."""
    if state.vector < 16:
        saw(state, name, subject)
    else:
        say(name, subject, bytes_address(b"vector\0"), state.vector)


@resident
def breakpoints(state: State) -> None:
    """Set a breakpoint on code at each EL, matching at each set of ELs."""
    for place in BREAK_PLACES:
        if place.e2h_too or not has_e2h():
            for where in WHERE:
                reset_debug()
                msr(MDCR, all_counters() | place.tde)
                msr(MDSCR, ENABLED)
                msr(sr.DBGBVR0_EL1, symbol_address(place.target))
                msr(sr.DBGBCR0_EL1, where | BCR.compose(E=1, BAS=ALL_BYTES_BCR))
                isb()
                run_at(state, place.el, symbol_address(place.code))
                report(state, bytes_address(place.name), where)
    reset_debug()


@resident
def watchpoints(state: State) -> None:
    """Set a watchpoint on data that code at each EL reads or writes."""
    for place in WATCH_PLACES:
        for where in WHERE:
            for kind in KINDS:
                reset_debug()
                msr(MDCR, all_counters() | place.tde)
                msr(MDSCR, ENABLED)
                msr(sr.DBGWVR1_EL1, ARENA)
                msr(sr.DBGWCR1_EL1, where | WCR.compose(E=1, BAS=ALL_BYTES_WCR) | kind)
                isb()
                run_at(state, place.el, symbol_address(place.code))
                report(state, bytes_address(place.name), where | kind)
    reset_debug()


KINDS = (WCR.LSC.put(LOADS), WCR.LSC.put(STORES))


@resident
def enabled_last(state: State) -> None:
    """Write MDSCR_EL1 after the breakpoint or watchpoint, or for a step, then clear PSTATE.D."""
    for mdscr in LAST_MDSCR:
        for tde in BRK_MDCR:
            # With E2H=0 and TDE=0 a step at vEL2 is taken that EL2 does not take (docs/nesting.md).
            if tde == 0 and (has_e2h() or mdscr & MDSCR.SS.mask != 0):
                continue
            for bcr, wcr in LAST_CONTROLS:
                reset_debug()
                msr(MDCR, all_counters() | tde)
                msr(sr.DBGBVR0_EL1, symbol_address("el2_last_target"))
                msr(sr.DBGBCR0_EL1, bcr)
                msr(sr.DBGWVR1_EL1, ARENA)
                msr(sr.DBGWCR1_EL1, wcr)
                isb()
                state.vector = probe(symbol_address("el2_enabled_last"), ARENA, mdscr)
                report(state, bytes_address(b"enabled-last\0"), u64(mdscr << 32) | tde | bcr | wcr)
    reset_debug()


LAST_MDSCR = (ENABLED, MDSCR.compose(MDE=1), MDSCR.compose(SS=1, KDE=1), MDSCR.compose(SS=1))
LAST_CONTROLS = (
    (BCR.compose(E=1, BAS=ALL_BYTES_BCR, HMC=1, PMC=3), 0),
    (0, WCR.compose(E=1, BAS=ALL_BYTES_WCR, HMC=1, PAC=3, LSC=LOADS)),
    (0, 0),
)


@resident
def not_enabled(state: State) -> None:
    """Set a breakpoint that matches everywhere, each time without one thing that it needs."""
    for mdscr, oslar, name in MISSING:
        for place in BREAK_PLACES:
            if place.e2h_too or not has_e2h():
                reset_debug()
                msr(MDCR, all_counters() | place.tde)
                msr(MDSCR, mdscr)
                msr(sr.OSLAR_EL1, oslar)
                msr(sr.DBGBVR0_EL1, symbol_address(place.target))
                msr(sr.DBGBCR0_EL1, BCR.compose(E=1, BAS=ALL_BYTES_BCR, HMC=1, PMC=3))
                isb()
                run_at(state, place.el, symbol_address(place.code))
                report(state, bytes_address(name), u64(place.el << 12) | place.tde)
    reset_debug()


MISSING = (
    (MDSCR.compose(KDE=1), 0, b"no-mde\0"),
    (MDSCR.compose(MDE=1), 0, b"no-kde\0"),
    (ENABLED, 1, b"os-lock\0"),
)


@resident
def set_last_breakpoint(value: u64, control: u64) -> None:
    """Write the last breakpoint, which is context-aware."""
    last = sr.ID_AA64DFR0_EL1.BRPs.get(mrs(sr.ID_AA64DFR0_EL1))
    for n, value_register in enumerate(sr.DBGBVRn_EL1):
        if n == last:
            msr(value_register, value)
    for n, control_register in enumerate(sr.DBGBCRn_EL1):
        if n == last:
            msr(control_register, control)


@resident
def linked_contexts(state: State) -> None:
    """Link an address breakpoint to one that compares a context."""
    last = sr.ID_AA64DFR0_EL1.BRPs.get(mrs(sr.ID_AA64DFR0_EL1))
    link = BCR.LBN.put(last)
    for place in BREAK_PLACES:
        if not place.e2h_too:
            continue
        for kind in CONTEXT_KINDS:
            # CONTEXTIDR_EL1 is nothing that code at EL2 can match. QEMU's does.
            if kind == CONTEXTIDR_EL1_MATCH and place.el == 2:
                continue
            for el1_id, el2_id in CONTEXT_IDS:
                reset_debug()
                msr(MDCR, all_counters() | place.tde)
                msr(MDSCR, ENABLED)
                msr(sr.CONTEXTIDR_EL12, el1_id)
                msr(sr.CONTEXTIDR_EL2, el2_id)
                set_last_breakpoint(CONTEXT_ID, BCR.compose(E=1, BT=kind, BAS=ALL_BYTES_BCR))
                msr(sr.DBGBVR0_EL1, symbol_address(place.target))
                control = BCR.compose(E=1, BAS=ALL_BYTES_BCR, HMC=1, PMC=3, BT=1)
                msr(sr.DBGBCR0_EL1, control | link)
                isb()
                run_at(state, place.el, symbol_address(place.code))
                report(state, bytes_address(place.name), u64(el1_id << 8) | el2_id | kind << 32)
    set_last_breakpoint(0, 0)
    msr(sr.CONTEXTIDR_EL12, 0)
    msr(sr.CONTEXTIDR_EL2, 0)
    reset_debug()


CONTEXTIDR_EL1_MATCH = 0b0111
CONTEXT_KINDS = (0b0011, CONTEXTIDR_EL1_MATCH)
CONTEXT_IDS = ((CONTEXT_ID, 0), (0, CONTEXT_ID), (0, 0))


@dataclass(frozen=True)
class Step:
    """Code that is stepped, once."""

    name: bytes
    code: str
    mode: int
    tde: int


STEPS = (
    Step(b"step-el1\0", "l2_step_nops", PSTATE_DAIF | M_EL1h, TO_EL2),
    Step(b"step-el1-load\0", "l2_step_load", PSTATE_DAIF | M_EL1h, TO_EL2),
    Step(b"step-el1-read-id\0", "l2_step_read_id", PSTATE_DAIF | M_EL1h, TO_EL2),
    Step(b"step-el1-read-bcr\0", "l2_step_read_bcr", PSTATE_DAIF | M_EL1h, TO_EL2),
    Step(b"step-el1-svc\0", "l2_step_svc", PSTATE_DAIF | M_EL1h, TO_EL2),
    Step(b"step-el1-hvc\0", "l2_step_hvc", PSTATE_DAIF | M_EL1h, TO_EL2),
    Step(b"step-el0\0", "l2_step_nops", PSTATE_DAIF | M_EL0t, TO_EL2),
    Step(b"step-el0-svc\0", "l2_step_svc", PSTATE_DAIF | M_EL0t, TO_EL2),
    Step(b"step-el2\0", "l2_step_nops", PSTATE_DAIF & ~SPSR_ELx.D.mask | M_EL2h, TO_EL2),
    Step(
        b"step-el2-read-mdcr\0",
        "el2_step_read_mdcr",
        PSTATE_DAIF & ~SPSR_ELx.D.mask | M_EL2h,
        TO_EL2,
    ),
    Step(b"step-el2-masked\0", "l2_step_nops", PSTATE_DAIF | M_EL2h, TO_EL2),
    Step(b"step-el1-own\0", "l2_step_nops", PSTATE_DAIF & ~SPSR_ELx.D.mask | M_EL1h, 0),
    Step(b"step-el1-own-id\0", "l2_step_read_id", PSTATE_DAIF & ~SPSR_ELx.D.mask | M_EL1h, 0),
    Step(b"step-el0-own\0", "l2_step_nops", PSTATE_DAIF | M_EL0t, 0),
)
STEP_BITS = (SS, 0)
STEP_MDSCR = (MDSCR.compose(SS=1, KDE=1), MDSCR.compose(SS=1), 0)


@resident
def steps(state: State) -> None:
    """Step EL2, EL1 and EL0 from EL2, with PSTATE.SS and without, which steps nothing."""
    for step in STEPS:
        for mdscr in STEP_MDSCR:
            for ss in STEP_BITS:
                reset_debug()
                msr(MDCR, all_counters() | step.tde)
                msr(MDSCR, mdscr)
                isb()
                state.guest_x[0] = ARENA
                state.guest_pc = symbol_address(step.code)
                state.guest_pstate = step.mode | ss
                state.vector = run_guest()
                saw(state, bytes_address(step.name), mdscr | ss)
    reset_debug()


@resident
def steps_by_el1(state: State) -> None:
    """Let L2's EL1 step its own EL0."""
    for name, code in EL0_STEPS:
        for mdscr in STEP_MDSCR:
            reset_debug()
            msr(MDSCR, mdscr)
            isb()
            state.vector = enter_guest(
                state, symbol_address("l2_step_el0"), symbol_address(code), 0
            )
            saw(state, bytes_address(name), mdscr)
    reset_debug()


EL0_STEPS = ((b"el1-steps-nop\0", "l2_step_nops"), (b"el1-steps-svc\0", "l2_step_svc"))


@resident
def brk(state: State) -> None:
    """Show who takes a BRK at EL1 and at EL0, with TDE and without."""
    for tde in BRK_MDCR:
        reset_debug()
        msr(MDCR, all_counters() | tde)
        isb()
        state.vector = enter_guest(state, symbol_address("l0_brk"), 0, 0)
        saw(state, bytes_address(b"brk-el1\0"), tde)
        state.vector = enter_guest_el0(state, symbol_address("l0_brk"), 0, 0)
        saw(state, bytes_address(b"brk-el0\0"), tde)
    reset_debug()


BRK_MDCR = (0, TO_EL2)


SAMPLE = BCR.compose(HMC=1, PMC=3, BAS=ALL_BYTES_BCR)
"""What L2 writes to each register."""
GUEST_MDCR = (
    0,
    MDCR.compose(TDA=1),
    MDCR.compose(TDOSA=1),
    MDCR.compose(TDRA=1),
    MDCR.compose(TDCC=1),
    MDCR.compose(TDE=1, TDA=1, TDOSA=1, TDRA=1),
)


@resident
def guest_accesses(state: State) -> None:
    """Let L2 use every register under each trap."""
    for mdcr in GUEST_MDCR:
        reset_debug()
        msr(MDCR, all_counters() | mdcr)
        isb()
        for access in ACCESSES:
            code = symbol_address(access.code)
            show_access(state, bytes_address(access.name), code, SAMPLE, mdcr)
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"bcr\0"), mrs(sr.DBGBCR0_EL1))
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"wcr\0"), mrs(sr.DBGWCR1_EL1))
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"mdscr\0"), mrs(MDSCR))
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"oslsr\0"), mrs(sr.OSLSR_EL1))
    reset_debug()


@resident
def kept_over_a_guest(state: State) -> None:
    """Check that L1's own controls are as L1 wrote them after L2 has run."""
    begin(state, bytes_address(b"kept\0"), NO_SUBJECT)
    for where in WHERE:
        reset_debug()
        msr(sr.DBGBCR1_EL1, where | BCR.E.mask)
        msr(sr.DBGWCR0_EL1, where | WCR.E.mask)
        state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
        expect(state, bytes_address(b"bcr\0"), mrs(sr.DBGBCR1_EL1), where | BCR.E.mask)
        expect(state, bytes_address(b"wcr\0"), mrs(sr.DBGWCR0_EL1), where | WCR.E.mask)
    reset_debug()
    end(state)


@resident
def debug_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    say(
        bytes_address(b"features\0"),
        NO_SUBJECT,
        bytes_address(b"dfr0\0"),
        mrs(sr.ID_AA64DFR0_EL1) & DEBUG_FIELDS,
    )
    read_back()
    start_guest(state, parameters, VMID)
    no_traps()
    kept_over_a_guest(state)
    breakpoints(state)
    watchpoints(state)
    enabled_last(state)
    not_enabled(state)
    linked_contexts(state)
    steps(state)
    steps_by_el1(state)
    brk(state)
    guest_accesses(state)
    finish(state)


DEBUG_FIELDS = DFR0.DebugVer.mask | DFR0.BRPs.mask | DFR0.WRPs.mask | DFR0.CTX_CMPs.mask

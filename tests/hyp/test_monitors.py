"""Counters, breakpoints and watchpoints: hardware's selectors do in each context what L1's say."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.draw import WORDS
from tests.hyp.rig import Rig, init_id_registers
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, finegrained, monitors, selectors, trap
from vel2.hyp.homes import in_memory, slot
from vel2.hyp.mdscr import QUIET_WRITES
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, GUEST_VHE, LEVEL_NV

N = 6
BREAKPOINTS, WATCHPOINTS = 6, 4
CYCLE = 31
MDCR = sr.MDCR_EL2
MDCR_INDEX = in_memory(MDCR)
TYPER = sr.PMEVTYPER_EL0
BCR, WCR = sr.DBGBCR_EL1, sr.DBGWCR_EL1
MDSCR, MDE = sr.MDSCR_EL1, sr.MDSCR_EL1.MDE.mask
MDSCR_SLOT = slot(MDSCR)
FIRST_BIT = st.sampled_from((0, 1))
UNDEF = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)
EL1H, EL0T = 0b0101, 0
VBAR = 0x9_0000
PC = 0x1000


@cache
def machine(pmu: int = 6, fgt: int = 1) -> Rig:
    rig = Rig()
    rig[sr.ID_AA64DFR0_EL1] = sr.ID_AA64DFR0_EL1.compose(
        PMUVer=pmu, BRPs=BREAKPOINTS - 1, WRPs=WATCHPOINTS - 1
    )
    rig[sr.PMCR_EL0] = sr.PMCR_EL0.N.put(N)
    rig.vm.probed.has_fgt = fgt
    rig.vm.probed.mdcr = 0
    rig.prepare(monitors.probe, rig.vm)
    rig.prepare(monitors.reset, rig.vcpu, rig.vm)
    rig[sr.VBAR_EL1] = VBAR
    rig.initial = rig.state()
    return rig


def fresh(pmu: int = 6, fgt: int = 1) -> Rig:
    rig = machine(pmu, fgt)
    rig.reset()
    return rig


def syndrome(encoding: Encoding, read: bool) -> int:
    op0, op1, crn, crm, op2 = encoding
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | 7 << 5 | crm << 1 | read
    return 0x18 << 26 | 1 << 25 | iss


def trapped(rig: Rig, register: type[Register], read: bool, pstate: int = EL1H) -> bool:
    """Trap on an access with x7; tell whether it was done."""
    rig.vcpu.pc, rig.vcpu.pstate = PC, pstate
    rig.run(trap.handle_sync, rig.vcpu, syndrome(register.encoding, read))
    return rig.vcpu.pc == PC + 4


def write(rig: Rig, register: type[Register], value: int, pstate: int = EL1H) -> bool:
    rig.vcpu.x[7] = value
    return trapped(rig, register, False, pstate)


def read(rig: Rig, register: type[Register], pstate: int = EL1H) -> int:
    assert trapped(rig, register, True, pstate), register
    return rig.vcpu.x[7]


def switch(rig: Rig) -> None:
    if rig.vcpu.context == CONTEXT_VEL2:
        rig.run(context.enter_vel1, rig.vcpu)
    else:
        rig.run(context.enter_vel2, rig.vcpu)


def filter_of(n: int) -> type[Register]:
    return sr.PMCCFILTR_EL0 if n == CYCLE else sr.PMEVTYPERn_EL0[n]


def l1_counts(rig: Rig, n: int, el: int, value: int) -> bool:
    """Whether L1's machine counts at an EL, all but the enables (AArch64.CountEvents)."""
    if el == 0:
        return TYPER.U.get(value) == TYPER.NSU.get(value)
    if el == 1:
        return TYPER.P.get(value) == TYPER.NSK.get(value)
    mdcr = rig.vcpu.vel2.memory[MDCR_INDEX]
    prohibited = bool(MDCR.HPMD.get(mdcr)) and (n == CYCLE or n < MDCR.HPMN.get(mdcr))
    if n == CYCLE:
        prohibited = prohibited and bool(sr.PMCR_EL0.DP.get(rig[sr.PMCR_EL0]))
        prohibited = prohibited or bool(MDCR.HCCD.get(mdcr))
    return bool(TYPER.NSH.get(value)) and not prohibited


def hardware_counts(value: int, el: int) -> bool:
    """Whether hardware with MDCR_EL2.HPMD=HCCD=0 counts at an EL."""
    if el == 2:
        return bool(TYPER.NSH.get(value))
    name = ("U", "NSU") if el == 0 else ("P", "NSK")
    return TYPER.field(name[0]).get(value) == TYPER.field(name[1]).get(value)


def counter_is_on(rig: Rig, n: int) -> bool:
    mdcr = rig.vcpu.vel2.memory[MDCR_INDEX]
    own = n == CYCLE or n < MDCR.HPMN.get(mdcr)
    on = sr.PMCR_EL0.E.get(rig[sr.PMCR_EL0]) if own else MDCR.HPME.get(mdcr)
    return bool(on) and bool(rig[sr.PMCNTENSET_EL0] >> n & 1)


def check_filters(rig: Rig, written: dict[int, int]) -> None:
    """Require of every counter that is on: it counts where it shall, and never in L0."""
    el = 2 if rig.vcpu.context == CONTEXT_VEL2 else 1
    for n in (*range(N), CYCLE):
        if not counter_is_on(rig, n):
            continue
        value = rig[filter_of(n)]
        l1 = written.get(n, 0)
        assert not hardware_counts(value, 2), n
        assert hardware_counts(value, 1) == l1_counts(rig, n, el, l1), (n, hex(l1), el)
        assert hardware_counts(value, 0) == l1_counts(rig, n, 0, l1), n
        assert TYPER.evtCount.get(value) == TYPER.evtCount.get(l1)


FILTER_BITS = TYPER.compose(P=1, U=1, NSK=1, NSU=1, NSH=1, evtCount=0x3F)
MDCR_BITS = MDCR.compose(HPMD=1, HCCD=1, HPME=1, TPM=1, TDE=1)


@pytest.mark.parametrize("seed", range(8))
def test_counters_count_where_l1_says_after_any_sequence(seed: int) -> None:
    """Show it for random writes of filters, enables and MDCR_EL2 in both contexts."""
    rig = fresh()
    chance = random.Random(seed)
    written: dict[int, int] = {}
    for _ in range(60):
        what = chance.randrange(6)
        n = chance.choice((*range(N), CYCLE))
        if what == 0:
            value = chance.getrandbits(64) & FILTER_BITS
            if rig.vcpu.context == CONTEXT_VEL1:
                rig.vcpu.vel2.memory[MDCR_INDEX] &= ~MDCR.TPM.mask
                if n < CYCLE and n >= MDCR.HPMN.get(rig.vcpu.vel2.memory[MDCR_INDEX]):
                    continue
            assert write(rig, filter_of(n), value)
            written[n] = value
            assert read(rig, filter_of(n)) == value
        elif what == 1:
            rig.vcpu.vel2.memory[MDCR_INDEX] &= ~(MDCR.TPM.mask | MDCR.TPMCR.mask)
            assert write(rig, sr.PMCR_EL0, chance.getrandbits(6) | N << 11)
        elif what == 2:
            rig.vcpu.vel2.memory[MDCR_INDEX] &= ~MDCR.TPM.mask
            assert write(rig, sr.PMCNTENSET_EL0, chance.getrandbits(32))
        elif what == 3 and rig.vcpu.context == CONTEXT_VEL2:
            split = chance.choice((N, N, N - 4))
            assert write(rig, MDCR, chance.getrandbits(64) & MDCR_BITS | split)
        else:
            switch(rig)
        check_filters(rig, written)


def test_a_vm_without_counters_in_use_pays_nothing() -> None:
    """Show that a filter of a counter that is off is not switched, and that one in use is."""
    rig = fresh()
    assert write(rig, sr.PMEVTYPER0_EL0, 0)
    assert rig.vcpu.pcpu.moving_selectors == 0
    assert write(rig, sr.PMCNTENSET_EL0, 1)
    assert rig.vcpu.pcpu.moving_selectors == 0
    assert write(rig, sr.PMCR_EL0, 1)
    assert rig.vcpu.pcpu.moving_selectors == 1
    assert write(rig, sr.PMEVTYPER0_EL0, TYPER.NSH.mask)
    assert rig.vcpu.pcpu.moving_selectors == 0, (
        "counts at EL2 and at EL1: hardware needs one value for both"
    )


def debug(rig: Rig) -> None:
    """Have L1 turn breakpoints and watchpoints on."""
    rig[MDSCR] = rig.vcpu.pcpu.mdscr = rig.page.slot[MDSCR_SLOT] = MDE


def where_l1_matches(value: int) -> set[int]:
    """At which Non-secure ELs HMC, SSC and PMC (or PAC) of L1 match."""
    if BCR.SSC.get(value) == 0b10:
        return set()
    found = {el for el, bit in ((0, 0b10), (1, 0b01)) if BCR.PMC.get(value) & bit}
    return found | ({2} if BCR.HMC.get(value) else set())


def where_hardware_matches(value: int) -> set[int]:
    return where_l1_matches(value) if BCR.E.get(value) else set()


@settings(max_examples=60, deadline=None)
@given(
    value=WORDS, index=st.integers(0, BREAKPOINTS + WATCHPOINTS - 1), e2h=FIRST_BIT, tde=FIRST_BIT
)
def test_a_breakpoint_matches_where_l1_says(value: int, index: int, e2h: int, tde: int) -> None:
    """Show it for any control of an address breakpoint or watchpoint, in both contexts."""
    rig = fresh()
    debug(rig)
    rig.vcpu.e2h = e2h
    rig.vcpu.vel2.memory[MDCR_INDEX] = MDCR.TDE.put(tde)
    value &= 0xFFFF_FFFF
    if index < BREAKPOINTS:
        register: type[Register] = sr.DBGBCRn_EL1[index]
        value = BCR.BT.set(value, BCR.BT.get(value) & 1)
    else:
        register = sr.DBGWCRn_EL1[index - BREAKPOINTS]
    assert write(rig, register, value)
    assert read(rig, register) == value
    matches = where_l1_matches(value) if BCR.E.get(value) else set()
    for el in (2, 1, 2):
        real = rig[register]
        own = {el}
        if el == 2 and not e2h and not tde:
            own = set()
        expected = ({1} if matches & own else set()) | ({0} & matches)
        assert where_hardware_matches(real) == expected
        keeps = ~(selectors.WHERE | BCR.E.mask)
        assert real & keeps == value & keeps
        switch(rig)
    assert rig.vcpu.pcpu.moving_selectors >> 32 == 0 or BCR.E.get(value)


# --- breakpoints and watchpoints that L1 reaches without a trap ---------------------------------

HDFGRTR, HDFGWTR = sr.HDFGRTR_EL2, sr.HDFGWTR_EL2
CONTROLS: tuple[type[Register], ...] = (
    *sr.DBGBCRn_EL1[:BREAKPOINTS],
    *sr.DBGWCRn_EL1[:WATCHPOINTS],
)


def debugged() -> Rig:
    """Give a VHE L1 with L0's fine-grained traps, and MDSCR_EL1 not trapping any more."""
    rig = fresh()
    rig.vcpu.e2h = 1
    for register, traps in finegrained.OWN.items():
        rig[register] = traps
    rig.vcpu.pcpu.mdscr_traps = 0
    return rig


def fine(rig: Rig, register: type[Register], read: bool) -> bool:
    """Whether one of L0's fine-grained bits traps an access."""
    controls, family = (HDFGRTR, HDFGWTR)[not read], f"{register.name[:6]}n_EL1"
    return bool(controls.field(family if family in FAMILIES else register.name).get(rig[controls]))


FAMILIES = ("DBGBCRn_EL1", "DBGWCRn_EL1")


def set_control(rig: Rig, register: type[Register], value: int) -> None:
    """Do what L1's MSR does."""
    if fine(rig, register, False):
        assert write(rig, register, value)
    else:
        rig[register] = value


def control(rig: Rig, register: type[Register]) -> int:
    """Do what L1's MRS does."""
    return read(rig, register) if fine(rig, register, True) else rig[register]


def set_mdscr(rig: Rig, value: int) -> None:
    """Do what an MSR does: at vEL2 it is a store unless it traps."""
    if fine(rig, MDSCR, False):
        assert write(rig, MDSCR, value)
    elif rig.vcpu.context == CONTEXT_VEL2:
        rig.page.slot[MDSCR_SLOT] = value
    else:
        rig[MDSCR] = value


def test_many_accesses_trap_once() -> None:
    """Show that L1 then has hardware's, with its own values, until the context changes."""
    rig = debugged()
    raw = BCR.compose(E=1, HMC=1, PMC=1, BAS=15)
    assert write(rig, CONTROLS[0], raw)
    assert not any(fine(rig, register, read) for register in CONTROLS for read in (True, False))
    assert rig[CONTROLS[0]] == raw
    assert fine(rig, MDSCR, False), "MDE turned on must be seen"
    switch(rig)
    assert all(fine(rig, register, read) for register in CONTROLS for read in (True, False))
    assert rig[CONTROLS[0]] != raw, "which has no EL2"
    assert read(rig, CONTROLS[0]) == raw
    switch(rig)
    assert fine(rig, CONTROLS[0], True), "and again only when L1 wants it"


@pytest.mark.parametrize("why", ["hardware", "page", "vEL1", "no FEAT_NV2"])
def test_they_go_on_trapping_where_one_could_match_unseen(why: str) -> None:
    rig = debugged()
    if why == "hardware":
        debug(rig)
        rig.page.slot[MDSCR_SLOT] = 0
    elif why == "page":
        rig.page.slot[MDSCR_SLOT] = MDE
    elif why == "vEL1":
        switch(rig)
    else:
        rig.vm.config.nv_level = LEVEL_NV
    for register in CONTROLS:
        assert read(rig, register) == 0
    assert fine(rig, CONTROLS[0], True) and fine(rig, CONTROLS[0], False)


def check_debug(rig: Rig, written: dict[type[Register], int]) -> None:
    """Require that what can match does so where L1 says, and that each reads as it was written."""
    el = 2 if rig.vcpu.context == CONTEXT_VEL2 else 1
    pending = el == 2 and rig.page.slot[MDSCR_SLOT] & MDE
    is_open = not fine(rig, CONTROLS[0], False)
    assert not (is_open and pending), "L1 turned MDE on, and hardware does not know"
    for register in CONTROLS:
        real, l1 = rig[register], written.get(register, 0)
        if rig[MDSCR] & MDE:
            matches = where_l1_matches(l1) if BCR.E.get(l1) else set()
            expected = ({1} if el in matches else set()) | ({0} & matches)
            assert where_hardware_matches(real) == expected, register
    before = rig.state()
    for register in CONTROLS:
        assert control(rig, register) == written.get(register, 0)
        rig.put_back(before)


CONTROL_BITS = BCR.compose(E=1, PMC=3, BAS=15, HMC=1, SSC=3)


@pytest.mark.parametrize("seed", range(8))
def test_breakpoints_match_where_l1_says_after_any_sequence(seed: int) -> None:
    """Show it for random accesses, MDSCR_EL1 and counters in both contexts, trapped or not."""
    rig = debugged()
    chance = random.Random(seed)
    written: dict[type[Register], int] = {}
    opened = 0
    for _ in range(80):
        what = chance.randrange(8)
        register = chance.choice(CONTROLS)
        if what < 4:
            value = chance.getrandbits(32) & CONTROL_BITS
            set_control(rig, register, value)
            written[register] = value
        elif what == 4:
            assert control(rig, register) == written.get(register, 0)
        elif what == 5:
            set_mdscr(rig, chance.choice((0, 0, MDE)))
        elif what == 6:
            assert write(rig, sr.PMCR_EL0, chance.getrandbits(1) | N << 11)
        else:
            switch(rig)
        opened += not fine(rig, CONTROLS[0], False)
        check_debug(rig, written)
    assert opened > 5


CONTEXT_TYPES = [
    # BT, in vEL2 with E2H=1, with E2H=0, in vEL1; None: never
    (0b0010, 0b0010, None, 0b0010),
    (0b0011, 0b0011, None, 0b0011),
    (0b0110, None, None, 0b0110),
    (0b0111, None, None, 0b0111),
    (0b1000, None, None, None),
    (0b1001, None, None, None),
    (0b1010, None, None, None),
    (0b1011, None, None, None),
    (0b1100, None, None, None),
    (0b1101, None, None, None),
    (0b1110, None, None, None),
    (0b1111, None, None, None),
]


@pytest.mark.parametrize("row", CONTEXT_TYPES, ids=lambda row: f"{row[0]:04b}")
@pytest.mark.parametrize("e2h", (0, 1))
def test_context_breakpoints_compare_what_l1_means(
    row: tuple[int, int | None, int | None, int | None], e2h: int
) -> None:
    """Show for each type which register of hardware it compares, or that it never matches."""
    rig = fresh()
    debug(rig)
    rig.vcpu.e2h = e2h
    rig.vcpu.vel2.memory[MDCR_INDEX] = MDCR.TDE.mask
    bt, with_e2h, without, vel1 = row
    value = BCR.compose(E=1, HMC=1, PMC=3, BAS=15, BT=bt)
    register = sr.DBGBCRn_EL1[BREAKPOINTS - 1]
    assert write(rig, register, value)
    for expected in ((without, with_e2h)[e2h], vel1):
        real = rig[register]
        assert BCR.E.get(real) == (expected is not None)
        if expected is not None:
            assert BCR.BT.get(real) == expected
            linked = expected in (0b0011, 0b0111)
            assert BCR.HMC.get(real) == linked, "of a linked one the ELs are ignored, and kept"
        switch(rig)


def test_what_is_not_there_is_undefined() -> None:
    """Show it for counters, breakpoints and watchpoints beyond the last, at vEL2 and vEL1."""
    rig = fresh()
    absent = (
        sr.PMEVTYPERn_EL0[N],
        sr.PMEVCNTRn_EL0[N],
        sr.DBGBCRn_EL1[BREAKPOINTS],
        sr.DBGWCRn_EL1[WATCHPOINTS],
    )
    for _ in range(2):
        for register in absent:
            for is_read in (False, True):
                assert not trapped(rig, register, is_read)
                assert rig[sr.ESR_EL1] == UNDEF
        switch(rig)


def test_a_machine_without_a_pmu_shows_none() -> None:
    """Show that every PMU register is UNDEFINED, MDCR_EL2 has no PMU bits, and EL1 has none."""
    for version in (0, 15):
        rig = fresh(pmu=version)
        assert rig.vm.probed.mdcr & MDCR.TPM.mask and rig.vm.probed.mdcr & MDCR.TPMCR.mask
        rig.run(init_id_registers, rig.vm)
        features = rig.vm.probed.id_registers[5 * 8]
        assert sr.ID_AA64DFR0_EL1.PMUVer.get(features) == 0
        assert sr.ID_AA64DFR0_EL1.BRPs.get(features) == BREAKPOINTS - 1
        for register in (sr.PMCR_EL0, sr.PMCCNTR_EL0, sr.PMXEVTYPER_EL0, sr.PMEVTYPER0_EL0):
            for is_read in (False, True):
                assert not trapped(rig, register, is_read)
        assert write(rig, MDCR, (1 << 64) - 1)
        kept = MDCR.compose(TDE=1, TDA=1, TDOSA=1, TDRA=1, TDCC=1)
        assert rig.vcpu.vel2.memory[MDCR_INDEX] == kept


def test_l1s_traps_of_the_pmu_are_l1s() -> None:
    """Show TPM, TPMCR and the counters above HPMN: forwarded from vEL1, never asked at vEL2."""
    cases = (
        (MDCR.compose(TPM=1, HPMN=N), sr.PMEVTYPER0_EL0, True),
        (MDCR.compose(TPM=1, HPMN=N), sr.PMCR_EL0, True),
        (MDCR.compose(TPMCR=1, HPMN=N), sr.PMCR_EL0, True),
        (MDCR.compose(TPMCR=1, HPMN=N), sr.PMEVTYPER0_EL0, False),
        (MDCR.compose(HPMN=2), sr.PMEVTYPER1_EL0, False),
        (MDCR.compose(HPMN=2), sr.PMEVTYPER2_EL0, True),
        (MDCR.compose(HPMN=2), sr.PMEVCNTR5_EL0, True),
        (MDCR.compose(HPMN=2), sr.PMCCFILTR_EL0, False),
        (MDCR.compose(HPMN=0), sr.PMEVTYPER0_EL0, True),
    )
    for mdcr, register, forwards in cases:
        rig = fresh()
        assert write(rig, MDCR, mdcr)
        assert trapped(rig, register, True)
        switch(rig)
        done = trapped(rig, register, True)
        assert done != forwards, register
        if forwards:
            assert rig.vcpu.context == CONTEXT_VEL2
            assert rig[sr.ESR_EL1] == syndrome(register.encoding, True)
        else:
            assert rig.vcpu.context == CONTEXT_VEL1


def test_pmselr_leads_to_counters_and_filters() -> None:
    """Show PMXEVTYPER_EL0 for each SEL: a counter, the cycle counter, or nothing."""
    rig = fresh()
    for sel in range(32):
        rig[sr.PMSELR_EL0] = sel
        assert write(rig, sr.PMXEVTYPER_EL0, TYPER.compose(U=1))
        exists = sel < N or sel == CYCLE
        assert rig.vcpu.selectors[sel] == (TYPER.U.mask if exists else 0)
        assert read(rig, sr.PMXEVTYPER_EL0) == (TYPER.U.mask if exists else 0)


def test_counters_kept_by_el2_are_reached_by_el2_only() -> None:
    """Show HPMN less than N: vEL2's accesses trap and see all, vEL1's and EL0's see their part."""
    rig = fresh()
    assert rig[MDCR] == 0, "the rig has not entered a context yet"
    assert write(rig, MDCR, MDCR.compose(HPMN=2, HPME=1, HLP=1))
    assert rig[MDCR] == rig.vm.probed.mdcr | MDCR.compose(HPMN=2, HPME=1, HLP=1, TPM=1, TPMCR=1)
    assert write(rig, sr.PMINTENSET_EL1, 0xFFFF_FFFF)
    assert rig[sr.PMINTENSET_EL1] == 0xFFFF_FFFF
    assert sr.PMCR_EL0.N.get(read(rig, sr.PMCR_EL0)) == N
    assert sr.PMCR_EL0.N.get(read(rig, sr.PMCR_EL0, EL0T)) == 2
    assert read(rig, sr.PMINTENSET_EL1, EL0T) == 0x8000_0003
    switch(rig)
    assert rig[MDCR] == rig.vm.probed.mdcr | MDCR.compose(HPMN=2, HPME=1, HLP=1)
    assert sr.PMCR_EL0.N.get(read(rig, sr.PMCR_EL0)) == 2
    for n in range(N):
        rig[sr.PMEVCNTRn_EL0[n]] = 5
    assert write(rig, sr.PMCR_EL0, sr.PMCR_EL0.compose(P=1))
    assert [rig[sr.PMEVCNTRn_EL0[n]] for n in range(N)] == [0, 0, 5, 5, 5, 5]
    assert rig[sr.PMCR_EL0] & sr.PMCR_EL0.P.mask == 0


def test_software_increments_reach_the_counters_that_count_here() -> None:
    """Show which counters PMSWINC_EL0 is written for when it traps, and that filters come back."""
    rig = fresh(fgt=0)
    assert rig.vm.probed.mdcr & MDCR.TPM.mask
    filters = (
        TYPER.compose(NSH=1),
        TYPER.compose(),
        TYPER.compose(NSH=1, evtCount=0x11),
        TYPER.compose(NSH=1, U=1),
    )
    for n, value in enumerate(filters):
        assert write(rig, sr.PMEVTYPERn_EL0[n], value)
    before = [rig[filter_of(n)] for n in range(N)]
    assert write(rig, sr.PMSWINC_EL0, 0b1111)
    assert rig[sr.PMSWINC_EL0] == 0b1001
    assert write(rig, sr.PMSWINC_EL0, 0b1111, EL0T)
    assert rig[sr.PMSWINC_EL0] == 0b0011
    assert [rig[filter_of(n)] for n in range(N)] == before
    assert not any(TYPER.NSH.get(value) for value in before)


def test_registers_that_go_one_way() -> None:
    """Show that a write of what is read-only, and a read of PMSWINC_EL0, are UNDEFINED."""
    rig = fresh(fgt=0)
    rig[sr.PMMIR_EL1] = 7
    assert read(rig, sr.PMMIR_EL1) == 7
    assert not trapped(rig, sr.PMMIR_EL1, False)
    assert not trapped(rig, sr.PMSWINC_EL0, True)
    assert write(rig, sr.PMUSERENR_EL0, 1)
    assert rig[sr.PMUSERENR_EL0] == 1


@pytest.mark.parametrize(("version", "missing"), [(1, "HPMD HLP HCCD"), (4, "HLP HCCD"), (6, "")])
def test_mdcr_has_the_bits_of_the_version(version: int, missing: str) -> None:
    """Show that MDCR_EL2 keeps what the PMU's version defines, and clamps HPMN to what there is."""
    rig = fresh(pmu=version)
    assert write(rig, MDCR, (1 << 64) - 1)
    kept = rig.vcpu.vel2.memory[MDCR_INDEX]
    for name in ("HPMD", "HLP", "HCCD"):
        assert MDCR.field(name).get(kept) == (name not in missing.split())
    assert MDCR.HPMN.get(kept) == N
    assert not kept & MDCR.compose(TPMS=1, TTRF=1, E2PB=3, E2TB=3, EnSPM=1, MTPME=1)


TPM, TPMCR = MDCR.TPM.mask, MDCR.TPMCR.mask


@pytest.mark.parametrize("traps", [0, TPM, TPMCR, TPM | TPMCR])
@pytest.mark.parametrize("register", [sr.PMCR_EL0, sr.PMCNTENSET_EL0, sr.PMEVTYPERn_EL0[0]])
def test_the_el0_of_a_vhe_host_is_trapped_by_mdcr(traps: int, register: type[Register]) -> None:
    """Show that TPM, and TPMCR for PMCR_EL0, send its accesses to vEL2, and vEL2's own nowhere."""
    is_trapped = traps & TPM != 0 or (traps & TPMCR != 0 and register is sr.PMCR_EL0)
    for is_read in (True, False):
        rig = fresh()
        assert write(rig, MDCR, N | traps)
        assert rig[MDCR] & (TPM | TPMCR) == traps
        assert trapped(rig, register, is_read)
        rig.vcpu.x[7] = 0
        assert trapped(rig, register, is_read, EL0T) is not is_trapped
        if is_trapped:
            assert rig.vcpu.pc == VBAR + 0x400
            assert rig[sr.ESR_EL1] == syndrome(register.encoding, is_read)
            assert rig[sr.ELR_EL1] == PC


@pytest.mark.parametrize("register", [sr.SCXTNUM_EL0, sr.TPIDR2_EL0])
def test_what_is_no_pmu_register_is_not_trapped_by_mdcr(register: type[Register]) -> None:
    """Show that a register of a hidden feature stays UNDEFINED at the host's EL0 under TPM."""
    rig = fresh()
    assert write(rig, MDCR, N | TPM | TPMCR)
    for is_read in (True, False):
        assert not trapped(rig, register, is_read, EL0T)
        assert rig[sr.ESR_EL1] == UNDEF


def test_an_nvhe_l1_sets_no_trap_of_its_own_accesses() -> None:
    """Show that E2H=0, where EL0 is never vEL2's own by KVM, keeps its accesses free."""
    rig = fresh()
    rig.vcpu.e2h = 0
    assert write(rig, MDCR, N | TPM)
    assert rig[MDCR] & TPM == 0


@pytest.mark.parametrize("hpmn", range(N + 1))
@pytest.mark.parametrize("n", range(N))
def test_hpmn_is_the_first_counter_that_el2_keeps(n: int, hpmn: int) -> None:
    """Show for each counter and each boundary who turns it on, and that HPMD is not about EL2's."""
    for pmcr, hpme in ((1, 0), (0, 1)):
        rig = fresh()
        assert write(rig, MDCR, MDCR.compose(HPMN=hpmn, HPME=hpme, HPMD=1))
        assert write(rig, sr.PMCR_EL0, pmcr)
        assert write(rig, sr.PMCNTENSET_EL0, 1 << n)
        is_on = bool(pmcr) if n < hpmn else bool(hpme)
        assert bool(rig.prepare(selectors.enabled, rig.vcpu) >> n & 1) == is_on
        assert write(rig, sr.PMEVTYPERn_EL0[n], TYPER.NSH.mask)
        assert hardware_counts(rig[sr.PMEVTYPERn_EL0[n]], 1) == (n >= hpmn)
        if n >= hpmn:
            switch(rig)
            assert not trapped(rig, sr.PMEVTYPERn_EL0[n], True), "vEL1 has no such counter"


def test_selectors_follow_a_change_of_e2h() -> None:
    """Show that a breakpoint of EL2 comes into effect with HCR_EL2.E2H, and goes with it."""
    rig = fresh()
    rig.vm.config.nv_level, rig.vm.config.guest_kind = LEVEL_NV, GUEST_VHE
    rig.vcpu.e2h = 0
    value = BCR.compose(E=1, BAS=15, HMC=1, PMC=0b01)
    assert write(rig, sr.DBGBCRn_EL1[1], value)
    assert where_hardware_matches(rig[sr.DBGBCRn_EL1[1]]) == set(), "TDE=0: no debug of EL2"
    assert write(rig, sr.HCR_EL2, sr.HCR_EL2.E2H.mask)
    assert where_hardware_matches(rig[sr.DBGBCRn_EL1[1]]) == {1}
    assert write(rig, sr.HCR_EL2, 0)
    assert where_hardware_matches(rig[sr.DBGBCRn_EL1[1]]) == set()


def mdscr_traps(rig: Rig) -> bool:
    """Tell whether hardware traps writes of MDSCR_EL1."""
    return bool(rig[sr.HDFGWTR_EL2] & sr.HDFGWTR_EL2.MDSCR_EL1.mask)


DEBUGS = sr.MDSCR_EL1.MDE.mask
QUIET = 1 << 12


def test_writes_of_mdscr_trap_until_they_are_seen_to_debug_nothing() -> None:
    """Show that a trapped write is in effect at once, and when the trap ends and comes back."""
    rig = fresh()
    assert mdscr_traps(rig)
    for _ in range(2):
        for count in range(QUIET_WRITES):
            assert mdscr_traps(rig), count
            assert write(rig, sr.MDSCR_EL1, QUIET)
            assert rig[sr.MDSCR_EL1] == rig.slot(sr.MDSCR_EL1) == QUIET
        assert not mdscr_traps(rig)
        assert write(rig, sr.DBGWCRn_EL1[0], WCR.compose(E=1, BAS=1, HMC=1, PAC=1))
        assert mdscr_traps(rig)
        for _ in range(2 * QUIET_WRITES):
            assert write(rig, sr.MDSCR_EL1, QUIET)
        assert mdscr_traps(rig), "as long as there is a watchpoint"
        assert write(rig, sr.MDSCR_EL1, DEBUGS)
        assert rig[sr.MDSCR_EL1] == DEBUGS
        assert write(rig, sr.DBGWCRn_EL1[0], 0)


def test_a_value_that_debugs_makes_mdscr_trap_again() -> None:
    """Show it for one that reached the page unseen and hardware at an ERET."""
    rig = fresh()
    for _ in range(QUIET_WRITES):
        assert write(rig, sr.MDSCR_EL1, 0)
    assert not mdscr_traps(rig)
    rig.set_slot(sr.MDSCR_EL1, DEBUGS)
    rig[sr.SPSR_EL1], rig.vcpu.pstate = 0b1001, EL1H
    rig.run(trap.handle_sync, rig.vcpu, ESR_ELx.compose(EC=EC.ERET, IL=1))
    assert rig[sr.MDSCR_EL1] == DEBUGS and mdscr_traps(rig)


def test_l2_writes_mdscr_through_l0s_trap() -> None:
    """Show that in vEL1 the write is done, and that L1's own trap comes first."""
    rig = fresh()
    assert mdscr_traps(rig)
    switch(rig)
    assert mdscr_traps(rig)
    assert write(rig, sr.MDSCR_EL1, DEBUGS) and rig[sr.MDSCR_EL1] == DEBUGS
    switch(rig)
    assert rig.slot(sr.MDSCR_EL1) == DEBUGS
    rig.set_slot(sr.HDFGWTR_EL2, sr.HDFGWTR_EL2.MDSCR_EL1.mask)
    switch(rig)
    assert not write(rig, sr.MDSCR_EL1, 0)
    assert rig.vcpu.context == CONTEXT_VEL2 and rig.vcpu.counters.forwarded == 1
    assert mdscr_traps(rig), "L0's own stays when L1's are taken out"


@pytest.mark.parametrize("hpmn", range(N + 1))
@pytest.mark.parametrize("bits", range(8))
def test_each_counter_counts_at_el2_or_not(hpmn: int, bits: int) -> None:
    """Show for each split of the counters, HPMD, HCCD and DP, which count at EL2 (NSH=1)."""
    rig = fresh()
    mdcr = MDCR.compose(HPMN=hpmn, HPMD=bits & 1, HCCD=bits >> 1 & 1)
    rig.vcpu.vel2.memory[MDCR_INDEX] = mdcr
    rig[sr.PMCR_EL0] = sr.PMCR_EL0.compose(N=N, DP=bits >> 2)
    for n in (*range(N), CYCLE):
        rig.vcpu.selectors[n] = TYPER.NSH.mask
        counts = rig.run(selectors.counts_at_vel2, rig.vcpu, n)
        assert counts == l1_counts(rig, n, 2, TYPER.NSH.mask), n

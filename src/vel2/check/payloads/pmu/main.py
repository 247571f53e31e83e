"""Payload `pmu`: PMUv3 at EL2, and in L2 with and without L1's traps.

The events are software increments, because their number is known. EL2, EL1 and EL0 make them, under
every filter, with counters that L1 keeps for EL2 (MDCR_EL2.HPMN), and until they overflow.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.accesses import show_access
from vel2.check.payloads.library.assembly import CURRENT_SPX_IRQ, HVC_DONE, LOWER_AARCH64_IRQ
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import no_traps, set_hcr
from vel2.check.payloads.library.gic import HCR_IRQ, acknowledge, end_interrupt, gic_init
from vel2.check.payloads.library.guest import (
    enter_guest,
    enter_guest_el0,
    is_hvc,
    probe,
    start_guest,
)
from vel2.check.payloads.library.seen import saw, say
from vel2.check.payloads.pmu.code import ACCESSES
from vel2.lang import bytes_address, inline, isb, mrs, msr, resident, symbol_address, u64

VMID = 9
PPI_PMU = 23
MDCR = sr.MDCR_EL2
PMCR = sr.PMCR_EL0
TYPER = sr.PMEVTYPER_EL0
CYCLE = 1 << 31
ALL_COUNTERS = 0xFFFF_FFFF
ON = PMCR.compose(E=1, LC=1)
ALL_ONES = (1 << 64) - 1
WRAPS_32 = 0xFFFF_FFFF
SOON = (1 << 64) - 100_000
"""A cycle count that overflows a little later."""


@inline
def counters_available() -> u64:
    """Give PMCR_EL0.N as EL2 sees it."""
    return PMCR.N.get(mrs(PMCR))


@resident
def reset_pmu() -> None:
    """Turn everything off, and give all counters to EL1."""
    msr(MDCR, counters_available())
    msr(PMCR, PMCR.compose(P=1, C=1, LC=1))
    msr(sr.PMCNTENCLR_EL0, ALL_COUNTERS)
    msr(sr.PMINTENCLR_EL1, ALL_COUNTERS)
    msr(sr.PMOVSCLR_EL0, ALL_COUNTERS)
    msr(sr.PMUSERENR_EL0, 0)
    msr(sr.PMSELR_EL0, 0)
    for register in FEW_TYPES:
        msr(register, 0)
    msr(sr.PMCCFILTR_EL0, 0)
    isb()


FEW_TYPES = sr.PMEVTYPERn_EL0[:4]
IDENTITY = (
    (b"pmuver\0", sr.ID_AA64DFR0_EL1, sr.ID_AA64DFR0_EL1.PMUVer.mask),
    (b"pmcr\0", PMCR, ALL_ONES),
    (b"pmceid0\0", sr.PMCEID0_EL0, ALL_ONES),
    (b"pmceid1\0", sr.PMCEID1_EL0, ALL_ONES),
    (b"pmmir\0", sr.PMMIR_EL1, ALL_ONES),
    (b"mdcr\0", MDCR, ALL_ONES),
)


@resident
def identity() -> None:
    """Show what kind of PMU it is, and which bits of MDCR_EL2 stick."""
    for name, register, mask in IDENTITY:
        say(bytes_address(b"identity\0"), NO_SUBJECT, bytes_address(name), mrs(register) & mask)
    n = counters_available()
    for value in MDCR_VALUES:
        msr(MDCR, value | n)
        say(bytes_address(b"mdcr\0"), value, bytes_address(b"is\0"), mrs(MDCR))
    reset_pmu()


MDCR_VALUES = (
    MDCR.compose(HPMD=1),
    MDCR.compose(HPME=1, HLP=1),
    MDCR.compose(HCCD=1, TPM=1, TPMCR=1),
    MDCR.compose(TDE=1, TDA=1, TDOSA=1, TDRA=1),
)
PATTERNS = (
    0,
    TYPER.compose(P=1, U=1),
    TYPER.compose(NSH=1, evtCount=0x11),
    TYPER.compose(NSK=1, NSU=1, M=1),
    TYPER.compose(P=1, U=1, NSK=1, NSU=1, NSH=1, M=1, evtCount=0xFFFF),
)


@resident
def read_back() -> None:
    """Show which bits of the filters stick, by each of their names."""
    for pattern in PATTERNS:
        msr(sr.PMEVTYPER0_EL0, pattern)
        say(bytes_address(b"type\0"), pattern, bytes_address(b"is\0"), mrs(sr.PMEVTYPER0_EL0))
        msr(sr.PMCCFILTR_EL0, pattern)
        say(bytes_address(b"cycle\0"), pattern, bytes_address(b"is\0"), mrs(sr.PMCCFILTR_EL0))
        msr(sr.PMSELR_EL0, 1)
        isb()
        msr(sr.PMXEVTYPER_EL0, pattern)
        isb()
        say(bytes_address(b"selected\0"), pattern, bytes_address(b"is\0"), mrs(sr.PMEVTYPER1_EL0))
        msr(sr.PMSELR_EL0, 31)
        isb()
        say(bytes_address(b"sel31\0"), pattern, bytes_address(b"is\0"), mrs(sr.PMXEVTYPER_EL0))
        msr(sr.PMSELR_EL0, 30)
        isb()
        msr(sr.PMXEVTYPER_EL0, pattern)
        say(bytes_address(b"sel30\0"), pattern, bytes_address(b"is\0"), mrs(sr.PMXEVTYPER_EL0))
    reset_pmu()


@resident
def increment_everywhere(state: State, counters: u64) -> None:
    """Make one software increment at EL2, two at EL1 and four at EL0."""
    probe(symbol_address("el2_swinc"), counters, 0)
    for _ in range(2):
        enter_guest(state, symbol_address("l2_swinc"), counters, 0)
    for _ in range(4):
        enter_guest_el0(state, symbol_address("l0_swinc"), counters, 0)


@inline
def counts(value: u64) -> u64:
    """Give what `increment_everywhere` adds to a counter under a filter."""
    wanted = u64(0)
    if value & TYPER.NSH.mask != 0:
        wanted = u64(wanted + 1)
    if value & TYPER.P.mask == 0:
        wanted = u64(wanted + 2)
    if value & TYPER.U.mask == 0:
        wanted = u64(wanted + 4)
    return wanted


FILTERS = tuple(
    TYPER.compose(P=p, U=u, NSH=nsh) for p in range(2) for u in range(2) for nsh in range(2)
)
OTHER = TYPER.compose(P=1, U=1, NSH=1)
"""The bits that turn a filter into its opposite."""


@resident
def filters(state: State) -> None:
    """Count under each filter, and under its opposite at the same time; then by another name."""
    for value in FILTERS:
        begin(state, bytes_address(b"count\0"), value)
        reset_pmu()
        msr(sr.PMUSERENR_EL0, sr.PMUSERENR_EL0.EN.mask)
        msr(sr.PMEVTYPER0_EL0, value)
        msr(sr.PMCNTENSET_EL0, 0b101)
        msr(PMCR, ON)
        msr(sr.PMSELR_EL0, 2)
        isb()
        msr(sr.PMXEVTYPER_EL0, value ^ OTHER)
        isb()
        increment_everywhere(state, 0b111)
        expect(state, bytes_address(b"c0\0"), mrs(sr.PMEVCNTR0_EL0), counts(value))
        expect(state, bytes_address(b"c1\0"), mrs(sr.PMEVCNTR1_EL0), 0)
        expect(state, bytes_address(b"c2\0"), mrs(sr.PMEVCNTR2_EL0), counts(value ^ OTHER))
        msr(sr.PMEVTYPER0_EL0, value ^ OTHER)
        isb()
        increment_everywhere(state, 0b001)
        expect(state, bytes_address(b"c0-after\0"), mrs(sr.PMEVCNTR0_EL0), 7)
        msr(sr.PMCNTENCLR_EL0, 0b001)
        isb()
        increment_everywhere(state, 0b001)
        expect(state, bytes_address(b"c0-off\0"), mrs(sr.PMEVCNTR0_EL0), 7)
        end(state)


@dataclass(frozen=True)
class Prohibition:
    """Bits of MDCR_EL2 and PMCR_EL0, and what then counts under a filter that passes everything."""

    name: bytes
    mdcr: int
    pmcr: int
    events: int
    """What `increment_everywhere` adds to counter 0."""
    kept: int
    """What it adds to counter 3."""
    cycles: bool
    """Whether the cycle counter runs at EL2."""


PROHIBITIONS = (
    Prohibition(b"all\0", MDCR.compose(HPMN=4), ON, 7, 7, True),
    Prohibition(b"hpmd\0", MDCR.compose(HPMN=4, HPMD=1), ON, 6, 6, True),
    Prohibition(b"hpmd-dp\0", MDCR.compose(HPMN=4, HPMD=1), ON | PMCR.DP.mask, 6, 6, False),
    Prohibition(b"hccd\0", MDCR.compose(HPMN=4, HCCD=1), ON, 7, 7, False),
    Prohibition(b"off\0", MDCR.compose(HPMN=4), PMCR.LC.mask, 0, 0, False),
    Prohibition(b"kept\0", MDCR.compose(HPMN=2), ON, 7, 0, True),
    Prohibition(b"kept-hpme\0", MDCR.compose(HPMN=2, HPME=1), ON, 7, 1, True),
    Prohibition(b"kept-hpmd\0", MDCR.compose(HPMN=2, HPME=1, HPMD=1), ON, 6, 1, True),
    Prohibition(b"kept-only\0", MDCR.compose(HPMN=2, HPME=1), PMCR.LC.mask, 0, 1, False),
)


@resident
def prohibitions(state: State) -> None:
    """Count with the bits of MDCR_EL2 that keep EL2 from counting, or counters from EL1."""
    for case in PROHIBITIONS:
        begin(state, bytes_address(case.name), NO_SUBJECT)
        reset_pmu()
        msr(sr.PMUSERENR_EL0, sr.PMUSERENR_EL0.EN.mask)
        msr(sr.PMEVTYPER0_EL0, TYPER.NSH.mask)
        msr(sr.PMEVTYPER3_EL0, TYPER.compose(NSH=1, P=case.kept == 1, U=case.kept == 1))
        msr(sr.PMCCFILTR_EL0, TYPER.NSH.mask)
        msr(MDCR, case.mdcr)
        msr(sr.PMCNTENSET_EL0, 0b1001 | CYCLE)
        msr(PMCR, case.pmcr)
        isb()
        expect(state, bytes_address(b"mdcr\0"), mrs(MDCR), case.mdcr)
        increment_everywhere(state, 0b1001)
        expect(state, bytes_address(b"c0\0"), mrs(sr.PMEVCNTR0_EL0), case.events)
        expect(state, bytes_address(b"c3\0"), mrs(sr.PMEVCNTR3_EL0), case.kept)
        probe(symbol_address("el2_cycles"), 0, 0)
        expect(state, bytes_address(b"cycles\0"), u64(state.x[0] != 0), u64(case.cycles))
        end(state)


@resident
def kept_counters(state: State) -> None:
    """Reach the counters that L1 keeps for EL2 by every register, at EL2."""
    begin(state, bytes_address(b"kept-registers\0"), NO_SUBJECT)
    reset_pmu()
    n = counters_available()
    every = u64((1 << n) - 1) | CYCLE
    msr(MDCR, MDCR.compose(HPMN=2))
    isb()
    expect(state, bytes_address(b"n\0"), counters_available(), n)
    msr(sr.PMINTENSET_EL1, ALL_COUNTERS)
    expect(state, bytes_address(b"inten\0"), mrs(sr.PMINTENSET_EL1), every)
    msr(sr.PMINTENCLR_EL1, 0b1010)
    expect(state, bytes_address(b"intenclr\0"), mrs(sr.PMINTENCLR_EL1), every & ~0b1010)
    msr(sr.PMCNTENSET_EL0, ALL_COUNTERS)
    expect(state, bytes_address(b"cnten\0"), mrs(sr.PMCNTENSET_EL0), every)
    msr(sr.PMCNTENCLR_EL0, ALL_COUNTERS)
    expect(state, bytes_address(b"cntenclr\0"), mrs(sr.PMCNTENCLR_EL0), 0)
    msr(sr.PMINTENCLR_EL1, ALL_COUNTERS)
    msr(sr.PMOVSSET_EL0, 0b1010)
    expect(state, bytes_address(b"ovs\0"), mrs(sr.PMOVSCLR_EL0), 0b1010)
    msr(sr.PMOVSCLR_EL0, 0b1000)
    expect(state, bytes_address(b"ovsclr\0"), mrs(sr.PMOVSSET_EL0), 0b0010)
    msr(sr.PMSELR_EL0, 3)
    isb()
    msr(sr.PMXEVCNTR_EL0, 0x1234)
    expect(state, bytes_address(b"c3\0"), mrs(sr.PMEVCNTR3_EL0), 0x1234)
    expect(state, bytes_address(b"sel\0"), mrs(sr.PMXEVCNTR_EL0), 0x1234)
    msr(PMCR, PMCR.compose(P=1, LC=1))
    isb()
    expect(state, bytes_address(b"reset\0"), mrs(sr.PMEVCNTR3_EL0), 0)
    msr(sr.PMCCNTR_EL0, 0x55)
    expect(state, bytes_address(b"ccntr\0"), mrs(sr.PMCCNTR_EL0), 0x55)
    enter_guest(state, symbol_address("l2_pmu_read_pmcr_el0"), 0, 0)
    expect(state, bytes_address(b"hvc\0"), u64(is_hvc(state, HVC_DONE)), 1)
    expect(state, bytes_address(b"n-el1\0"), PMCR.N.get(state.x[1]), 2)
    end(state)


CYCLE_FILTERS = (
    (TYPER.compose(), False, True),
    (TYPER.compose(NSH=1), True, True),
    (TYPER.compose(P=1), False, False),
    (TYPER.compose(NSH=1, P=1), True, False),
)


@resident
def cycles(state: State) -> None:
    """Let the cycle counter run at EL2 and EL1 as its filter says."""
    for value, at_el2, at_el1 in CYCLE_FILTERS:
        begin(state, bytes_address(b"cycles\0"), value)
        reset_pmu()
        msr(sr.PMCCFILTR_EL0, value)
        msr(sr.PMCNTENSET_EL0, CYCLE)
        msr(PMCR, ON)
        isb()
        for _ in range(2):
            probe(symbol_address("el2_cycles"), 0, 0)
            expect(state, bytes_address(b"el2\0"), u64(state.x[0] != 0), u64(at_el2))
            enter_guest(state, symbol_address("l2_cycles"), 0, 0)
            expect(state, bytes_address(b"el1\0"), u64(state.x[1] != 0), u64(at_el1))
        end(state)


@resident
def overflow(state: State) -> None:
    """Let counters overflow at EL2 and in L2; the interrupt comes to EL2."""
    set_hcr(HCR_IRQ)
    begin(state, bytes_address(b"overflow-el2\0"), NO_SUBJECT)
    reset_pmu()
    msr(sr.PMEVTYPER0_EL0, TYPER.NSH.mask)
    msr(sr.PMEVCNTR0_EL0, WRAPS_32)
    msr(sr.PMCNTENSET_EL0, 1)
    msr(sr.PMINTENSET_EL1, 1)
    msr(PMCR, ON)
    isb()
    probe(symbol_address("el2_swinc"), 1, 0)
    expect(state, bytes_address(b"ovs\0"), mrs(sr.PMOVSSET_EL0), 1)
    state.vector = probe(symbol_address("el2_wait"), 0, 0)
    expect_interrupt(state, CURRENT_SPX_IRQ)
    end(state)
    begin(state, bytes_address(b"overflow-el1\0"), NO_SUBJECT)
    msr(sr.PMEVTYPER0_EL0, 0)
    msr(sr.PMEVCNTR0_EL0, WRAPS_32)
    isb()
    state.vector = enter_guest(state, symbol_address("l2_swinc"), 1, 0)
    expect_interrupt(state, LOWER_AARCH64_IRQ)
    end(state)
    begin(state, bytes_address(b"overflow-cycles\0"), NO_SUBJECT)
    msr(sr.PMCNTENCLR_EL0, 1)
    msr(sr.PMCCFILTR_EL0, 0)
    msr(sr.PMCCNTR_EL0, SOON)
    msr(sr.PMINTENSET_EL1, CYCLE)
    msr(sr.PMCNTENSET_EL0, CYCLE)
    isb()
    state.vector = enter_guest(state, symbol_address("l2_loop"), 0, 0)
    expect(state, bytes_address(b"ovs\0"), mrs(sr.PMOVSSET_EL0), CYCLE)
    expect_interrupt(state, LOWER_AARCH64_IRQ)
    end(state)


@resident
def expect_interrupt(state: State, vector: u64) -> None:
    """Require that the last exception was the PMU's interrupt, and silence it."""
    expect(state, bytes_address(b"vector\0"), state.vector, vector)
    acknowledge(state, PPI_PMU)
    msr(sr.PMOVSCLR_EL0, ALL_COUNTERS)
    end_interrupt(PPI_PMU)


SAMPLE = TYPER.compose(P=1, NSH=1)
"""What L2 writes to each register; it enables no counter and no interrupt of one in use."""


@resident
def guest_accesses(state: State) -> None:
    """Let L2 use every register with TPM and TPMCR set, and with them clear."""
    for mdcr in GUEST_MDCR:
        reset_pmu()
        msr(MDCR, mdcr | counters_available())
        isb()
        for access in ACCESSES:
            code = symbol_address(access.code)
            show_access(state, bytes_address(access.name), code, SAMPLE, mdcr)
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"t0\0"), mrs(sr.PMEVTYPER0_EL0))
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"filtr\0"), mrs(sr.PMCCFILTR_EL0))
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"pmcr\0"), mrs(PMCR))
        say(bytes_address(b"after\0"), mdcr, bytes_address(b"selr\0"), mrs(sr.PMSELR_EL0))


GUEST_MDCR = (0, MDCR.compose(TPM=1, TPMCR=1))


@resident
def user_accesses(state: State) -> None:
    """Let L2's EL0 use the PMU as PMUSERENR_EL0 allows, with and without TPM."""
    for mdcr in GUEST_MDCR:
        for enables in USER_ENABLES:
            reset_pmu()
            msr(MDCR, mdcr | counters_available())
            msr(sr.PMUSERENR_EL0, enables)
            isb()
            subject = mdcr | enables
            for name, code in USER_CODE:
                state.vector = enter_guest_el0(state, symbol_address(code), 0, 0)
                saw(state, bytes_address(name), subject)


USER_ENABLES = (0, 1)
USER_CODE = (
    (b"el0-swinc\0", "l0_swinc"),
    (b"el0-cycles\0", "l0_read_cycles"),
    (b"el0-type\0", "l0_read_type"),
)


@resident
def fine_grained(state: State) -> None:
    """Set one fine-grained trap at a time over what L2 reads or writes."""
    for name, register, bits, code in FINE:
        reset_pmu()
        msr(register, bits)
        isb()
        state.guest_x[30] = symbol_address("guest_hvc")
        state.vector = enter_guest(state, symbol_address(code), 0, 0)
        saw(state, bytes_address(name), 1)
        msr(register, 0)
        isb()
        state.vector = enter_guest(state, symbol_address(code), 0, 0)
        saw(state, bytes_address(name), 0)


READS, WRITES = sr.HDFGRTR_EL2, sr.HDFGWTR_EL2
FINE = (
    (b"fgt-type\0", READS, READS.PMEVTYPERn_EL0.mask, "l2_pmu_read_pmevtyper0_el0"),
    (b"fgt-xtype\0", READS, READS.PMEVTYPERn_EL0.mask, "l2_pmu_read_pmxevtyper_el0"),
    (b"fgt-filtr\0", READS, READS.PMCCFILTR_EL0.mask, "l2_pmu_read_pmccfiltr_el0"),
    (b"fgt-value\0", READS, READS.PMEVCNTRn_EL0.mask, "l2_pmu_read_pmevcntr0_el0"),
    (b"fgt-cnten\0", READS, READS.PMCNTEN.mask, "l2_pmu_read_pmcntenset_el0"),
    (b"fgt-write-type\0", WRITES, WRITES.PMEVTYPERn_EL0.mask, "l2_pmu_write_pmevtyper0_el0"),
    (b"fgt-write-cnten\0", WRITES, WRITES.PMCNTEN.mask, "l2_pmu_write_pmcntenclr_el0"),
    (b"fgt-write-pmcr\0", WRITES, WRITES.PMCR_EL0.mask, "l2_pmu_write_pmcr_el0"),
    (b"fgt-swinc\0", WRITES, WRITES.PMSWINC_EL0.mask, "l2_pmu_write_pmswinc_el0"),
)


@resident
def pmu_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    identity()
    read_back()
    start_guest(state, parameters, VMID)
    filters(state)
    prohibitions(state)
    kept_counters(state)
    cycles(state)
    guest_accesses(state)
    user_accesses(state)
    no_traps()
    fine_grained(state)
    gic_init()
    overflow(state)
    finish(state)

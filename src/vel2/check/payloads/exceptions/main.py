"""Payload `exceptions`: exceptions to EL2, exception returns, and the traps L1 sets for L2.

Most of it is `saw` lines: syndrome, ELR_EL2, SPSR_EL2 and PSTATE at the vector, to be the same at
virtual and at real EL2.
"""

from vel2.arch import sysregs as sr
from vel2.arch.psci import PSCI_VERSION
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h, M_EL2h, M_EL2t, SPSR_ELx
from vel2.check.payloads.exceptions.code import AT_EL2
from vel2.check.payloads.exceptions.serror import virtual_serror
from vel2.check.payloads.exceptions.traps import control_traps
from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.assembly import LOWER_AARCH64_SYNC, NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import HCR_GUEST, HCR_HOST, set_hcr
from vel2.check.payloads.library.guest import (
    enter_guest,
    probe,
    reset_guest,
    run_guest,
    start_guest,
)
from vel2.check.payloads.library.seen import saw
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64

VMID = 4
NOT_SUPPORTED = 0xFFFF_FFFF
MODES = 32
AARCH32_EL0 = 0x10
"""Machines differ in whether EL0 may be AArch32, and vel2 hides it."""
TGE = sr.HCR_EL2.TGE.mask
LOW_32 = 0xFFFF_FFFF

OWN = tuple((f"{name}\0".encode(), f"el2_{name}") for name, _, _ in AT_EL2)


@resident
def own_exceptions(state: State) -> None:
    """Take synchronous exceptions from EL2 to EL2."""
    for name, code in OWN:
        state.vector = probe(symbol_address(code), ARENA | 2, 0)
        if state.vector == NO_EXCEPTION:
            begin(state, bytes_address(name), NO_SUBJECT)
            expect(state, bytes_address(b"x0\0"), state.x[0] & LOW_32, NOT_SUPPORTED)
            end(state)
        else:
            saw(state, bytes_address(name), NO_SUBJECT)
    begin(state, bytes_address(b"psci-version\0"), NO_SUBJECT)
    state.vector = probe(symbol_address("el2_smc_unknown"), PSCI_VERSION, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
    expect(state, bytes_address(b"major\0"), state.x[0] >> 16, 1)
    end(state)


RETURN_FLAGS = (
    SPSR_ELx.compose(N=1, Z=1, C=1, V=1),
    SPSR_ELx.compose(PAN=1, UAO=1, DIT=1),
    SPSR_ELx.compose(SSBS=1, BTYPE=1),
    SPSR_ELx.compose(IL=1),
    PSTATE_DAIF,
)
"""What SPSR_EL2 has besides the mode, one set of flags for each return."""


@resident
def returns(state: State, tge: u64) -> None:
    """Return to every mode, with each set of flags, and show what the next instruction does."""
    set_hcr(HCR_HOST | tge)
    isb()
    for mode in range(MODES):
        if mode == AARCH32_EL0:
            continue
        for flags in RETURN_FLAGS:
            state.guest_pc = symbol_address("guest_hvc")
            state.guest_pstate = flags | PSTATE_DAIF | mode
            state.vector = run_guest()
            saw(state, bytes_address(b"return\0"), state.guest_pstate)
    set_hcr(HCR_HOST)
    isb()


@resident
def entry_pstate(state: State) -> None:
    """Show PSTATE at the vector as SCTLR_EL2.SPAN and DSSBS make it, for each way in."""
    for sctlr in ENTRY_SCTLR:
        msr(sr.SCTLR_EL2, sctlr)
        isb()
        for hcr in ENTRY_HCR:
            set_hcr(hcr)
            isb()
            for mode in ENTRY_MODES:
                state.guest_pc = symbol_address("guest_hvc")
                state.guest_pstate = mode
                state.vector = run_guest()
                saw(state, bytes_address(b"entry\0"), mode)
    msr(sr.SCTLR_EL2, SCTLR_OFF)
    set_hcr(HCR_HOST)
    isb()


ENTRY_SCTLR = (
    SCTLR_OFF,
    SCTLR_OFF & ~sr.SCTLR_EL1.SPAN.mask,
    SCTLR_OFF | sr.SCTLR_EL1.DSSBS.mask,
)
ENTRY_HCR = (HCR_HOST, HCR_HOST | TGE)
ENTRY_MODES = (PSTATE_DAIF | M_EL2h, PSTATE_DAIF | M_EL2t, PSTATE_DAIF | M_EL0t)


@resident
def hvc_disabled(state: State) -> None:
    """Show HVC with HCR_EL2.HCD, at EL2 and at EL1."""
    for hcr in HCD_CASES:
        set_hcr(hcr)
        isb()
        state.vector = probe(symbol_address("el2_hvc"), 0, 0)
        saw(state, bytes_address(b"hcd-el2\0"), hcr)
        msr(sr.VBAR_EL12, 0)
        isb()
        state.guest_pc = symbol_address("l2_hvc_1234")
        state.guest_pstate = PSTATE_DAIF | M_EL1h
        if hcr & sr.HCR_EL2.HCD.mask == 0:
            state.vector = run_guest()
            saw(state, bytes_address(b"hcd-el1\0"), hcr)
    set_hcr(HCR_HOST)
    isb()


HCD_CASES = (HCR_HOST, HCR_HOST | sr.HCR_EL2.HCD.mask)


@resident
def registers_survive(state: State) -> None:
    """Check that L2's registers survive a trap to EL2 and an entry from it."""
    begin(state, bytes_address(b"registers\0"), NO_SUBJECT)
    for i in range(31):
        state.guest_x[i] = u64(REGISTER_PATTERN + i)
    state.guest_pc = symbol_address("guest_hvc")
    state.guest_pstate = PSTATE_DAIF | M_EL1h
    state.vector = run_guest()
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    for i in range(31):
        expect(state, bytes_address(b"x\0"), state.x[i], u64(REGISTER_PATTERN + i))
    for value in EL12_PATTERNS:
        msr(sr.ELR_EL12, value)
        msr(sr.SPSR_EL12, value & PSTATE_DAIF)
        msr(sr.FAR_EL12, value)
        msr(sr.TTBR0_EL12, value & TTBR_BITS)
        msr(sr.CONTEXTIDR_EL12, value & LOW_32)
        msr(sr.SP_EL1, value)
        msr(sr.TPIDR_EL1, value)
        msr(sr.TPIDR_EL0, value)
        isb()
        state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
        expect(state, bytes_address(b"elr_el1\0"), mrs(sr.ELR_EL12), value)
        expect(state, bytes_address(b"spsr_el1\0"), mrs(sr.SPSR_EL12), value & PSTATE_DAIF)
        expect(state, bytes_address(b"far_el1\0"), mrs(sr.FAR_EL12), value)
        expect(state, bytes_address(b"ttbr0_el1\0"), mrs(sr.TTBR0_EL12), value & TTBR_BITS)
        expect(state, bytes_address(b"contextidr\0"), mrs(sr.CONTEXTIDR_EL12), value & LOW_32)
        expect(state, bytes_address(b"sp_el1\0"), mrs(sr.SP_EL1), value)
        expect(state, bytes_address(b"tpidr_el1\0"), mrs(sr.TPIDR_EL1), value)
        expect(state, bytes_address(b"tpidr_el0\0"), mrs(sr.TPIDR_EL0), value)
    end(state)


REGISTER_PATTERN = 0x5247_0000_0000_0000
EL12_PATTERNS = (0x0000_1234_5678_9AB0, 0x0000_FEDC_BA98_7654)
TTBR_BITS = 0x0000_FFFF_FFFF_FFF0


@resident
def exceptions_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    own_exceptions(state)
    reset_guest()
    returns(state, 0)
    returns(state, TGE)
    entry_pstate(state)
    hvc_disabled(state)
    start_guest(state, parameters, VMID)
    registers_survive(state)
    reset_guest()
    set_hcr(HCR_GUEST)
    virtual_serror(state)
    control_traps(state)
    finish(state)

"""The part of `classes` about an EL0 in AArch32: what it raises, trapped and not.

AArch32 may be hidden, and vEL1 can enter it anyway. The hypervisor below must give EL2 what EL2's
controls trap, and EL1 what belongs to EL1. Two kinds of check fail there and are declared: those of
what that hypervisor traps for itself, and an exception return from EL2 itself to AArch32.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h, SPSR_ELx
from vel2.check.payloads.classes.code import AARCH32
from vel2.check.payloads.layout import ARENA, State
from vel2.check.payloads.library.assembly import (
    HVC_EL1_VECTOR,
    LOWER_AARCH64_IRQ,
    LOWER_AARCH64_SYNC,
)
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import (
    CNTHCTL_BASE,
    CPTR_BASE,
    HCR_BASE,
    all_counters,
    has_e2h,
    no_traps,
    set_cnthctl,
    set_cptr,
    set_hcr,
)
from vel2.check.payloads.library.gic import HCR_IRQ, gic_init, soon, start_hptimer, take_hptimer
from vel2.check.payloads.library.guest import is_hvc, reset_guest, run_guest
from vel2.check.payloads.library.seen import saw
from vel2.check.payloads.traps.code import NOTHING_HERE
from vel2.check.payloads.traps.table import CNTKCTL_TRAPS, PMUSERENR_TRAPS, SCTLR_TRAPS
from vel2.lang import bytes_address, inline, isb, mrs, msr, resident, symbol_address, u64

HCR, MDCR, CPTR, CNTHCTL = sr.HCR_EL2, sr.MDCR_EL2, sr.CPTR_EL2_E2H, sr.CNTHCTL_EL2_E2H
LOWER_AARCH32_SYNC = 12
USER = PSTATE_DAIF & ~SPSR_ELx.D.mask | SPSR_ELx.nRW.mask
"""SPSR_EL1 for AArch32's User mode, A32, interrupts masked."""
CHECKS_SP = sr.SCTLR_EL1.compose(SA=1, SA0=1)


@resident
def guest_registers(state: State) -> None:
    """Set the guest registers that L2's code relies on."""
    state.guest_x[0] = 0
    state.guest_x[1] = 1 << 54
    state.guest_x[2] = ARENA
    state.guest_x[3] = NOTHING_HERE


@inline
def set_mdcr(value: u64) -> None:
    """Write MDCR_EL2, EL1 keeping all counters."""
    msr(MDCR, value | all_counters())


@inline
def set_hfgrtr(value: u64) -> None:
    """Write HFGRTR_EL2."""
    msr(sr.HFGRTR_EL2, value)


@inline
def set_hdfgrtr(value: u64) -> None:
    """Write HDFGRTR_EL2."""
    msr(sr.HDFGRTR_EL2, value)


@inline
def set_hfgitr(value: u64) -> None:
    """Write HFGITR_EL2."""
    msr(sr.HFGITR_EL2, value)


@inline
def set_hstr(value: u64) -> None:
    """Write HSTR_EL2."""
    msr(sr.HSTR_EL2, value)


SETTERS: dict[type[Register], tuple[Callable[[u64], None], int]] = {
    HCR: (set_hcr, HCR_BASE),
    CPTR: (set_cptr, CPTR_BASE),
    CNTHCTL: (set_cnthctl, CNTHCTL_BASE),
    MDCR: (set_mdcr, 0),
    sr.HFGRTR_EL2: (set_hfgrtr, 0),
    sr.HDFGRTR_EL2: (set_hdfgrtr, 0),
    sr.HFGITR_EL2: (set_hfgitr, 0),
    sr.HSTR_EL2: (set_hstr, 0),
}


@dataclass(frozen=True)
class Case:
    """One instruction of AArch32, and the control that traps it."""

    name: bytes
    code: str
    set_control: Callable[[u64], None]
    value: int


def _cases(register: type[Register], field: str, value: int, *codes: str) -> tuple[Case, ...]:
    set_control, base = SETTERS[register]
    bits = register.field(field).set(base, value)
    return tuple(
        Case(f"a32-{field}-{code}\0".encode(), f"a32_{code}", set_control, bits) for code in codes
    )


PMU_CODES = (
    "mrc_pmcr", "mrceq_pmcr", "mcr_pmcr", "mcr_pmcntenset", "mrc_pmcntenset", "mrc_pmccntr",
    "mrc_pmevtyper0", "mrrc_pmccntr",
)  # fmt: skip
DEBUG_CODES = (
    "mrc_dbgdscrint", "mrc_dbgdidr", "mrc_dbgdrar", "mrrc_dbgdrar", "ldc_dbgdtrtxint",
    "stc_dbgdtrrxint", "bkpt",
)  # fmt: skip
TRAPPED = (
    *_cases(MDCR, "TPM", 1, *PMU_CODES),
    *_cases(MDCR, "TDA", 1, *DEBUG_CODES),
    *_cases(MDCR, "TDRA", 1, "mrc_dbgdrar", "mrrc_dbgdrar"),
    *_cases(MDCR, "TDCC", 1, "mrc_dbgdscrint", "ldc_dbgdtrtxint", "stc_dbgdtrrxint"),
    *_cases(MDCR, "TDE", 1, "bkpt", "mrc_dbgdscrint", "mrc_dbgdrar"),
    *_cases(CNTHCTL, "EL1PTEN", 0, "mrc_cntp_ctl", "mcr_cntp_ctl", "mrrc_cntp_cval"),
    *_cases(CNTHCTL, "EL1PCTEN", 0, "mrrc_cntpct", "mrrc_cntpctss"),
    *_cases(CNTHCTL, "EL1TVT", 1, "mrc_cntv_ctl"),
    *_cases(CNTHCTL, "EL1TVCT", 1, "mrrc_cntvct"),
    *_cases(CPTR, "FPEN", 0, "vmov", "vmrs_fpscr", "vmrs_fpsid"),
    *_cases(HCR, "TWI", 1, "wfi"),
    *_cases(HCR, "TWE", 1, "wfe"),
    *_cases(HCR, "TIDCP", 1, "mrc_c11", "mrc_c15"),
    *_cases(HCR, "TID0", 1, "vmrs_fpsid", "mrc_jidr"),
    *_cases(HCR, "TID3", 1, "vmrs_mvfr0"),
    *_cases(HCR, "TSC", 1, "smc"),
    *_cases(sr.HFGRTR_EL2, "TPIDR_EL0", 1, "mrc_tpidrurw"),
    *_cases(sr.HDFGRTR_EL2, "PMCCNTR_EL0", 1, "mrc_pmccntr", "mrrc_pmccntr"),
    *_cases(sr.HFGITR_EL2, "SVC_EL0", 1, "svc"),
)
"""What a control of L1 traps. The PMU registers depend on PMUSERENR_EL0.EN."""

L0S_OWN = ("mcr_pmcr", "mcr_pmcntenset", "mrc_pmevtyper0")
"""These complete at real EL2. A hypervisor that hides AArch32 may trap them for itself."""
NOT_LEFT_ALONE = ("wfi", "wfe", "spin", *L0S_OWN)
UNTRAPPED = tuple(
    (f"a32-{name}\0".encode(), f"a32_{name}") for name, _ in AARCH32 if name not in NOT_LEFT_ALONE
)
"""A WFI that nothing traps would wait for ever, and so would a WFE (in QEMU since 11.1)."""
DONE_AT_REAL_EL2 = tuple((f"a32-own-{name}\0".encode(), f"a32_{name}") for name in L0S_OWN)


@resident
def reset(state: State) -> None:
    """Allow L2's EL0 everything, in both execution states."""
    no_traps()
    set_mdcr(0)
    msr(sr.HFGRTR_EL2, 0)
    msr(sr.HDFGRTR_EL2, 0)
    msr(sr.HFGITR_EL2, 0)
    reset_guest()
    msr(sr.SCTLR_EL12, SCTLR_TRAPS | CHECKS_SP)
    if has_e2h():
        msr(sr.CNTKCTL_EL12, CNTKCTL_TRAPS)
    else:
        msr(sr.CNTKCTL_EL1, CNTKCTL_TRAPS)
    msr(sr.PMUSERENR_EL0, PMUSERENR_TRAPS)
    isb()
    guest_registers(state)


@resident
def run_aarch32(state: State, code: u64) -> None:
    """Let L2's EL1 return to AArch32 code."""
    guest_registers(state)
    state.guest_x[0] = code
    state.guest_x[1] = USER
    state.guest_pc = symbol_address("class_to_aarch32")
    state.guest_pstate = PSTATE_DAIF | M_EL1h
    state.vector = run_guest()


@resident
def in_aarch32(state: State) -> None:
    """Raise what an EL0 in AArch32 can raise."""
    for name, code in UNTRAPPED:
        reset(state)
        run_aarch32(state, symbol_address(code))
        saw(state, bytes_address(name), 0)
    for case in TRAPPED:
        reset(state)
        case.set_control(case.value)
        isb()
        run_aarch32(state, symbol_address(case.code))
        saw(state, bytes_address(case.name), 0)
    for name, code in DONE_AT_REAL_EL2:
        reset(state)
        begin(state, bytes_address(name), NO_SUBJECT)
        run_aarch32(state, symbol_address(code))
        expect_svc(state)
        end(state)
    reset(state)


@resident
def expect_svc(state: State) -> None:
    """Require that L2's EL1 took the SVC that follows an instruction."""
    if not is_hvc(state, HVC_EL1_VECTOR + LOWER_AARCH32_SYNC):
        expect(state, bytes_address(b"esr_el2\0"), state.esr, 0)
    expect(state, bytes_address(b"ec_el1\0"), ESR_ELx.EC.get(mrs(sr.ESR_EL12)), EC.SVC32)


@resident
def hidden_aarch32(state: State) -> None:
    """Check what a machine that shows AArch32 does."""
    begin(state, bytes_address(b"a32-hstr\0"), NO_SUBJECT)
    set_hstr(1 << 13)
    isb()
    run_aarch32(state, symbol_address("a32_mrc_tpidrurw"))
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect(state, bytes_address(b"ec\0"), ESR_ELx.EC.get(state.esr), EC.CP15_32)
    end(state)
    set_hstr(0)
    isb()
    begin(state, bytes_address(b"a32-from-el2\0"), NO_SUBJECT)
    guest_registers(state)
    state.guest_pc = symbol_address("a32_svc")
    state.guest_pstate = USER
    state.vector = run_guest()
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect_svc(state)
    end(state)


@resident
def interrupt(state: State) -> None:
    """Take an IRQ from L2's EL0 in AArch32: it spins until EL2's timer fires."""
    gic_init()
    set_hcr(HCR_IRQ)
    begin(state, bytes_address(b"a32-irq\0"), NO_SUBJECT)
    state.spsr = 0
    while state.spsr & SPSR_ELx.nRW.mask == 0:
        start_hptimer(soon())
        run_aarch32(state, symbol_address("a32_spin"))
        take_hptimer(state)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_IRQ)
    expect(state, bytes_address(b"elr\0"), state.elr, symbol_address("a32_spin"))
    expect(state, bytes_address(b"spsr\0"), state.spsr, USER)
    end(state)
    no_traps()
    isb()


@resident
def run(state: State) -> None:
    """Run all of it."""
    in_aarch32(state)
    hidden_aarch32(state)
    interrupt(state)

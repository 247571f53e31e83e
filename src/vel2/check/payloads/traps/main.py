"""Payload `traps`: every access of L2 by every trap control of EL2, one bit at a time.

L2 makes all accesses of a list (`table`) in one go (`code`), first with nothing trapped, then once
for each control. The payload prints how each access ended for the baseline, and for each control
what differs from it:

    id INDEX VALUE                    an identification register, as EL2 reads it
    no BANK                           this control register does not exist
    t PHASE CONTROL ACCESS OUTCOME

The numbers are those of `table`. The outcome is ESR_ELx with the vector that was taken and whether
EL2 or EL1 took it (`code`), or 0. The payload does not judge: the host compares the lists of two
machines.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h
from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.checks import finish, put, put_byte, put_hex
from vel2.check.payloads.library.controls import (
    all_counters,
    has_e2h,
    has_pmu,
    invalidate_all,
    set_hcr,
    use_stage2,
)
from vel2.check.payloads.library.guest import run_guest
from vel2.check.payloads.library.tables import S2_NORMAL, identity_table
from vel2.check.payloads.traps.code import R
from vel2.check.payloads.traps.table import (
    ACCESSES,
    ALL_COUNTERS,
    BANKS,
    BASELINE,
    CNTKCTL_TRAPS,
    CONTROLS_PER_BANK,
    CPACR_TRAPS,
    EL0_ACCESSES,
    FIRST_EXTRA,
    HCR_TRAPS,
    INTERRUPTS,
    PMUSERENR_TRAPS,
    SCTLR_TRAPS,
    Extra,
    Phase,
    enables,
)
from vel2.lang import PA, bytes_address, isb, load_u64, mrs, msr, resident, symbol_address, u64
from vel2.runtime.console import NEWLINE, SPACE

VMID = 9
BASELINE_RESULTS = ARENA + 0x10_0000
RESULTS = ARENA + 0x20_0000
TGE = sr.HCR_EL2.TGE.mask
HCRX_TRAPS = enables(sr.HCRX_EL2)


@dataclass(frozen=True)
class Row:
    """One control register as the resident code needs it."""

    number: int
    register: type[Register]
    is_hcr: bool
    is_mdcr: bool
    base: int
    flips: int
    extras: tuple[tuple[int, Extra], ...]
    identification: type[Register]
    mask: int
    lsb: int
    least: int
    interrupts: int
    hcrx: int
    e2h: int
    """0 or 1, or 2 for both."""


def _rows() -> tuple[Row, ...]:
    rows = []
    for number, bank in enumerate(BANKS):
        field, least = bank.shown_by or (sr.ID_AA64PFR0_EL1.EL0, 0)
        rows.append(
            Row(
                number=number,
                register=bank.register,
                is_hcr=bank.register is sr.HCR_EL2,
                is_mdcr=bank.register is sr.MDCR_EL2,
                base=bank.base,
                flips=bank.flips,
                extras=tuple(enumerate(bank.extras, start=FIRST_EXTRA)),
                identification=sr.by_name(field.register.name),
                mask=field.ones,
                lsb=field.lsb,
                least=least,
                interrupts=INTERRUPTS if bank.interrupts else 0,
                hcrx=HCRX_TRAPS | bank.hcrx if bank.hcrx else 0,
                e2h=2 if bank.e2h is None else bank.e2h,
            )
        )
    return tuple(rows)


ROWS = _rows()
IDENTIFICATION = tuple(
    (register.encoding.CRm * 8 + register.encoding.op2, register)
    for register in sr.ALL_REGISTERS
    if register.name.startswith("ID_AA64")
)


@resident
def existing() -> u64:
    """Give the banks whose register EL2 has, and with this layout, as a mask by number."""
    found = u64(0)
    e2h = u64(0)
    if has_e2h():
        e2h = u64(1)
    for row in ROWS:
        shown = mrs(row.identification) >> row.lsb & row.mask
        if (row.e2h == 2 or row.e2h == e2h) and shown >= row.least:
            found = found | 1 << row.number
    return found


@resident
def write_hcr(phase: u64, value: u64) -> None:
    """Write HCR_EL2; with TGE where L2 is EL2's own EL0."""
    if phase == Phase.HOST_EL0:
        set_hcr(value | TGE)
    else:
        set_hcr(value)


@resident
def write_mdcr(value: u64) -> None:
    """Write MDCR_EL2; `ALL_COUNTERS` in HPMN becomes their number."""
    if sr.MDCR_EL2.HPMN.get(value) == ALL_COUNTERS:
        msr(sr.MDCR_EL2, sr.MDCR_EL2.HPMN.set(value, all_counters()))
    else:
        msr(sr.MDCR_EL2, value)


@resident
def write(phase: u64, number: u64, value: u64) -> None:
    """Write the control register of one bank."""
    for row in ROWS:
        if number == row.number:
            if row.is_hcr:
                write_hcr(phase, value)
            elif row.is_mdcr:
                write_mdcr(value)
            else:
                msr(row.register, value)


@resident
def reset_l2() -> None:
    """Set the registers of L2 that its accesses rely on."""
    msr(sr.SCTLR_EL12, SCTLR_TRAPS)
    msr(sr.VBAR_EL12, symbol_address("traps_el1_vectors"))
    msr(sr.CPACR_EL12, CPACR_TRAPS)
    if has_e2h():
        msr(sr.CNTKCTL_EL12, CNTKCTL_TRAPS)
    else:
        msr(sr.CNTKCTL_EL1, CNTKCTL_TRAPS)
    msr(sr.SP_EL1, 0)
    msr(sr.SP_EL0, 0)
    if has_pmu():
        msr(sr.PMUSERENR_EL0, PMUSERENR_TRAPS)
    isb()


@resident
def run_list(state: State, phase: u64, results: u64) -> u64:
    """Let L2 make its accesses; give how many there are."""
    count = u64(len(EL0_ACCESSES))
    state.guest_pstate = PSTATE_DAIF | M_EL0t
    state.guest_pc = symbol_address("traps_loop")
    state.guest_x[R.LIST] = symbol_address("traps_el0")
    if phase == Phase.EL1:
        count = u64(len(ACCESSES))
        state.guest_pstate = PSTATE_DAIF | M_EL1h
        state.guest_x[R.LIST] = symbol_address("traps_all")
    if phase == Phase.HOST_EL0:
        state.guest_pc = symbol_address("traps_loop_host")
    state.guest_x[R.COUNT] = count
    state.guest_x[R.RESULTS] = results
    reset_l2()
    msr(sr.VBAR_EL2, symbol_address("traps_el2_vectors"))
    isb()
    run_guest()
    msr(sr.VBAR_EL2, symbol_address("el2_vectors"))
    isb()
    return count


@resident
def say(phase: u64, control: u64, access: u64, outcome: u64) -> None:
    """Print how one access ended."""
    put(bytes_address(b"t \0"))
    put_hex(phase)
    put_byte(SPACE)
    put_hex(control)
    put_byte(SPACE)
    put_hex(access)
    put_byte(SPACE)
    put_hex(outcome)
    put_byte(NEWLINE)


@resident
def all_to_base(phase: u64) -> None:
    """Trap nothing."""
    banks = existing()
    for row in ROWS:
        if banks >> row.number & 1 != 0:
            write(phase, row.number, row.base)
    isb()


@resident
def run_control(state: State, phase: u64, control: u64) -> None:
    """Run the list under EL2's present registers, and print what differs from the baseline."""
    isb()
    count = run_list(state, phase, RESULTS)
    for index in range(count):
        outcome = load_u64(PA(RESULTS + u64(index * 8)))
        if outcome != load_u64(PA(BASELINE_RESULTS + u64(index * 8))):
            say(phase, control, index, outcome)


@resident
def run_phase(state: State, phase: u64) -> None:
    """Run the baseline and every control."""
    all_to_base(phase)
    # What a first run writes is there for the runs that count.
    run_list(state, phase, BASELINE_RESULTS)
    count = run_list(state, phase, BASELINE_RESULTS)
    for index in range(count):
        outcome = load_u64(PA(BASELINE_RESULTS + u64(index * 8)))
        if outcome != 0:
            say(phase, BASELINE, index, outcome)
    banks = existing()
    for row in ROWS:
        if banks >> row.number & 1 != 0:
            if row.interrupts != 0:
                write_hcr(phase, HCR_TRAPS | row.interrupts)
            if row.hcrx != 0:
                msr(sr.HCRX_EL2, row.hcrx)
            for bit in range(64):
                if row.flips >> bit & 1 != 0:
                    write(phase, row.number, u64(row.base ^ u64(1 << bit)))
                    run_control(state, phase, u64(row.number * CONTROLS_PER_BANK + bit))
            for number, extra in row.extras:
                write(phase, row.number, extra.value)
                run_control(state, phase, u64(row.number * CONTROLS_PER_BANK + number))
            write(phase, row.number, row.base)
            if row.interrupts != 0:
                write_hcr(phase, HCR_TRAPS)
            if row.hcrx != 0:
                msr(sr.HCRX_EL2, HCRX_TRAPS)
    all_to_base(phase)


@resident
def traps_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    for index, register in IDENTIFICATION:
        put(bytes_address(b"id \0"))
        put_hex(index)
        put_byte(SPACE)
        put_hex(mrs(register))
        put_byte(NEWLINE)
    banks = existing()
    for row in ROWS:
        if banks >> row.number & 1 == 0:
            put(bytes_address(b"no \0"))
            put_hex(row.number)
            put_byte(NEWLINE)
    use_stage2(identity_table(state, parameters.ram_end, S2_NORMAL), VMID)
    invalidate_all()
    for phase in Phase:
        run_phase(state, u64(phase))
    finish(state)

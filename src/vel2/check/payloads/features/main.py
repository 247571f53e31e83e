"""Payload `features`: what an identification register does not show must be UNDEFINED.

If the feature of an optional register is present, EL2 may read the register. If not, a read is
UNDEFINED at EL2, and at EL1 whatever EL2 traps. The same holds for optional instructions, at EL2,
EL1 and EL0. A hypervisor below that hides a feature must keep to this. Where hardware has no
control that takes an instruction away, the difference is declared (`differences`).
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.check.payloads.features.code import HIGHEST, INSTRUCTIONS, OPTIONAL, FeatureCode
from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.assembly import (
    CURRENT_SPX_SYNC,
    HVC_EL1_VECTOR,
    LOWER_AARCH64_SYNC,
    NO_EXCEPTION,
    SCTLR_OFF,
)
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import no_traps
from vel2.check.payloads.library.guest import (
    enter_guest,
    enter_guest_el0,
    expect_el1,
    is_hvc,
    probe,
    reset_guest,
    start_guest,
)
from vel2.check.payloads.library.seen import saw, say
from vel2.lang import PA, bytes_address, isb, mrs, msr, resident, store_u64, symbol_address

VMID = 8
UNDEFINED = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)


@dataclass(frozen=True)
class Row:
    """One optional register: its code, and the identification field that must be large enough."""

    name: bytes
    code: str
    identification: type[Register]
    field: Field
    least: int
    is_el1: bool


def _row(code: FeatureCode) -> Row:
    name = f"{code.register.name.lower()}\0".encode()
    of, least = code.identification, code.least
    return Row(name, code.label, of, of.field(code.field), least, code.is_el1)


ROWS = tuple(_row(code) for code in OPTIONAL)
HIGHEST_ROWS = tuple(
    (f"{register.name.lower()}-write\0".encode(), f"do_write_{register.name}")
    for register in HIGHEST
)
EL1_ROWS = tuple(row for row in ROWS if row.is_el1)


@resident
def at_el2(state: State) -> None:
    """Read every optional register at EL2."""
    for row in ROWS:
        begin(state, bytes_address(row.name), NO_SUBJECT)
        state.vector = probe(symbol_address(row.code), 0, 0)
        if row.field.get(mrs(row.identification)) >= row.least:
            expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
        else:
            expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_SYNC)
            expect(state, bytes_address(b"esr\0"), state.esr, UNDEFINED)
        end(state)


@resident
def at_highest_el(state: State) -> None:
    """Read and write what belongs to the highest EL."""
    for name, code in HIGHEST_ROWS:
        begin(state, bytes_address(name), NO_SUBJECT)
        state.vector = probe(symbol_address(code), 0, 0)
        expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
        end(state)


@resident
def aarch32_at_el2(state: State) -> None:
    """Check that EL2's names for an EL1 in AArch32 are RES0 if there is none, and their reset."""
    for name, write, read in SPSR_CODES:
        begin(state, bytes_address(name), 2)
        probe(symbol_address(write), 0, ONES)
        probe(symbol_address(read), 0, 0)
        if sr.ID_AA64PFR0_EL1.EL1.get(mrs(sr.ID_AA64PFR0_EL1)) < WITH_AARCH32:
            expect(state, bytes_address(b"value\0"), state.x[0], 0)
        end(state)
    probe(symbol_address("feature_rvbar_el2"), 0, 0)
    say(bytes_address(b"rvbar_el2\0"), NO_SUBJECT, bytes_address(b"is\0"), state.x[0])
    state.vector = probe(symbol_address("write_rvbar_el2"), 0, ONES)
    saw(state, bytes_address(b"write-rvbar_el2\0"), NO_SUBJECT)


SPSR_CODES = tuple(
    (f"{name}-value\0".encode(), f"write_{name}", f"feature_{name}")
    for name in ("spsr_irq", "spsr_abt", "spsr_und", "spsr_fiq")
)
ONES = 0xFFFF_FFFF
WITH_AARCH32 = 2


@resident
def at_el1(state: State) -> None:
    """Read EL1's optional registers in L2, with nothing trapped by L1."""
    no_traps()
    for row in EL1_ROWS:
        reset_guest()
        begin(state, bytes_address(row.name), 1)
        state.guest_x[30] = symbol_address("guest_hvc")
        state.vector = enter_guest(state, symbol_address(row.code), 0, 0)
        if row.field.get(mrs(row.identification)) < row.least:
            expect_el1(state, CURRENT_SPX_SYNC, UNDEFINED, mrs(sr.FAR_EL12))
        elif is_hvc(state, HVC_EL1_VECTOR + CURRENT_SPX_SYNC):
            expect(state, bytes_address(b"taken\0"), mrs(sr.ESR_EL12), 0)
        end(state)


@dataclass(frozen=True)
class Instruction:
    """One optional instruction at one Exception level."""

    name: bytes
    code: str
    identification: type[Register]
    field: Field
    least: int


def _instructions(where: str) -> tuple[Instruction, ...]:
    return tuple(
        Instruction(
            f"{insn.name}-{where}\0".encode(),
            insn.label,
            insn.identification,
            insn.identification.field(insn.field),
            insn.least,
        )
        for insn in INSTRUCTIONS
        if insn.at_el0 or where != "el0"
    )


AT_EL2, AT_EL1, AT_EL0 = _instructions("el2"), _instructions("el1"), _instructions("el0")
WHATEVER_EL = tuple(
    (f"{insn.name}\0".encode(), row) for insn, row in zip(INSTRUCTIONS, AT_EL2, strict=True)
)


@resident
def shown() -> None:
    """Say which of what no hypervisor can take away this machine's registers show."""
    for name, row in WHATEVER_EL:
        if row.field.get(mrs(row.identification)) >= row.least:
            say(bytes_address(name), NO_SUBJECT, bytes_address(b"shown\0"), 1)
    if sr.ID_AA64MMFR0_EL1.BigEnd.get(mrs(sr.ID_AA64MMFR0_EL1)) != 0:
        say(bytes_address(b"big-endian\0"), NO_SUBJECT, bytes_address(b"shown\0"), 1)


@resident
def instructions_at_el2(state: State) -> None:
    """Run every optional instruction at EL2."""
    for row in AT_EL2:
        begin(state, bytes_address(row.name), NO_SUBJECT)
        state.vector = probe(symbol_address(row.code), ARENA, ARENA)
        if row.field.get(mrs(row.identification)) < row.least:
            expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_SYNC)
            expect(state, bytes_address(b"esr\0"), state.esr, UNDEFINED)
        end(state)


@resident
def instructions_below(state: State) -> None:
    """Run them in L2, with nothing trapped by EL2."""
    no_traps()
    for row in AT_EL1:
        reset_guest()
        begin(state, bytes_address(row.name), NO_SUBJECT)
        state.guest_x[30] = symbol_address("guest_hvc")
        state.vector = enter_guest(state, symbol_address(row.code), ARENA, ARENA)
        if row.field.get(mrs(row.identification)) < row.least:
            expect_el1(state, CURRENT_SPX_SYNC, UNDEFINED, mrs(sr.FAR_EL12))
        end(state)
    for row in AT_EL0:
        reset_guest()
        begin(state, bytes_address(row.name), NO_SUBJECT)
        state.guest_x[30] = symbol_address("l2_svc")
        state.vector = enter_guest_el0(state, symbol_address(row.code), ARENA, ARENA)
        if row.field.get(mrs(row.identification)) < row.least:
            expect_el1(state, LOWER_AARCH64_SYNC, UNDEFINED, mrs(sr.FAR_EL12))
        end(state)


@resident
def big_endian(state: State) -> None:
    """Let L2 load with SCTLR_EL1.EE set: it does nothing where endianness is not mixed."""
    begin(state, bytes_address(b"big-endian\0"), NO_SUBJECT)
    store_u64(PA(ARENA), PATTERN)
    reset_guest()
    msr(sr.SCTLR_EL12, SCTLR_OFF | sr.SCTLR_EL1.EE.mask)
    isb()
    state.vector = enter_guest(state, symbol_address("guest_read"), ARENA, 0)
    if sr.ID_AA64MMFR0_EL1.BigEnd.get(mrs(sr.ID_AA64MMFR0_EL1)) == 0:
        expect(state, bytes_address(b"read\0"), state.x[1], PATTERN)
    end(state)
    reset_guest()


PATTERN = 0x0123_4567_89AB_CDEF


@resident
def features_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    shown()
    at_el2(state)
    at_highest_el(state)
    aarch32_at_el2(state)
    instructions_at_el2(state)
    start_guest(state, parameters, VMID)
    at_el1(state)
    instructions_below(state)
    big_endian(state)
    isb()
    finish(state)

"""Payload `features`: what an identification register does not show must be UNDEFINED.

For each optional register: if its feature is there, EL2 may read it; if it is not, a read is
UNDEFINED at EL2, and at EL1 whatever EL2's traps are. A hypervisor below that hides a feature is
held to it.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.check.payloads.assembly import CURRENT_SPX_SYNC, HVC_EL1_VECTOR, NO_EXCEPTION
from vel2.check.payloads.exceptions_traps import no_traps
from vel2.check.payloads.features_code import HIGHEST, OPTIONAL, FeatureCode
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.runtime import (
    NO_SUBJECT,
    begin,
    end,
    enter_guest,
    expect,
    expect_el1,
    finish,
    invalidate_all,
    is_hvc,
    probe,
    reset_guest,
    stage2_table,
    use_stage2,
)
from vel2.lang import bytes_address, isb, mrs, resident, symbol_address

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
    """Read and write what is the highest EL's."""
    for name, code in HIGHEST_ROWS:
        begin(state, bytes_address(name), NO_SUBJECT)
        state.vector = probe(symbol_address(code), 0, 0)
        expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
        end(state)


@resident
def at_el1(state: State) -> None:
    """Read those that are EL1's in L2, with nothing trapped by L1."""
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


@resident
def features_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    at_el2(state)
    at_highest_el(state)
    reset_guest()
    use_stage2(stage2_table(state, parameters.ram_end), VMID)
    invalidate_all()
    at_el1(state)
    isb()
    finish(state)

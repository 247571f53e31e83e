"""The tables that a trace becomes in SQL and Parquet: their columns, and how each is made.

One description: SQL's types, the rows and the documentation come from it. Times are nanoseconds of
the guest's own clock. Addresses and registers are unsigned numbers of 64 bits, beside which names
stand where there are any: `function`, `cause`, `register`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from vel2.arch.esr import ESR_ELx
from vel2.trace.exits import Exit
from vel2.trace.recording import Recording
from vel2.trace.schema import Event, Flag, Kind, Place, Result, Vector
from vel2.trace.words import cause_of, class_of, direction_of, level_of, register_of, vmid_of

__all__ = ("EVENT_COLUMNS", "EXIT_COLUMNS", "Names", "RowColumn", "event_row", "exit_row")


class Names(Protocol):
    """Names for addresses of the guests' kernels."""

    def function(self, place: int, pc: int) -> str:
        """Name the function that a `Place` ran at an address; empty when it is not known."""

    def symbol(self, place: int, pc: int) -> str:
        """Name the address: the function, and how far into it."""


Make = Callable[[Any, Recording, Names], object]


@dataclass(frozen=True)
class RowColumn:
    """One column.

    :ivar make: gives the value of an event or exit; None is NULL.
    """

    name: str
    type: str
    about: str
    make: Make


def _ns(get: Callable[[Any], int]) -> Make:
    return lambda item, trace, names: trace.nanoseconds(get(item))


def _plain(get: Callable[[Any], object]) -> Make:
    return lambda item, trace, names: get(item)


def _if(flag: Flag, get: Callable[[Event], int]) -> Make:
    return lambda event, trace, names: get(event) if event.flags & flag else None


def _label(place: int) -> str:
    return Place(place).label if place in Place._value2member_map_ else str(place)


def _result(event: Event) -> str | None:
    return Result(event.result).name.lower() if event.result else None


def _vector(event: Event) -> str | None:
    return Vector(event.vector).name if event.kind == Kind.TRAP else None


def _ec(event: Event) -> int | None:
    is_sync = event.kind == Kind.TRAP and event.vector == Vector.SYNC
    return ESR_ELx.EC.get(event.esr) if is_sync else None


def _went(event: Event) -> bool:
    return event.kind in (Kind.TRAP, Kind.ERET)


def _cost(event: Event) -> int:
    return event.ended - event.began


EVENT_COLUMNS = (
    RowColumn(
        "kind", "VARCHAR", "TRAP, ERET, AHEAD, SWITCH, ...", _plain(lambda e: Kind(e.kind).name)
    ),
    RowColumn("vcpu", "UTINYINT", "number of the vCPU", _plain(lambda e: e.vcpu)),
    RowColumn(
        "sequence", "UBIGINT", "number on its vCPU; a gap is a loss", _plain(lambda e: e.sequence)
    ),
    RowColumn("began", "UBIGINT", "when, in ns of the guest's time", _ns(lambda e: e.began)),
    RowColumn("ended", "UBIGINT", "when L0 had done it, in ns", _ns(lambda e: e.ended)),
    RowColumn("cost", "UBIGINT", "L0's time, in ns", _ns(_cost)),
    RowColumn("level", "VARCHAR", "who ran: L1 or L2", _plain(lambda e: level_of(e.source))),
    RowColumn("source", "VARCHAR", "who ran, with its EL", _plain(lambda e: _label(e.source))),
    RowColumn(
        "target",
        "VARCHAR",
        "who runs afterwards",
        _plain(lambda e: _label(e.target) if _went(e) or e.kind == Kind.SWITCH else None),
    ),
    RowColumn("class", "VARCHAR", "exception class, or IRQ, FIQ, SError", _plain(class_of)),
    RowColumn("ec", "UTINYINT", "ESR_EL2.EC", _plain(_ec)),
    RowColumn("vector", "VARCHAR", "SYNC, IRQ, FIQ or SERROR", _plain(_vector)),
    RowColumn("cause", "VARCHAR", "what happened, in words", _plain(cause_of)),
    RowColumn(
        "register",
        "VARCHAR",
        "register or instruction of an access",
        _plain(lambda e: register_of(e) or None),
    ),
    RowColumn("direction", "VARCHAR", "read or write", _plain(lambda e: direction_of(e) or None)),
    RowColumn(
        "value",
        "UBIGINT",
        "what it wrote or read; docs/trace.md for other kinds",
        _plain(lambda e: e.value),
    ),
    RowColumn(
        "result", "VARCHAR", "resumed, handled, forwarded, injected, returned", _plain(_result)
    ),
    RowColumn("pc", "UBIGINT", "ELR_EL2", _plain(lambda e: e.pc)),
    RowColumn(
        "function",
        "VARCHAR",
        "the function of L1's or L2's kernel",
        lambda e, t, n: n.function(e.source, e.pc) or None,
    ),
    RowColumn(
        "symbol",
        "VARCHAR",
        "the same, with the offset",
        lambda e, t, n: n.symbol(e.source, e.pc) or None,
    ),
    RowColumn("esr", "UBIGINT", "ESR_EL2", _plain(lambda e: e.esr)),
    RowColumn("far", "UBIGINT", "FAR_EL2", _if(Flag.FAR_VALID, lambda e: e.far)),
    RowColumn(
        "ipa",
        "UBIGINT",
        "the IPA: of a fault, fill or unmap",
        _plain(lambda e: e.ipa if e.kind != Kind.TRAP or e.flags & Flag.IPA_VALID else None),
    ),
    RowColumn("vmid", "UINTEGER", "VTTBR_EL2.VMID of L1: which guest", _plain(vmid_of)),
    RowColumn("vttbr", "UBIGINT", "VTTBR_EL2 of L1", _plain(lambda e: e.vttbr)),
    RowColumn("hcr", "UBIGINT", "hardware's HCR_EL2", _plain(lambda e: e.hcr)),
    RowColumn("pstate", "UBIGINT", "SPSR_EL2", _plain(lambda e: e.pstate)),
    RowColumn("next_pc", "UBIGINT", "where it went on", _plain(lambda e: e.next_pc)),
    RowColumn(
        "next_symbol",
        "VARCHAR",
        "the same, named",
        lambda e, t, n: (n.symbol(e.target, e.next_pc) or None) if _went(e) else None,
    ),
    RowColumn(
        "syndrome", "UBIGINT", "ESR_ELx that the guest got", _plain(lambda e: e.syndrome or None)
    ),
    RowColumn("detail", "UBIGINT", "docs/trace.md: of each kind", _plain(lambda e: e.detail)),
)

EXIT_COLUMNS = (
    RowColumn("vcpu", "UTINYINT", "number of the vCPU", _plain(lambda x: x.trap.vcpu)),
    RowColumn("began", "UBIGINT", "when L2 trapped, in ns", _ns(lambda x: x.trap.began)),
    RowColumn(
        "ended",
        "UBIGINT",
        "when a guest was entered again; NULL if never",
        lambda x, t, n: t.nanoseconds(x.entry.ended) if x.entry else None,
    ),
    RowColumn(
        "duration",
        "UBIGINT",
        "how long L2 did not run",
        lambda x, t, n: t.nanoseconds(x.ticks) if x.entry else None,
    ),
    RowColumn(
        "l0", "UBIGINT", "L0's part of it", lambda x, t, n: t.nanoseconds(x.l0) if x.entry else None
    ),
    RowColumn(
        "l1", "UBIGINT", "L1's part of it", lambda x, t, n: t.nanoseconds(x.l1) if x.entry else None
    ),
    RowColumn("traps", "UINTEGER", "of L1 meanwhile, its ERET included", _plain(lambda x: x.traps)),
    RowColumn("cause", "VARCHAR", "what L2 did", _plain(lambda x: x.cause)),
    RowColumn("class", "VARCHAR", "its exception class", _plain(lambda x: class_of(x.trap))),
    RowColumn(
        "register",
        "VARCHAR",
        "register or instruction",
        _plain(lambda x: register_of(x.trap) or None),
    ),
    RowColumn("pc", "UBIGINT", "where in L2", _plain(lambda x: x.trap.pc)),
    RowColumn(
        "function",
        "VARCHAR",
        "the function of L2's kernel",
        lambda x, t, n: n.function(x.trap.source, x.trap.pc) or None,
    ),
    RowColumn(
        "ipa",
        "UBIGINT",
        "of a stage-2 fault",
        _plain(lambda x: x.trap.ipa if x.trap.flags & Flag.IPA_VALID else None),
    ),
    RowColumn("vmid", "UINTEGER", "which guest", _plain(lambda x: vmid_of(x.trap))),
    RowColumn(
        "to_vmid",
        "UINTEGER",
        "which was entered then",
        lambda x, t, n: vmid_of(x.entry) if x.entry else None,
    ),
)


def event_row(event: Event, trace: Recording, names: Names) -> Iterator[object]:
    """Give the values of an event's columns."""
    return (column.make(event, trace, names) for column in EVENT_COLUMNS)


def exit_row(found: Exit, trace: Recording, names: Names) -> Iterator[object]:
    """Give the values of an exit's columns."""
    return (column.make(found, trace, names) for column in EXIT_COLUMNS)

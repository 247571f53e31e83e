"""Would this access have trapped to vEL2? One question, answered from one table of control bits.

The table is `arch.controls`, which says which bit of which register covers an encoding. This module
turns it into a sorted list of (trap key, control), and each control into clauses. A control asks
for the trap when all conditions of one of its clauses hold in L1's registers. Registers of features
that are hidden from the VM are looked up first: they do not exist for L1, so none of its controls
can make them trap.

The fine-grained registers are in `finegrained`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from vel2.arch import controls as arch_controls
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, TrapKey
from vel2.arch.features import HIDDEN_REGISTERS
from vel2.arch.trap_rows import RANGES, Combination, Control, Irregular
from vel2.hyp import controls
from vel2.hyp.hcr import NESTED, l1_hcr, l1_nesting
from vel2.hyp.homes import slot
from vel2.hyp.state import Vcpu, page_of
from vel2.lang import inline, resident, u64

__all__ = ("CONTROLS", "HIDDEN", "asks", "control_of")


class Source(IntEnum):
    """A register of L1 that holds controls."""

    HCR_EL2 = 0
    HCRX_EL2 = 1
    ICH_HCR_EL2 = 2
    MDCR_EL2 = 3
    CPTR_EL2_E2H = 4
    CNTHCTL_EL2_E2H = 5


@dataclass(frozen=True)
class Condition:
    """`source & mask == value`."""

    source: Source
    mask: int
    value: int


@dataclass(frozen=True)
class Clause:
    """Conditions that must all hold, and the directions of access they are for."""

    conditions: tuple[Condition, ...]
    reads: bool
    writes: bool


@dataclass(frozen=True)
class AskedControl:
    """One control as its clauses."""

    index: int
    name: str
    clauses: tuple[Clause, ...]


ALWAYS = Clause((), True, True)


def _clauses(name: str) -> Iterator[Clause]:
    """Yield the clauses of a control, combinations multiplied out."""
    control = arch_controls.BY_NAME[name]
    if isinstance(control, Control):
        field = sr.by_name(control.register).field(control.field)
        mask = (field.ones if control.mask is None else control.mask) << field.lsb
        condition = Condition(Source[control.register], mask, control.traps_when << field.lsb)
        yield Clause((condition,), control.reads, control.writes)
    elif isinstance(control, Combination) and control.need_all:
        merged = [ALWAYS]
        for part in control.parts:
            merged = [_both(a, b) for a in merged for b in _clauses(part)]
        yield from merged
    elif isinstance(control, Combination):
        for part in control.parts:
            yield from _clauses(part)
    elif not isinstance(control, Irregular):
        raise TypeError(f"control {name} is of no known kind")


def _both(a: Clause, b: Clause) -> Clause:
    return Clause(a.conditions + b.conditions, a.reads and b.reads, a.writes and b.writes)


HIDDEN = 0
"""The index that stands for a register that does not exist for the VM."""


def _table() -> tuple[tuple[AskedControl, ...], dict[int, int]]:
    """Make the rows of the controls in use, and the map from trap key to their index."""
    names = sorted({*arch_controls.EXACT.values(), *(span.control for span in RANGES)})
    rows = tuple(
        AskedControl(index, name, tuple(_clauses(name)))
        for index, name in enumerate(names, start=HIDDEN + 1)
    )
    index_of = {row.name: row.index for row in rows}
    routes = {key: index_of[name] for key, name in arch_controls.EXACT.items()}
    for register in HIDDEN_REGISTERS:
        routes[register.trap_key] = HIDDEN
    return rows, routes


CONTROLS, ROUTES = _table()
KEYS = tuple(sorted(ROUTES))
INDICES = tuple(ROUTES[key] for key in KEYS)


@dataclass(frozen=True)
class KeyRange:
    """Encodings under one control by number, as a mask over the trap key and bounds of CRm."""

    mask: int
    match: int
    first_CRm: int
    last_CRm: int
    index: int


def _ranges() -> Iterator[KeyRange]:
    index_of = {row.name: row.index for row in CONTROLS}
    for span in RANGES:
        for CRn in range(span.CRn[0], span.CRn[1] + 1):
            every_op1 = span.op1 == (0, 7)
            first = Encoding(span.op0, span.op1[0], CRn, 0, 0).trap_key
            mask = Encoding(3, 0 if every_op1 else 7, 15, 0, 0).trap_key
            if not every_op1 and span.op1[0] != span.op1[1]:
                raise TypeError(f"range {span} covers some values of op1 only")
            yield KeyRange(mask, first & mask, *span.CRm, index_of[span.control])


KEY_RANGES = tuple(_ranges())
NOT_FOUND = len(CONTROLS) + 1

ICH_HCR_SLOT = slot(sr.ICH_HCR_EL2)
HCRX_SLOT = slot(sr.HCRX_EL2)


@resident
def control_of(key: u64) -> u64:
    """Find the index of the control over an encoding, or `NOT_FOUND`."""
    low = u64(0)
    high = u64(len(KEYS))
    while low < high:
        middle = u64(low + high) >> 1
        if KEYS[middle] < key:
            low = u64(middle + 1)
        else:
            high = middle
    if low < len(KEYS) and KEYS[low] == key:
        return INDICES[low]
    for span in KEY_RANGES:
        if (
            key & span.mask == span.match
            and span.first_CRm <= TrapKey.CRm.get(key) <= span.last_CRm
        ):
            return span.index
    return NOT_FOUND


@inline
def value_of(vcpu: Vcpu, source: u64) -> u64:
    """Give the value of a control register of L1, while vEL1 runs."""
    if source == Source.HCR_EL2:
        return l1_hcr(vcpu) & (controls.HCR_FROM_L1 & ~NESTED) | l1_nesting(vcpu)
    if source == Source.HCRX_EL2:
        return page_of(vcpu).slot[HCRX_SLOT]
    if source == Source.ICH_HCR_EL2:
        return page_of(vcpu).slot[ICH_HCR_SLOT]
    if source == Source.MDCR_EL2:
        return vcpu.vel2.memory[controls.MDCR_INDEX]
    if source == Source.CPTR_EL2_E2H:
        return controls.l1_cptr(vcpu)
    return controls.l1_cnthctl(vcpu, vcpu.vel2.el1[controls.CNTKCTL_INDEX])


@resident
def asks(vcpu: Vcpu, index: u64, is_read: bool) -> bool:
    """Whether L1 has set the control with this index, for this direction of access."""
    for row in CONTROLS:
        if index == row.index:
            for clause in row.clauses:
                met = (is_read and clause.reads) or (not is_read and clause.writes)
                for condition in clause.conditions:
                    if value_of(vcpu, condition.source) & condition.mask != condition.value:
                        met = False
                if met:
                    return True
            return False
    return False

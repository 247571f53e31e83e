"""What a field of a register makes trap to EL2: `arch.controls` read the other way round.

The tables say for each access which control covers it, because that is what `hyp.routing` asks.
Here the question is which accesses a field covers. Families stay families: `DBGBVR<n>_EL1`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from vel2.arch.bits import Field, Layout
from vel2.arch.controls import FINE
from vel2.arch.trap_rows import (
    CLASS_ROWS,
    COARSE_ROWS,
    CONTROLS,
    FINE_INSNS,
    FINE_OTHER,
    FINE_READ_WRITE,
    RANGES,
    CoarseRow,
    Combination,
    Control,
    Irregular,
    RangeRow,
)

__all__ = ("Effect", "conditions_of", "effects_of")

FINE_READS = {reads for reads, _ in FINE_READ_WRITE}
INSTRUCTIONS = frozenset(FINE_INSNS)
ROWS: tuple[CoarseRow | RangeRow, ...] = (*COARSE_ROWS, *RANGES)


@dataclass(frozen=True)
class Effect:
    """One group of accesses that a field makes trap.

    :ivar traps_when: the field's value (under its control's mask) that asks for the trap.
    :ivar mask: the part of the field that matters.
    :ivar direction: `reads`, `writes`, `accesses` or `executions`; empty for traps of a class of
        their own.
    :ivar names: registers and instructions, families as `DBGBVR<n>_EL1`; or what the class is of.
    :ivar besides: what else must hold; empty when the field suffices.
    """

    traps_when: int
    mask: int
    direction: str
    names: tuple[str, ...]
    besides: str = ""

    def acts(self, value: int) -> bool:
        """Whether a field with this value asks for the trap."""
        return value & self.mask == self.traps_when

    def text(self, limit: int | None = 8) -> str:
        """Say it in a line, with at most `limit` names."""
        shown = self.names if limit is None else self.names[:limit]
        more = len(self.names) - len(shown)
        names = " ".join(shown) + (f" and {more} more" if more else "")
        besides = f", if {self.besides}" if self.besides else ""
        return f"{self.direction} of {names}{besides}" if self.direction else names + besides


@cache
def effects_of(field: Field) -> tuple[Effect, ...]:
    """Give what a field makes trap, coarse controls first."""
    register = field.register
    found = [*_coarse(register, field), *_fine(register, field), *_of_classes(register, field)]
    return tuple(dict.fromkeys(found))


def conditions_of(control: str) -> str:
    """Say when a control asks for a trap, as in `HCR_EL2.TVM is 1`."""
    row = BY_NAME[control]
    if isinstance(row, Control):
        part = "" if row.mask is None else f" & {row.mask:#x}"
        return f"{row.register}.{row.field}{part} is {row.traps_when:#x}".replace("0x", "")
    if isinstance(row, Irregular):
        return row.rule[0].lower() + row.rule[1:].rstrip(".")
    joint = " and " if row.need_all else " or "
    return joint.join(_nested(part, row.need_all) for part in row.parts)


BY_NAME: dict[str, Control | Combination | Irregular] = {row.name: row for row in CONTROLS}


def _nested(control: str, inside_all: bool) -> str:
    row = BY_NAME[control]
    text = conditions_of(control)
    return f"({text})" if isinstance(row, Combination) and inside_all != row.need_all else text


def _reached(control: str) -> Iterator[tuple[str, str]]:
    """Yield every control that this one is, or is a part of, and what else that needs."""
    yield control, ""
    for row in CONTROLS:
        if not isinstance(row, Combination) or control not in row.parts:
            continue
        others = [part for part in row.parts if part != control] if row.need_all else []
        own = " and ".join(_nested(part, True) for part in others)
        for name, besides in _reached(row.name):
            yield name, " and ".join(filter(None, (own, besides)))


def _names(row: CoarseRow | RangeRow) -> tuple[str, ...]:
    if isinstance(row, RangeRow):
        op1 = _span(row.op1)
        return (f"S{row.op0}_{op1}_C{_span(row.CRn)}_C{_span(row.CRm)}_<op2>",)
    return tuple(_readable(name) for name in row.names.split())


def _span(bounds: tuple[int, int]) -> str:
    low, high = bounds
    return str(low) if low == high else f"<{low}-{high}>"


def _readable(name: str) -> str:
    """Write a name of the rows as Arm does: `TLBI VAE1`, `DBGBVR<n>_EL1`."""
    return name.replace(".", " ").replace("*", "<n>")


def _coarse(register: type[Layout], field: Field) -> Iterator[Effect]:
    for control in CONTROLS:
        if not isinstance(control, Control):
            continue
        if (control.register, control.field) != (register.name, field.name):
            continue
        direction = "accesses"
        if not (control.reads and control.writes):
            direction = "reads" if control.reads else "writes"
        mask = field.ones if control.mask is None else control.mask
        gathered: dict[str, list[str]] = {}
        for name, besides in _reached(control.name):
            for row in ROWS:
                if row.control == name:
                    gathered.setdefault(besides, []).extend(_names(row))
        for besides, names in gathered.items():
            yield Effect(control.traps_when, mask, direction, tuple(names), besides)


def _fine(register: type[Layout], field: Field) -> Iterator[Effect]:
    names: dict[str, None] = {}
    besides = ""
    for fine in FINE.values():
        if (fine.register, fine.field) == (register.name, field.name):
            names |= dict.fromkeys(_readable(name) for name in fine.row.names.split())
            besides = f"HCRX_EL2.{fine.filter} is 0" if fine.filter else ""
    when = int(not field.negative)
    if names:
        direction = "reads" if register.name in FINE_READS else "writes"
        if register.name in INSTRUCTIONS:
            direction = "executions"
        yield Effect(when, field.ones, direction, tuple(names), besides)
    for other in FINE_OTHER:
        if (other.register, other.field) == (register.name, field.name):
            yield Effect(when, field.ones, "", (other.what,))


def _of_classes(register: type[Layout], field: Field) -> Iterator[Effect]:
    for row in CLASS_ROWS:
        if (row.register, row.field) == (register.name, field.name):
            for value in row.traps_when:
                yield Effect(value, field.ones, "", (row.what,))

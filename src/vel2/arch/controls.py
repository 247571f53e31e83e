"""Trap controls: which bit would make an access trap to EL2.

An access has at most one coarse control (a bit of HCR_EL2, MDCR_EL2 and so on, or a combination
of bits) and at most one fine-grained bit for reads and one for writes. The rows stand in
`trap_rows`; this module checks them against the registers and instructions of `arch` and makes
the tables that code and tests ask. Values of registers are given by the caller: nothing here
knows a vCPU.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vel2.arch import insn, sysregs
from vel2.arch.bits import Encoding, Field
from vel2.arch.trap_rows import (
    COARSE_ROWS,
    CONTROLS,
    E2H1_LAYOUT,
    FINE_INSNS,
    FINE_OTHER,
    FINE_READ_WRITE,
    FINE_ROWS,
    RANGES,
    CoarseRow,
    Combination,
    Control,
    FineOther,
    FineRow,
    Irregular,
    RangeRow,
)

AnyControl = Control | Combination | Irregular


class Coarse(NamedTuple):
    """The control over one encoding, and the row that says so."""

    control: str
    row: CoarseRow | RangeRow


class Fine(NamedTuple):
    """The fine-grained bit over one direction of one encoding."""

    register: str
    field: str
    polarity: int
    """Value of the bit that traps."""
    filter: str | None
    """HCRX_EL2 field that, while 1, switches this trap off."""
    row: FineRow


class Controls(NamedTuple):
    """All controls over one encoding."""

    coarse: str | None
    read: Fine | None
    write: Fine | None


def index_controls(controls: Iterable[AnyControl]) -> dict[str, AnyControl]:
    """Check the controls and map them by name.

    :raises TypeError: a name twice, a part, register or field that does not exist, a value no
        field can have.
    """
    by_name: dict[str, AnyControl] = {}
    for control in controls:
        if control.name in by_name:
            raise TypeError(f"control {control.name} is declared twice; keep one.")
        if isinstance(control, Combination):
            for part in control.parts:
                if part not in by_name:
                    raise TypeError(
                        f"control {control.name}: its part {part} is not declared before it."
                    )
        elif isinstance(control, Control):
            _check_control(control)
        by_name[control.name] = control
    return by_name


def _check_control(control: Control) -> None:
    try:
        field = sysregs.by_name(control.register).field(control.field)
    except (KeyError, TypeError) as error:
        raise TypeError(f"control {control.name}: {error.args[0]}") from None
    if control.register in E2H1_LAYOUT.values():
        raise TypeError(
            f"control {control.name}: {control.register} changes layout with E2H;"
            f" name {control.register}_E2H."
        )
    mask = field.ones if control.mask is None else control.mask
    if control.traps_when & ~mask or mask & ~field.ones:
        raise TypeError(
            f"control {control.name}: {control.field} & {mask:#x} can not be"
            f" {control.traps_when:#x}; the field has bits {field.bits}."
        )
    if not (control.reads or control.writes):
        raise TypeError(f"control {control.name} traps neither reads nor writes.")


def expand(names: str, row: str) -> list[tuple[str, int]]:
    """Resolve the names of a row to (name, trap key).

    :param row: what to call the row in a message.
    :raises TypeError: a name that is neither a register nor an instruction, or a family
        without members.
    """
    found: list[tuple[str, int]] = []
    for name in names.split():
        if "*" in name:
            members = [r for r in sysregs.ALL_REGISTERS if _in_family(r.name, name)]
            if not members:
                raise TypeError(f"{row}: no register is called {name}.")
            found += [(r.name, r.trap_key) for r in members]
        elif "." in name:
            try:
                found.append((name, insn.by_name(name.replace(".", " ")).trap_key))
            except KeyError as error:
                raise TypeError(f"{row}: {error.args[0]}") from None
        else:
            try:
                found.append((name, sysregs.by_name(name).trap_key))
            except KeyError as error:
                raise TypeError(f"{row}: {error.args[0]}") from None
    return found


def _in_family(name: str, pattern: str) -> bool:
    """Tell whether each `*` of `pattern` stands for a number in `name`."""
    if not fnmatch.fnmatchcase(name, pattern):
        return False
    pieces = pattern.split("*")
    rest = name
    for before, after in itertools.pairwise(pieces):
        rest = rest.removeprefix(before)
        digits = len(rest) - len(rest.lstrip("0123456789"))
        if digits == 0 or not rest[digits:].startswith(after):
            return False
        rest = rest[digits:]
    return rest == pieces[-1]


def index_coarse(
    rows: Iterable[CoarseRow], ranges: Iterable[RangeRow], controls: Mapping[str, AnyControl]
) -> tuple[dict[int, Coarse], dict[int, Coarse]]:
    """Check the coarse rows; map trap keys named one by one, and those and the ranges.

    :raises TypeError: unknown control or name, or an access that two rows cover differently.
    """
    exact: dict[int, Coarse] = {}
    for row in rows:
        if row.control not in controls:
            raise TypeError(f"row {row.control}: no such control.")
        for name, key in expand(row.names, f"row {row.control}"):
            if key in exact:
                raise TypeError(
                    f"row {row.control}: {name} is covered by row {exact[key].control} too."
                )
            exact[key] = Coarse(row.control, row)
    every = dict(exact)
    for span in ranges:
        if span.control not in controls:
            raise TypeError(f"row {span.control}: no such control.")
        for key in range_keys(span):
            other = every.setdefault(key, Coarse(span.control, span))
            if other.control != span.control:
                where = Encoding(span.op0, span.op1[0], span.CRn[0], span.CRm[0], 0)
                raise TypeError(
                    f"row {span.control}: the range from {where.generic_name} overlaps"
                    f" row {other.control}."
                )
    return exact, every


def range_keys(span: RangeRow) -> Iterable[int]:
    """Give every trap key in a range."""
    for op1 in range(span.op1[0], span.op1[1] + 1):
        for CRn in range(span.CRn[0], span.CRn[1] + 1):
            for CRm in range(span.CRm[0], span.CRm[1] + 1):
                for op2 in range(8):
                    yield Encoding(span.op0, op1, CRn, CRm, op2).trap_key


def index_fine(
    rows: Iterable[FineRow], others: Iterable[FineOther]
) -> dict[tuple[int, bool], Fine]:
    """Check the fine-grained rows; map (trap key, is it a read) to the bit.

    A field without a row covers the register it is named after.

    :raises TypeError: a field that covers nothing, a row for no field, a polarity the name does
        not show, an access that two bits cover.
    """
    by_field: dict[str, list[FineRow]] = {}
    for row in rows:
        by_field.setdefault(row.field, []).append(row)
    used: set[str] = set()
    apart = {(other.register, other.field) for other in others}
    table: dict[tuple[int, bool], Fine] = {}
    for register, is_read in _fine_registers():
        for field in sysregs.by_name(register).fields:
            if field.mask & ~sysregs.by_name(register).known or (register, field.name) in apart:
                continue
            _check_polarity(field)
            used.add(field.name)
            own = by_field.get(field.name) or [FineRow(field.name, _namesake(field))]
            for row in own:
                _cover(table, field, row, is_read)
    for name in by_field:
        if name not in used:
            raise TypeError(f"row {name}: no fine-grained trap register has this field.")
    for other in others:
        sysregs.by_name(other.register).field(other.field)
    return table


def _fine_registers() -> Iterable[tuple[str, bool]]:
    for reads, writes in FINE_READ_WRITE:
        yield reads, True
        if writes is not None:
            yield writes, False
    for register in FINE_INSNS:
        yield register, False


def _check_polarity(field: Field) -> None:
    shown = field.name[0] == "n" and field.name[1].isupper()
    if shown != field.negative:
        raise TypeError(
            f"{field.full_name}: a name with a leading n, and only that, is an enable;"
            f" the field says negative={field.negative}."
        )


def _namesake(field: Field) -> str:
    return field.name.removeprefix("n") if field.negative else field.name


def _cover(table: dict[tuple[int, bool], Fine], field: Field, row: FineRow, is_read: bool) -> None:
    entry = Fine(field.register.name, field.name, int(not field.negative), row.filter, row)
    for name, key in expand(row.names, field.full_name):
        register = sysregs.by_key(key)
        if register is not None and register.access == ("WO" if is_read else "RO"):
            continue
        if (key, is_read) in table:
            other = table[key, is_read]
            raise TypeError(
                f"{field.full_name}: {name} is covered by {other.register}.{other.field} too."
            )
        table[key, is_read] = entry


BY_NAME: dict[str, AnyControl] = index_controls(CONTROLS)

_EXACT, _EVERY = index_coarse(COARSE_ROWS, RANGES, BY_NAME)

EXACT: dict[int, str] = {key: entry.control for key, entry in _EXACT.items()}
"""Trap key to control, without `RANGES`: for tables that test the ranges by number."""

COARSE: dict[int, str] = {key: entry.control for key, entry in _EVERY.items()}
"""Trap key to control, ranges spelled out."""

FINE: dict[tuple[int, bool], Fine] = index_fine(FINE_ROWS, FINE_OTHER)
"""(Trap key, is it a read) to fine-grained bit; an instruction counts as a write."""


def controls_of(trap_key: int) -> Controls:
    """Give all controls over an access."""
    return Controls(COARSE.get(trap_key), FINE.get((trap_key, True)), FINE.get((trap_key, False)))


def row_of(trap_key: int) -> CoarseRow | RangeRow | None:
    """Give the row that puts `trap_key` under its coarse control."""
    entry = _EVERY.get(trap_key)
    return None if entry is None else entry.row


def traps(name: str, values: Mapping[str, int], *, is_read: bool) -> bool | None:
    """Decide one control for register values given by name, E2H = 1 layouts under their names.

    :return: None if the answer hangs on an irregular control, which only code can decide.
    """
    control = BY_NAME[name]
    if isinstance(control, Irregular):
        return None
    if isinstance(control, Control):
        if not (control.reads if is_read else control.writes):
            return False
        field = sysregs.by_name(control.register).field(control.field)
        mask = field.ones if control.mask is None else control.mask
        return field.get(values[control.register]) & mask == control.traps_when
    parts = [traps(part, values, is_read=is_read) for part in control.parts]
    settles = not control.need_all
    if settles in parts:
        return settles
    return None if None in parts else not settles


def fine_traps(fine: Fine, values: Mapping[str, int]) -> bool:
    """Decide a fine-grained bit for register values given by name."""
    if fine.filter is not None and sysregs.by_name("HCRX_EL2").field(fine.filter).get(
        values["HCRX_EL2"]
    ):
        return False
    field = sysregs.by_name(fine.register).field(fine.field)
    return field.get(values[fine.register]) == fine.polarity

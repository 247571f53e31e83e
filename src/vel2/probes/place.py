"""Where a probe is called: which traps, told by what hardware reports of them.

What a place says is compiled into the probe, in front of it, with constants: a trap that it is not
for costs a few instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from vel2.arch.esr import EC
from vel2.errors import UserError
from vel2.explain.register import key_named
from vel2.hyp.records import FIQ, IRQ, SERROR, SYNC
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.lang import resident

__all__ = ("BEGIN", "END", "SITES", "Place", "marked_place", "place_of", "probe")

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

BEGIN, END = "begin", "end"
SITES = (BEGIN, END)
"""Before L0 deals with a trap, and when it is done, with the guest's PC where it will go on."""
KINDS = {"IRQ": IRQ, "FIQ": FIQ, "SERROR": SERROR, "SYNC": SYNC}
LEVELS = {"vel2": CONTEXT_VEL2, "l1": CONTEXT_VEL2, "vel1": CONTEXT_VEL1, "l2": CONTEXT_VEL1}
_MARK = "__vel2_place__"


@dataclass(frozen=True)
class Place:
    """Which traps a probe is called at: those of which all that is given holds.

    :ivar ec: the exception class. :ivar kind: of exception (`hyp.records`), if not synchronous.
    :ivar key: trap key of the system register or instruction. :ivar is_read: whether it is read.
    :ivar context: which context trapped. :ivar pc: the first address, and the first behind.
    :ivar site: one of `SITES`.
    """

    ec: int | None = None
    kind: int | None = None
    key: int | None = None
    is_read: bool | None = None
    context: int | None = None
    pc: tuple[int, int] | None = None
    site: str = BEGIN

    def __str__(self) -> str:
        parts = []
        if self.ec is not None:
            parts.append(EC(self.ec).name if self.ec in EC.__members__.values() else hex(self.ec))
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("ec", "site") and value is not None:
                parts.append(f"{each.name}={value}")
        return f"{self.site} of {', '.join(parts) or 'every trap'}"


def place_of(
    *,
    trap: str | int | None = None,
    sysreg: str | None = None,
    access: str | None = None,
    level: str | None = None,
    pc: int | tuple[int, int] | None = None,
    at: str = BEGIN,
) -> Place:
    """Say where a probe is called, in names.

    :param trap: an exception class (`ERET`, `HVC64`, a number), or `IRQ`, `FIQ`, `SERROR`.
    :param sysreg: a system register or instruction (`HCR_EL2`, `TLBI VAE1IS`).
    :param access: `read` or `write`, of a system register.
    :param level: who trapped: `vel2` (`l1`) or `l2` (`vel1`).
    :param pc: an address, or the first and the one behind the last.
    :param at: `begin`, before L0 deals with it, or `end`.
    :raises UserError: when something is not what it should be.
    """
    ec, kind = _trap_named(trap)
    key = None if sysreg is None else key_named(sysreg)
    if key is not None:
        if ec not in (None, EC.SYS64) or kind is not None:
            raise UserError(f"{sysreg} traps as SYS64 and not as {trap}; leave one of the two out.")
        ec, kind = int(EC.SYS64), SYNC
    if isinstance(pc, int):
        pc = (pc, pc + 4)
    return Place(
        ec,
        kind,
        key,
        _one_of("access", access, {"read": True, "write": False}),
        _one_of("level", level, LEVELS),
        pc,
        _one_of("at", at, {each: each for each in SITES}) or BEGIN,
    )


ValueT = TypeVar("ValueT")


def _one_of(what: str, given: str | None, known: dict[str, ValueT]) -> ValueT | None:
    if given is None:
        return None
    found = known.get(given.lower())
    if found is None:
        raise UserError(f"{what} cannot be {given!r}; give one of {', '.join(known)}.")
    return found


def _trap_named(trap: str | int | None) -> tuple[int | None, int | None]:
    """Give the exception class, or the kind of exception, that a name stands for."""
    if trap is None:
        return None, None
    if isinstance(trap, str):
        name = trap.upper()
        if name in KINDS:
            return None, KINDS[name]
        if name in EC.__members__:
            return int(EC[name]), SYNC
        try:
            trap = int(trap, 0)
        except ValueError:
            raise UserError(
                f"{trap!r} is no exception class; give one such as ERET, HVC64 or 0x16, or IRQ,"
                " FIQ or SERROR."
            ) from None
    if not 0 <= trap < 64:
        raise UserError(f"{trap:#x} is no exception class; give 0 to 0x3f.")
    return int(trap), SYNC


def probe(**place: Any) -> Callable[[FunctionT], FunctionT]:
    """Mark a function as a probe, and say where it is called; parameters as of `place_of`."""
    found = place_of(**place)

    def mark(function: FunctionT) -> FunctionT:
        setattr(resident(function), _MARK, found)
        return function

    return mark


def marked_place(function: object) -> Place | None:
    """Give the place that a function was marked with; None if it is no probe."""
    return getattr(function, _MARK, None)

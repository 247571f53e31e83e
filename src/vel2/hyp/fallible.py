"""Instructions of L0 that a guest can make abort: the exception table of EL2.

L0 translates by a guest's tables (AT), reads L1's tables, and sets flags in them. Whatever software
has checked before, hardware's own walk is what counts. If that walk meets a table where nothing
answers, the instruction takes a synchronous External abort, to EL2 itself. So each such instruction
is the first of a stub (`stubs.fallible_calls`), and the vector for exceptions from EL2 checks
whether ELR_EL2 points at one. If it does, the stub returns 0. Every other exception from EL2 is a
bug of ours and FATAL.

No field announces that an abort is expected, so there is nothing to forget, and it works on every
pcpu. ELR_EL2 and SPSR_EL2 are lost, but the guest's values are in its `Vcpu` before any resident
code runs; ESR_EL2 is the abort's, and tells its level.
"""

from collections.abc import Callable

from vel2.arch import sysregs as sr
from vel2.arch.esr import ISS_DABT
from vel2.arch.insn import AT, SysInsn
from vel2.hyp.records import Walk
from vel2.lang import (
    PA,
    SimulatedAbort,
    compare_exchange_u64,
    extern,
    inline,
    isb,
    load_u64,
    mrs,
    sysop,
    u64,
)

__all__ = (
    "STUBS",
    "abort_status",
    "try_at_s1e0r",
    "try_at_s1e0w",
    "try_at_s1e1r",
    "try_at_s1e1rp",
    "try_at_s1e1w",
    "try_at_s1e1wp",
    "try_exchange",
    "try_load_entry",
)

WALK_STATUS = ISS_DABT.DFSC.mask | ISS_DABT.S1PTW.mask


def _attempt(action: Callable[[], object]) -> int:
    """Do in a simulation what a stub does on the machine."""
    try:
        action()
    except SimulatedAbort:
        return 0
    return 1


def _translate(instruction: SysInsn, va: int) -> None:
    """Run an AT, and what makes its result readable."""
    sysop(instruction, va)
    isb()


@extern("try_at_s1e1r")
def try_at_s1e1r(va: u64) -> u64:
    """Run AT S1E1R and ISB: 1, with the result in PAR_EL1, or 0 if it aborted."""
    return _attempt(lambda: _translate(AT.S1E1R, va))


@extern("try_at_s1e1w")
def try_at_s1e1w(va: u64) -> u64:
    """Run AT S1E1W; see `try_at_s1e1r`."""
    return _attempt(lambda: _translate(AT.S1E1W, va))


@extern("try_at_s1e0r")
def try_at_s1e0r(va: u64) -> u64:
    """Run AT S1E0R; see `try_at_s1e1r`."""
    return _attempt(lambda: _translate(AT.S1E0R, va))


@extern("try_at_s1e0w")
def try_at_s1e0w(va: u64) -> u64:
    """Run AT S1E0W; see `try_at_s1e1r`."""
    return _attempt(lambda: _translate(AT.S1E0W, va))


@extern("try_at_s1e1rp")
def try_at_s1e1rp(va: u64) -> u64:
    """Run AT S1E1RP; see `try_at_s1e1r`."""
    return _attempt(lambda: _translate(AT.S1E1RP, va))


@extern("try_at_s1e1wp")
def try_at_s1e1wp(va: u64) -> u64:
    """Run AT S1E1WP; see `try_at_s1e1r`."""
    return _attempt(lambda: _translate(AT.S1E1WP, va))


STUBS: tuple[tuple[str, SysInsn], ...] = (
    ("try_at_s1e1r", AT.S1E1R),
    ("try_at_s1e1w", AT.S1E1W),
    ("try_at_s1e0r", AT.S1E0R),
    ("try_at_s1e0w", AT.S1E0W),
    ("try_at_s1e1rp", AT.S1E1RP),
    ("try_at_s1e1wp", AT.S1E1WP),
)
"""Every AT there is a stub for."""


@extern("try_load_entry")
def try_load_entry(walk: Walk, address: PA) -> u64:
    """Read a descriptor of a guest into `walk.entry`: 1, or 0 if nothing answers there."""

    def load() -> None:
        walk.entry = load_u64(address)

    return _attempt(load)


@extern("try_exchange")
def try_exchange(walk: Walk, address: PA, expected: u64, value: u64) -> u64:
    """Replace a descriptor of a guest if it is `expected` (CASAL): 1, or 0 if that aborted.

    What was there before goes to `walk.entry`: only if that is `expected` is `value` there now.
    """

    def exchange() -> None:
        walk.entry = compare_exchange_u64(address, expected, value)

    return _attempt(exchange)


@inline
def abort_status() -> u64:
    """Give the fault status (with S1PTW) of the abort that made the last of these give 0."""
    return mrs(sr.ESR_EL2) & WALK_STATUS

"""What a payload sees at virtual EL2 otherwise than at real EL2, and must: each with the reason.

`saw` lines leave out by themselves what the architecture calls UNKNOWN (`runtime.saw`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vel2.arch.homes import Kind, Level

__all__ = ("DECLARED", "Difference", "declared", "undeclared")

MEMORY = (
    "FEAT_NV2 turns the access into one to the VNCR page, whether or not the register is shown; it"
    " has no effect"
)


FREQUENCY = (
    "only the highest Exception level may write CNTFRQ_EL0; below, a write is UNDEFINED, and that"
    " is taken to EL1, which is vEL2, without a trap that L0 could answer"
)
FLASH = (
    "a walk of QEMU's sets an access flag in the storage of a flash device, past the device; L0 can"
    " only store to the device, to which that is a command, and lets the access go on without"
)


DEVICE = (
    "hardware's walk reads a device as it reads memory; L0 reads none for a guest, since what a"
    " device does then may come as an SError, and gives an External abort on the walk"
)


@dataclass(frozen=True)
class Difference:
    """One check of one payload that fails at virtual EL2."""

    payload: str
    check: str
    reason: str
    kinds: tuple[Kind, ...] = tuple(Kind)
    """Kinds of virtual EL2 it is seen in."""
    levels: tuple[Level, ...] = tuple(Level)
    """And levels of hardware."""


DECLARED = (
    Difference("features", "cntpoff_el2", MEMORY, levels=(Level.NV2,)),
    Difference("features", "vncr_el2", MEMORY, levels=(Level.NV2,)),
    Difference("features", "cntfrq_el0-write", FREQUENCY),
    Difference("survival", "flash-access-flag", FLASH),
    Difference("survival", "table-in-device", DEVICE),
)


def declared(payload: str, el2: Kind, level: Level) -> set[str]:
    """Name the checks of a payload that are known to fail at virtual EL2."""
    return {
        row.check
        for row in DECLARED
        if row.payload == payload and el2 in row.kinds and level in row.levels
    }


def undeclared(payload: str, failures: Iterable[str], el2: Kind, level: Level) -> list[str]:
    """Give the failures (`not ok NAME ...`) at virtual EL2 that no row declares."""
    known = declared(payload, el2, level)
    return [line for line in failures if line.split()[2] not in known]

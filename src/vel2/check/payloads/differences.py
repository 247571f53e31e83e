"""What a payload sees at virtual EL2 otherwise than at real EL2, and must: each with the reason.

`saw` lines leave out by themselves what the architecture calls UNKNOWN (`runtime.saw`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ("DECLARED", "Difference", "undeclared")

MEMORY = (
    "FEAT_NV2 turns the access into one to the VNCR page, whether or not the register is shown; it"
    " has no effect (under FEAT_NV alone L0 answers from the same page)"
)


@dataclass(frozen=True)
class Difference:
    """One check of one payload that fails at virtual EL2."""

    payload: str
    check: str
    reason: str


DECLARED = (
    Difference("features", "cntpoff_el2", MEMORY),
    Difference("features", "hcrx_el2", MEMORY),
    Difference("features", "vncr_el2", MEMORY),
)


def undeclared(payload: str, failures: Iterable[str]) -> list[str]:
    """Give the failures (`not ok NAME ...`) at virtual EL2 that no row declares."""
    declared = {row.check for row in DECLARED if row.payload == payload}
    return [line for line in failures if line.split()[2] not in declared]

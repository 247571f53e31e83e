"""The vel2s inside the first (`--depth`): what each counted, and whether it stopped itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vel2.control.session import Session

if TYPE_CHECKING:  # it brings in the compiler, and most runs have one vel2 only
    from vel2.control.counters import TrapCount

__all__ = ("Inner", "inner_levels")


@dataclass(frozen=True)
class Inner:
    """A vel2 that is a guest.

    :ivar level: as it counts from the machine: L1 is the guest of L0.
    :ivar fatal: why it stopped itself; empty if it did not.
    """

    level: str
    traps: list["TrapCount"]
    by_sysreg: dict[str, int]
    fatal: str


def inner_levels(session: Session, depth: int) -> list[Inner]:
    """Give the inner vel2s of a machine that has ended, from the outermost to the innermost."""
    if depth == 1:
        return []
    from vel2.control import counters
    from vel2.control.vm import Vm
    from vel2.pack.nested import inner_l0s

    assert isinstance(session, Vm)
    found = []
    for number, l0 in enumerate(inner_l0s(session), 1):
        # An L0 that cannot start says so by its own words on the console.
        fatal = l0.fatal
        found.append(
            Inner(
                f"L{number}",
                counters.traps(l0.vcpus),
                counters.sysreg_traps(l0.vcpus),
                f"L{number}'s {str(fatal)[0].lower()}{str(fatal)[1:]}" if fatal else "",
            )
        )
    return found

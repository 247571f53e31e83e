"""How long L0 held its locks, read from its memory."""

from collections.abc import Mapping
from dataclasses import dataclass

from vel2.hyp.state import Lock

__all__ = ("LockTime", "lock_times")


@dataclass(frozen=True)
class LockTime:
    """What became of one lock.

    :ivar holds: how often it was taken. :ivar total_ns: how long it was held altogether.
    :ivar longest_ns: the longest hold. Time is the guest's: instructions when they are its clock.
    """

    name: str
    holds: int
    total_ns: int
    longest_ns: int


def lock_times(locks: Mapping[str, Lock], frequency: int) -> list[LockTime]:
    """List what was ever taken.

    :param frequency: of CNTPCT_EL0, which L0 measures by; 0 if L0 has not started.
    """
    if frequency == 0:
        return []

    def nanoseconds(ticks: int) -> int:
        return ticks * 1_000_000_000 // frequency

    return [
        LockTime(name, lock.served, nanoseconds(lock.total), nanoseconds(lock.longest))
        for name, lock in locks.items()
        if lock.served
    ]

"""Lock times, from L0's structures."""

from __future__ import annotations

from vel2.control.locks import LockTime, lock_times
from vel2.hyp.state import Lock


def lock(served: int, total: int, longest: int) -> Lock:
    """Make a lock as L0 leaves it."""
    made = Lock(bytearray(Lock.size))
    made.served, made.total, made.longest = served, total, longest
    return made


def test_ticks_become_nanoseconds() -> None:
    """Show times at the frequency of the machine's counter, and no row for what was never taken."""
    locks = {"stage 2": lock(4, 1000, 125), "GIC": lock(0, 0, 0)}
    assert lock_times(locks, 62_500_000) == [LockTime("stage 2", 4, 16_000, 2_000)]
    assert lock_times(locks, 1_000_000_000) == [LockTime("stage 2", 4, 1_000, 125)]


def test_l0_that_never_started_has_no_times() -> None:
    assert lock_times({"stage 2": lock(4, 1000, 125)}, 0) == []

"""What the program must print, computed by the host in Python's own integers."""

from collections.abc import Mapping
from functools import cache

from vel2.guests.parallel.work import ADDITIONS, ROUNDS, SLICE, SUM_SHIFT
from vel2.runtime.mix import FIRST, GAMMA, SECOND

__all__ = ("differences", "expected")

WORD = (1 << 64) - 1


def splitmix64(number: int) -> int:
    """Give what the generator whose state is `number` gives next."""
    x = (number + 1) * GAMMA & WORD
    x = (x ^ x >> 30) * FIRST & WORD
    x = (x ^ x >> 27) * SECOND & WORD
    return x ^ x >> 31


@cache
def expected(cpus: int) -> Mapping[str, int]:
    """Give what so many CPUs must come to, by the last part of the marker's name."""
    total = sum(splitmix64(number) for number in range(cpus * SLICE)) & WORD
    return {
        "parallel_cpus": cpus,
        "parallel_sum": total >> SUM_SHIFT,
        "parallel_pipe": cpus * ROUNDS,
        "parallel_futex": cpus * ROUNDS,
        "parallel_atomic": cpus * ADDITIONS,
        "parallel_locked": cpus * ADDITIONS,
        "parallel_stale": 0,
    }


def differences(cpus: int, found: Mapping[str, object]) -> list[str]:
    """Say what is not as it must be, in words; nothing when all is right."""
    return [
        f"{name} is {found.get(name, 'missing')}, not {right}"
        for name, right in expected(cpus).items()
        if found.get(name) != right
    ]

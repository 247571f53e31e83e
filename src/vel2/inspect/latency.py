"""How long a vCPU waits for a hook: measured by L0, on the guest's counter (`Mailbox.waited`)."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.errors import UserError
from vel2.inspect.boot import boot
from vel2.inspect.hooked import Answer, HookedTrap
from vel2.inspect.mailbox import word_of
from vel2.lang import Assembler, link_image

__all__ = ("RoundTrips", "measure")

GUEST = 0x4020_0000
WARM_UP = 200
"""Round trips that are not counted: QEMU translates L0, CPython fills its caches."""
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class RoundTrips:
    """How long each took. :ivar load: how many busy loops ran beside."""

    load: int
    microseconds: tuple[float, ...]

    def percentile(self, quantile: float) -> float:
        """Give the time that so many of them did not exceed."""
        ordered = sorted(self.microseconds)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    @property
    def tree(self) -> dict[str, object]:
        """Give it for a JSON file."""
        names = {"median_us": 0.5, "p90_us": 0.9, "p99_us": 0.99}
        found = {name: round(self.percentile(q), 2) for name, q in names.items()}
        return {"load": self.load, "count": len(self.microseconds), **found}


def measure(count: int, load: int) -> RoundTrips:
    """Measure round trips beside busy loops.

    :raises UserError: when there are not so many within five minutes.
    """
    ticks: list[int] = []
    done = threading.Event()
    machine = boot(load=((GUEST, _guest()),), entry=GUEST, memory="16M")
    waited = word_of("waited")

    @machine.on_trap(ec=EC.SYS64, level="vel2")
    def answer(trap: HookedTrap) -> Answer:
        ticks.append(int(machine.hooks.words_of(0)[waited]))
        if len(ticks) > count + WARM_UP:
            done.set()
        return trap.reads(0)

    with machine, busy(load):
        if not done.wait(TIMEOUT_S):
            raise UserError(f"a hook was not asked {count} times within {TIMEOUT_S:g} s.")
        frequency = int(machine.vm.state.probed.frequency)
    per_tick = 1e6 / frequency
    return RoundTrips(load, tuple(t * per_tick for t in ticks[WARM_UP + 1 :][:count]))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Have processes beside that do nothing but compute."""
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=_spin, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def _spin() -> None:
    while True:
        pass


def _guest() -> bytes:
    """Give an L1 that reads a register that traps, for ever."""
    a = Assembler("guest")
    a.label(".again")
    a.mrs(0, sr.ID_AA64MMFR0_EL1)
    a.b(".again")
    return link_image(GUEST, [a], align=16).data

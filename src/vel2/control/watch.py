"""Watch L0: a visit to EL2 that does not end is a bug of L0's, and is reported as one.

L0 takes no part in this, so it costs L0 nothing. From time to time the host looks at L0's counters
in shared memory. Every entry to EL2 counts in one of them, so while they move, visits end. If they
have not moved between two looks, a guest runs undisturbed, or the vCPU sleeps, or L0 has not
returned. QEMU is then asked for the vCPU's registers, which show its Exception level. EL2 at both
looks, with the same counters, is one visit.

A vCPU that is off, or that waits in the machine's firmware (CPU_SUSPEND), shows EL2 too, and L0 has
nothing to do with that.

The visit's length is measured in CPU time of the vCPU's own thread, not by the clock: on a busy
host a visit of a microsecond may take seconds. A vCPU that sleeps uses none, unless all of them run
in turn on one thread (`--deterministic`). Asking for registers changes nothing in the machine, so
deterministic runs stay the same. Only a machine that is about to be ended is stopped, so that its
PC is exact.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from vel2.hyp.pcpu import OFF
from vel2.hyp.state import Vcpu
from vel2.machine.qmp import Monitor, MonitorError
from vel2.machine.vcpu import LEVEL, PC, cpu_seconds, registers_of

__all__ = ("BUDGET_S", "Hang", "Watch")

BUDGET_S = 5.0
"""CPU time of the vCPU for one visit to EL2. The longest that is known, the start with 64 GiB of
memory, takes a fraction of it."""
PERIOD_S = 1.0
FIRMWARE = "firmware_call"
"""Where L0 is while the machine's firmware works, or waits (`hyp.firmware`)."""


Progress = tuple[int, ...]


@dataclass(frozen=True)
class Hang:
    """L0 did not leave EL2.

    :ivar seconds: CPU time it was seen to use there. :ivar where: symbol and source line.
    """

    seconds: float
    pc: int
    where: str

    def __str__(self) -> str:
        return (
            f"L0 hangs: it has been at EL2 for {self.seconds:.1f} s of CPU time,"
            f" pc={self.pc:#x} in {self.where}"
        )


def progress(vcpu: Vcpu, pool_used: int) -> Progress | None:
    """Give numbers of which one changes with each entry of a vCPU to EL2, and with each table made.

    A vCPU that is off has none. A pcpu that waits for another's lock makes no progress of its own;
    the holder is watched too.
    """
    if vcpu.power.state == OFF:
        return None
    counted = vcpu.counters
    return (
        counted.fast_eret,
        sum(counted.by_ec),
        *counted.irq,
        *counted.fiq,
        *counted.serror,
        pool_used,
    )


@dataclass
class Visit:
    """What is known of one vCPU.

    :ivar thread: QEMU's for it.
    :ivar seen: its `progress` when it was looked at. :ivar since: the CPU time its thread had used
        when it was first seen at EL2 with that; None when it has not been.
    :ivar seconds: what it has used since.
    """

    cpu: int
    thread: int
    seen: Progress | None = None
    since: float | None = None
    seconds: float = 0.0


class Watch:
    """Look at a running machine from a thread of its own until `end`.

    :param look: gives `progress` of a vCPU, by number; None for one that is off.
    :param name_of: names a place in L0.
    :param report: called once, on that thread, with a hang that was found.
    """

    def __init__(
        self,
        monitor: Monitor,
        look: Callable[[int], Progress | None],
        name_of: Callable[[int], str],
        report: Callable[[Hang], None],
    ) -> None:
        self._monitor = monitor
        self._look = look
        self._name_of = name_of
        self._report = report
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vel2-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; returns when nobody looks."""
        self._ended.set()
        if threading.current_thread() is not self._thread and self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            hang = self._find()
        except (MonitorError, OSError):  # the machine has ended
            return
        if hang is not None:
            self._report(hang)

    def _find(self) -> Hang | None:
        """Look until the end; give a hang if there is one."""
        cpus = self._monitor.execute("query-cpus-fast")
        visits = [Visit(cpu["cpu-index"], cpu["thread-id"]) for cpu in cpus]
        for visit in visits:
            visit.seen = self._look(visit.cpu)
        while not self._ended.wait(PERIOD_S):
            for visit in visits:
                if self._is_too_long(visit):
                    self._monitor.pause()
                    place = self._place(visit, self._look(visit.cpu))
                    if place is not None:
                        return Hang(visit.seconds, place, self._name_of(place))
                    self._monitor.resume()
                    visit.since = None
        return None

    def _place(self, visit: Visit, now: Progress | None) -> int | None:
        """Give where in L0 a vCPU is, if it has not been elsewhere since it was looked at."""
        if now is None or now != visit.seen:
            return None
        text = self._monitor.execute("human-monitor-command", registers_of(visit.cpu))
        level, pc = LEVEL.search(text), PC.search(text)
        if level is None or pc is None:
            raise MonitorError("QEMU's registers do not say where a vCPU is")
        place = int(pc[1], 16)
        if level[1] != "2" or self._name_of(place).startswith(FIRMWARE):
            return None
        return place

    def _is_too_long(self, visit: Visit) -> bool:
        """Look at one vCPU once more."""
        now = self._look(visit.cpu)
        if self._place(visit, now) is None:
            visit.seen, visit.since = now, None
        elif visit.since is None:
            visit.since = cpu_seconds(visit.thread)
        else:
            visit.seconds = cpu_seconds(visit.thread) - visit.since
            return visit.seconds >= BUDGET_S
        return False

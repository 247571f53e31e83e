"""Watch L0: a visit to EL2 that does not end is a bug of L0's, and is reported as one.

L0 takes no part in this, so it costs L0 nothing. From time to time the host looks at L0's counters
in shared memory. Every entry to EL2 counts in one of them, so while they move, visits end. If they
have not moved between two looks, a guest runs undisturbed, or the vCPU sleeps, or L0 has not
returned. QEMU is then asked for the vCPU's registers, which show its Exception level. EL2 at both
looks, with the same counters, is one visit.

The visit's length is measured in CPU time of the vCPU's own thread, not by the clock: on a busy
host a visit of a microsecond may take seconds. A vCPU that sleeps uses none. Asking for registers
changes nothing in the machine, so deterministic runs stay the same. Only a machine that is about to
be ended is stopped, so that its PC is exact.
"""

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vel2.hyp.state import Vcpu
from vel2.machine.qmp import Monitor, MonitorError

__all__ = ("BUDGET_S", "Hang", "Watch")

BUDGET_S = 5.0
"""CPU time of the vCPU for one visit to EL2. The longest that is known, the start with 64 GiB of
memory, takes a fraction of it."""
PERIOD_S = 1.0
PC = re.compile(r"\bPC=([0-9a-f]+)")
LEVEL = re.compile(r"\bPSTATE=.*\bEL(\d)[ht]\b")
USER_TIME, SYSTEM_TIME = 11, 12
"""Of the fields of /proc/PID/stat behind the command's name."""


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


def progress(vcpu: Vcpu, pool_used: int) -> tuple[int, ...]:
    """Give numbers of which one changes with each entry to EL2, and with each table made there."""
    counted = vcpu.counters
    return (
        counted.fast_eret,
        sum(counted.by_ec),
        *counted.irq,
        *counted.fiq,
        *counted.serror,
        pool_used,
    )


def cpu_seconds(thread: int) -> float:
    """Give the CPU time that a thread has used.

    :raises OSError: when it has ended.
    """
    text = Path(f"/proc/{thread}/task/{thread}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Look at a running machine from a thread of its own until `end`.

    :param look: gives `progress` of the machine's L0.
    :param name_of: names a place in L0.
    :param report: called once, on that thread, with a hang that was found.
    """

    def __init__(
        self,
        monitor: Monitor,
        look: Callable[[], tuple[int, ...]],
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
        thread = int(self._monitor.execute("query-cpus-fast")[0]["thread-id"])
        seen = self._look()
        since: float | None = None
        while not self._ended.wait(PERIOD_S):
            now = self._look()
            if now != seen or self._registers(LEVEL) != "2":
                seen, since = now, None
            elif since is None:
                since = cpu_seconds(thread)
            elif (used := cpu_seconds(thread) - since) >= BUDGET_S:
                self._monitor.pause()
                if self._look() == seen and self._registers(LEVEL) == "2":
                    pc = int(self._registers(PC), 16)
                    return Hang(used, pc, self._name_of(pc))
                self._monitor.resume()
                since = None
        return None

    def _registers(self, wanted: re.Pattern[str]) -> str:
        """Ask QEMU for the vCPU's registers; give what is wanted of them."""
        text = self._monitor.execute("human-monitor-command", {"command-line": "info registers"})
        found = wanted.search(text)
        if found is None:
            raise MonitorError(f"QEMU's registers do not say {wanted.pattern}")
        return found[1]

"""Whether a kernel that seems to have panicked really hangs, as Linux does without `panic=`.

The last line of a panic on the console proves little: `dmesg` or `cat` of an old log prints it too.
But a kernel that has panicked says nothing after it and spins, at EL1 or EL2, for ever; its other
CPUs sleep. One that is alive prints a prompt, runs user space, or sleeps altogether. So the
console, Exception levels and CPU time are looked at for some seconds. What the user types meanwhile
may be echoed.
"""

import threading
import time
from collections.abc import Callable

from vel2.machine.console import Console, Line
from vel2.machine.outcome import ends_panic
from vel2.machine.qmp import Monitor, MonitorError
from vel2.machine.vcpu import LEVEL, cpu_seconds, registers_of

__all__ = ("PanicWatch", "hangs")

LOOKS, PERIOD_S = 12, 0.25
LEAST_SHARE = 0.05
"""Of a host CPU. A vCPU that spins takes all it gets; one that sleeps, a hundredth.

Linux spins in WFE, in which QEMU 11.1 sleeps until the next event: that takes a tenth, and less
than this when others want the host's CPUs. So it is measured several times.
"""
WINDOWS = 5
TAIL_BYTES = 4096


def has_said_its_last(console: Console) -> bool:
    """Whether the end of a panic is the last that the guest has written, a line without end too."""
    lines = console.data[-TAIL_BYTES:].decode("utf-8", "replace").split("\n")
    said = [line.rstrip("\r") for line in lines if line.strip()]
    return bool(said) and ends_panic(Line(0, said[-1]))


def level_of(monitor: Monitor, cpu: int) -> int:
    """Ask for the Exception level of a vCPU.

    :raises MonitorError: when the machine has ended.
    """
    text = monitor.execute("human-monitor-command", registers_of(cpu))
    level = LEVEL.search(text)
    return 0 if level is None else int(level[1])


def hangs(console: Console, monitor: Monitor, ended: threading.Event) -> bool:
    """Look at a machine for some seconds; the guest has just written what may be its last line.

    :param ended: set when the machine has ended.
    :raises MonitorError: when it ends meanwhile.
    """
    cpus = monitor.execute("query-cpus-fast")
    threads = {int(cpu["thread-id"]) for cpu in cpus}
    typed = console.typed
    position, windows = -1, WINDOWS
    while True:
        if console.position != position:  # at first, and after an echo
            position, left = console.position, LOOKS
            began, used = time.monotonic(), sum(map(cpu_seconds, threads))
        if not has_said_its_last(console) and console.typed == typed:
            return False
        if any(level_of(monitor, cpu["cpu-index"]) == 0 for cpu in cpus):
            return False
        if left == 0:
            used = sum(map(cpu_seconds, threads)) - used
            share = used / (time.monotonic() - began)
            windows -= 1
            if share >= LEAST_SHARE or windows == 0:
                return share >= LEAST_SHARE
            position = -1
        left -= 1
        if ended.wait(PERIOD_S):
            return False


class PanicWatch:
    """Listen to a console for the end of a panic, and look into each, on a thread of its own.

    :param report: called once, on that thread, when the guest's kernel hangs.
    """

    def __init__(
        self,
        console: Console,
        monitor: Monitor,
        ended: threading.Event,
        report: Callable[[], None],
    ) -> None:
        self._console = console
        self._monitor = monitor
        self._ended = ended
        self._report = report
        self._lock = threading.Lock()
        self._signs = 0
        self._is_looking = False
        console.on_line(self._listen)

    def _listen(self, line: Line) -> None:
        if not ends_panic(line):
            return
        with self._lock:
            self._signs += 1
            if not self._is_looking:
                self._is_looking = True
                threading.Thread(target=self._look, name="vel2-panic", daemon=True).start()

    def _look(self) -> None:
        """Look into what was heard, and into what is heard meanwhile."""
        while True:
            with self._lock:
                signs = self._signs
            try:
                if hangs(self._console, self._monitor, self._ended):
                    self._report()
                    return
            except (MonitorError, OSError):  # the machine has ended
                return
            with self._lock:
                if self._signs == signs:
                    self._is_looking = False
                    return

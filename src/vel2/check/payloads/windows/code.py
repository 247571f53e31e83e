"""The instructions of payload `windows`: where the other CPUs start, and the guest they run."""

from vel2.arch import sysregs as sr
from vel2.check.payloads.library.watcher import TURNS, VALUE, emit_start
from vel2.lang import Assembler


def emit(a: Assembler) -> None:
    """Emit `windows_start` and the guest (`library.watcher`).

    The guest reads one register of its virtual EL2 and writes another: both are in the page at
    VNCR_EL2.
    """
    emit_start(a, "windows")
    a.label("windows_guest")
    a.mrs(1, sr.VTTBR_EL2)
    a.str(1, 2, VALUE)
    a.add(3, 3, 1)
    a.msr(sr.TPIDR_EL2, 3)
    a.str(3, 2, TURNS)
    a.b("windows_guest")

"""The instructions of payload `shared`: where the second CPU starts, and the guest it runs."""

from vel2.check.payloads.library.watcher import TURNS, VALUE, emit_start
from vel2.lang import Assembler

WINDOW = 0x1_2345_6000
"""Where the guest looks: the one page that the first CPU maps now here and now there."""


def emit(a: Assembler) -> None:
    """Emit `shared_start` and the guest (`library.watcher`)."""
    emit_start(a, "shared")
    a.label("shared_guest")
    a.mov_imm(0, WINDOW)
    a.label("shared_look")
    a.ldr(1, 0)
    a.str(1, 2, VALUE)
    a.add(3, 3, 1)
    a.str(3, 2, TURNS)
    a.b("shared_look")

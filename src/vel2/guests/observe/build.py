"""Build the program: a static arm64 ELF file."""

from vel2.guests.observe.main import observe_main
from vel2.lang import Assembler
from vel2.runtime.process import build_process


def measured_code() -> Assembler:
    """Give the code that is counted and traced."""
    a = Assembler("measured")
    # turn(n): two instructions n times.
    a.label("turn")
    a.sub(0, 0, 1)
    a.cbnz(0, "turn")
    a.ret()
    # traced(address): what the tracer breaks at, steps, and watches.
    a.label("traced")
    a.label("traced_code")
    for _ in range(4):
        a.nop()
    a.str(0, 0)
    a.ret()
    return a


def build_observe() -> bytes:
    """Compile the program."""
    return build_process(observe_main, measured_code())

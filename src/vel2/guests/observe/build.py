"""Building the program: a static arm64 ELF file."""

from vel2.guests.observe.main import observe_main
from vel2.lang import build_object, link_elf
from vel2.lang.asm import Assembler
from vel2.runtime.process import ELF_BASE, entry_and_syscall

NOP = 0xD503_201F


def stubs() -> Assembler:
    """Give the entry point, the system call, and the code that is counted and traced."""
    a = entry_and_syscall("observe_main")
    # turn(n): two instructions n times.
    a.label("turn")
    a.sub(0, 0, 1)
    a.cbnz(0, "turn")
    a.ret()
    # traced(address): what the tracer breaks at, steps, and watches.
    a.label("traced")
    a.label("traced_code")
    for _ in range(4):
        a.word(NOP)
    a.str(0, 0)
    a.ret()
    return a


def build_observe() -> bytes:
    """Compile the program."""
    main = build_object((observe_main,), mode="userspace")
    return link_elf(main, [stubs()], ELF_BASE, "_start")

"""A static Linux program: its entry point, its system calls, and how it is built.

The kernel starts it with argc, argv and the environment on the stack. `_start` first reads the
counter, so that a program can tell when its process began. Then it calls the main function with the
address of argc and that count. What main returns is the exit status.
"""

from collections.abc import Callable
from typing import Any

from vel2.arch import sysregs as sr
from vel2.lang import SP, Assembler, build_object, link_elf
from vel2.runtime.linux import EXIT_GROUP
from vel2.runtime.streams import STANDARD_LINES, line_buffers

__all__ = ("build_process",)

ELF_BASE = 0x40_0000
SYSCALL_ARGUMENTS = 6


def start(main: str) -> Assembler:
    """Give `_start`, and `syscall(number, six arguments)`."""
    a = Assembler("start")
    a.label("_start")
    a.isb()
    a.mrs(1, sr.CNTVCT_EL0)
    a.add(0, SP, 0)
    a.bl(main)
    a.movz(8, EXIT_GROUP)
    a.svc(0)
    a.label("syscall")
    a.mov(8, 0)
    for n in range(SYSCALL_ARGUMENTS):
        a.mov(n, n + 1)
    a.svc(0)
    a.ret()
    return a


def build_process(
    main: Callable[..., Any], *pieces: Assembler, calls: tuple[Callable[..., Any], ...] = ()
) -> bytes:
    """Compile and link a program: an ELF file that needs no library.

    :param main: the resident function to start with.
    :param pieces: the program's own assembly.
    :param calls: other resident functions that its pieces call.
    """
    code = build_object((main, *calls), mode="userspace")
    assembly = [start(main.__name__), line_buffers(*STANDARD_LINES), *pieces]
    return link_elf(code, assembly, ELF_BASE, "_start")

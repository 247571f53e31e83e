"""What every static program of ours has in common: where it begins, and how it calls Linux."""

from vel2.lang.asm import SP, Assembler
from vel2.runtime.linux import EXIT_GROUP

__all__ = ("ELF_BASE", "call_main", "entry_and_syscall", "system_call")

ELF_BASE = 0x40_0000


def call_main(a: Assembler, main: str) -> None:
    """Emit the call of `main` with the address of argc, and the exit with its result."""
    a.add(0, SP, 0)
    a.bl(main)
    a.movz(8, EXIT_GROUP)
    a.svc(0)


def system_call(a: Assembler) -> None:
    """Emit `syscall(number, six arguments)`."""
    a.label("syscall")
    a.mov(8, 0)
    for n in range(6):
        a.mov(n, n + 1)
    a.svc(0)
    a.ret()


def entry_and_syscall(main: str) -> Assembler:
    """Give `_start`, which calls `main`, and `syscall`; callers may add labels of their own."""
    a = Assembler()
    a.label("_start")
    call_main(a, main)
    system_call(a)
    return a

"""What every static program of ours has in common: where it begins, and how it calls Linux."""

from vel2.guests.vmm.syscalls import EXIT_GROUP
from vel2.lang.asm import SP, Assembler

__all__ = ("ELF_BASE", "entry_and_syscall")

ELF_BASE = 0x40_0000


def entry_and_syscall(main: str) -> Assembler:
    """Give `_start`, which calls `main` with the address of argc and exits with its result.

    `syscall(number, six arguments)` is the other label; callers may add their own.
    """
    a = Assembler()
    a.label("_start")
    a.add(0, SP, 0)
    a.bl(main)
    a.movz(8, EXIT_GROUP)
    a.svc(0)
    a.label("syscall")
    a.mov(8, 0)
    for n in range(6):
        a.mov(n, n + 1)
    a.svc(0)
    a.ret()
    return a

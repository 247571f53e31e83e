"""Building the VMM: a static arm64 ELF file."""

from vel2.guests.vmm.main import vmm_main
from vel2.guests.vmm.syscalls import EXIT_GROUP
from vel2.lang import build_object, link_elf
from vel2.lang.asm import SP, Assembler

ELF_BASE = 0x40_0000


def stubs() -> Assembler:
    """Give the entry point and the system call of the program."""
    a = Assembler()
    a.label("_start")
    a.add(0, SP, 0)
    a.bl("vmm_main")
    a.movz(8, EXIT_GROUP)
    a.svc(0)
    a.label("syscall")
    a.mov(8, 0)
    for n in range(6):
        a.mov(n, n + 1)
    a.svc(0)
    a.ret()
    return a


def build_vmm() -> bytes:
    """Compile the VMM."""
    return link_elf(build_object((vmm_main,), mode="userspace"), [stubs()], ELF_BASE, "_start")

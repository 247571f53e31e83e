"""Building the VMM: a static arm64 ELF file."""

from vel2.guests.vmm.main import vmm_main
from vel2.lang import build_object, link_elf
from vel2.runtime.process import ELF_BASE, entry_and_syscall


def build_vmm() -> bytes:
    """Compile the VMM."""
    main = build_object((vmm_main,), mode="userspace")
    return link_elf(main, [entry_and_syscall("vmm_main")], ELF_BASE, "_start")

"""Build the VMM: a static arm64 ELF file."""

from vel2.guests.vmm.main import vmm_main
from vel2.guests.vmm.uart import GUEST_LINE
from vel2.runtime.process import build_process
from vel2.runtime.streams import line_buffers


def build_vmm() -> bytes:
    """Compile the VMM."""
    return build_process(vmm_main, line_buffers(GUEST_LINE))

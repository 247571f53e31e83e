"""Build the VMM: a static arm64 ELF file."""

from vel2.guests.vmm.main import vmm_main
from vel2.guests.vmm.run import vcpu_thread
from vel2.guests.vmm.uart import GUEST_LINE
from vel2.runtime.process import build_process
from vel2.runtime.streams import line_buffers
from vel2.runtime.thread import thread_stub


def build_vmm() -> bytes:
    """Compile the VMM."""
    pieces = line_buffers(GUEST_LINE), thread_stub(vcpu_thread)
    return build_process(vmm_main, *pieces, calls=(vcpu_thread,))

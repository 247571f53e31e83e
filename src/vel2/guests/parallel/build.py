"""Build the program: a static arm64 ELF file."""

from vel2.guests.parallel.main import parallel_main, worker
from vel2.runtime.process import build_process
from vel2.runtime.thread import thread_stub


def build_parallel() -> bytes:
    """Compile the program."""
    return build_process(parallel_main, thread_stub(worker), calls=(worker,))

"""The workloads of the macro benchmarks' Linux program: a function for each.

The program is the same in L1 and in L2. A workload makes system calls, which stay in the kernel of
its own level; processes, which change the translation tables and flush the TLB; or page faults,
which in L2 may go on to stage 2.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.bench.layout import Parameters, State
from vel2.lang import (
    PA,
    Struct,
    address_of,
    array,
    bytes_address,
    nested,
    resident,
    scalar,
    store_u64,
    u32,
    u64,
)
from vel2.runtime.linux import (
    CLONE,
    EXECVE,
    GETPID,
    MADV_NOHUGEPAGE,
    MADVISE,
    MUNMAP,
    PIPE2,
    READ,
    SIGCHLD,
    WAIT4,
    WRITE,
    exit_with,
    failed,
    map_anonymous,
    syscall,
)

__all__ = ("WORKLOADS", "Program", "Workload", "run_program")

PAGE_BYTES = 0x1000
MAX_ARGUMENTS = 12
CANNOT_RUN = 127
LEVELS = 2


class Program(Struct):
    """Everything the program keeps, in one mapping. Marks first, so that they share a page."""

    marks = nested(State)
    parameters = nested(Parameters)
    level = scalar(u64)
    """1 or 2."""
    cpus = scalar(u64)
    """The address of the command line's word for how many there are, as the VMM takes it."""
    arguments = array(u64, MAX_ARGUMENTS)
    pipe = array(u32, 2)
    status = array(u32, 2)
    byte = scalar(u64)
    exits = scalar(u64)
    """Where the VMM shows how often L2 exited; 0 when it is out of reach."""


@resident
def ended_well(state: Program, process: u64) -> bool:
    """Wait for a child; say whether it ended with success."""
    status = u64(address_of(state) + Program.offset_of("status"))
    return syscall(WAIT4, process, status, 0, 0, 0, 0) == process and state.status[0] == 0


@resident
def run_program(state: Program, path: u64) -> bool:
    """Start a program with `state.arguments`, wait for it, and say whether it succeeded."""
    child = syscall(CLONE, SIGCHLD, 0, 0, 0, 0, 0)
    if child == 0:
        arguments = u64(address_of(state) + Program.offset_of("arguments"))
        syscall(EXECVE, path, arguments, 0, 0, 0, 0)
        exit_with(CANNOT_RUN)
    return ended_well(state, child)


@resident
def getpid(state: Program, count: u64) -> bool:
    """Make the cheapest system call."""
    left = count
    while left != 0:
        syscall(GETPID, 0, 0, 0, 0, 0, 0)
        left = u64(left - 1)
    return True


@resident
def pipe(state: Program, count: u64) -> bool:
    """Write a byte to a pipe and read it back."""
    ends = u64(address_of(state) + Program.offset_of("pipe"))
    byte = u64(address_of(state) + Program.offset_of("byte"))
    if state.pipe[1] == 0 and failed(syscall(PIPE2, ends, 0, 0, 0, 0, 0)):
        return False
    left = count
    while left != 0:
        if syscall(WRITE, u64(state.pipe[1]), byte, 1, 0, 0, 0) != 1:
            return False
        if syscall(READ, u64(state.pipe[0]), byte, 1, 0, 0, 0) != 1:
            return False
        left = u64(left - 1)
    return True


@resident
def fork(state: Program, count: u64) -> bool:
    """Make a process that ends at once, and wait for it."""
    left = count
    while left != 0:
        child = syscall(CLONE, SIGCHLD, 0, 0, 0, 0, 0)
        if child == 0:
            exit_with(0)
        if not ended_well(state, child):
            return False
        left = u64(left - 1)
    return True


@resident
def execute(state: Program, count: u64) -> bool:
    """Make a process that runs busybox as `true`, and wait for it."""
    state.arguments[0] = bytes_address(b"true\0")
    state.arguments[1] = 0
    left = count
    while left != 0:
        if not run_program(state, bytes_address(b"/bin/busybox\0")):
            return False
        left = u64(left - 1)
    return True


@resident
def memory(state: Program, count: u64) -> bool:
    """Map `count` pages, write to each, and unmap them: one page fault for each."""
    size = u64(count * PAGE_BYTES)
    start = map_anonymous(size)
    if failed(start):
        return False
    # A huge page would make one fault of 512.
    syscall(MADVISE, start, size, MADV_NOHUGEPAGE, 0, 0, 0)
    page = start
    while page != u64(start + size):
        store_u64(PA(page), 1)
        page = u64(page + PAGE_BYTES)
    return not failed(syscall(MUNMAP, start, size, 0, 0, 0, 0))


@dataclass(frozen=True)
class Workload:
    """One row.

    :ivar name: without the level; with it, `l2.fork`.
    :ivar run: does it that many times; says whether that went well.
    :ivar per_mille: how often it is done for each thousand of `--n`.
    :ivar warm_up: how often it is done before, unmeasured.
    """

    name: str
    run: Callable[[Program, u64], bool]
    per_mille: int
    warm_up: int


WORKLOADS = (
    Workload("syscall", getpid, 20_000, 100),
    Workload("pipe", pipe, 5_000, 100),
    Workload("fork", fork, 200, 4),
    Workload("exec", execute, 100, 4),
    # The first pass takes memory that this level may never have touched, the second the same again.
    Workload("memory", memory, 16_000, 0),
    Workload("memory_again", memory, 16_000, 0),
)

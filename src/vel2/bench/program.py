"""The Linux program of the macro benchmarks: process 1 of L1 and of L2.

As process 1 it needs no other, and its first instruction is the end of the boot. There it reads the
counter. Then it does the workloads, starts L2 if it runs in L1, prints what it measured, and powers
off. The counter is CNTVCT_EL0: in L1 it counts from the start of the machine, in L2 from when L1's
KVM made the vCPU.

The mark that ends a boot has its beginning elsewhere: for L1 at the start of the machine, for L2 in
L1.
"""

from functools import cache

from vel2.bench.layout import UNKNOWN_EXITS, State
from vel2.bench.marks import open_files
from vel2.bench.userspace import BEGIN, END, mark, note, report
from vel2.bench.workloads import WORKLOADS, Program, run_program
from vel2.guests.l2tree import L2_STATISTICS_BASE
from vel2.lang import PA, at, bytes_address, load_u64, resident, u64
from vel2.runtime.clock import counter
from vel2.runtime.linux import (
    AT_FDCWD,
    MAP_SHARED,
    MMAP,
    O_RDWR_CLOEXEC,
    OPENAT,
    PROT_READ_WRITE,
    argument,
    failed,
    map_anonymous,
    power_off,
    syscall,
)
from vel2.runtime.process import build_process
from vel2.runtime.semihosting import semihosting_stub
from vel2.runtime.streams import OUT
from vel2.runtime.text import parse_size

__all__ = ("MAX_N", "PARTS", "build_program", "count_of")

O_RDWR_SYNC = O_RDWR_CLOEXEC | 0o4010000
L2_MEMORY = b"256M\0"
MAX_N = 3_000
"""The memory workloads for it fit into L2's memory."""

PARTS = tuple(
    f"l{level}.{name}" for level in (1, 2) for name in ("boot", *(row.name for row in WORKLOADS))
)
"""What is measured, in order; an index of this is `Mark.operation`."""
OF_LEVEL = len(WORKLOADS) + 1
NAMES = tuple(part.encode() + b"\0" for part in PARTS)


def count_of(per_mille: int, n: int) -> int:
    """Give how often a workload is done with `--n`."""
    return max(1, per_mille * n // 1000)


@resident
def read_arguments(state: Program, stack: u64) -> None:
    """Read the command line: level, n, whether there are marks, and how many CPUs."""
    state.level = parse_size(argument(stack, 1))
    state.parameters.count = parse_size(argument(stack, 2))
    state.parameters.has_marks = parse_size(argument(stack, 3))
    state.cpus = argument(stack, 4)


@resident
def find_exits(state: Program) -> None:
    """Map the word where the VMM shows L2's exits."""
    path = bytes_address(b"/dev/mem\0")
    memory = syscall(OPENAT, AT_FDCWD, path, O_RDWR_SYNC, 0, 0, 0)
    if failed(memory):
        return
    mapped = syscall(MMAP, 0, 8, PROT_READ_WRITE, MAP_SHARED, memory, L2_STATISTICS_BASE)
    if not failed(mapped):
        state.exits = mapped


@resident
def exits_so_far(state: Program) -> u64:
    """Read how often L2 has exited; this read is an exit itself."""
    if state.exits == 0:
        return 0
    return load_u64(PA(state.exits))


@resident
def do_workloads(state: Program) -> bool:
    """Do every workload between marks; say whether all went well."""
    first = u64((state.level - 1) * OF_LEVEL + 1)
    for index, workload in enumerate(WORKLOADS):
        operation = u64(first + index)
        count = u64(workload.per_mille * state.parameters.count) // 1000
        if count == 0:
            count = 1
        if workload.warm_up != 0 and not workload.run(state, workload.warm_up):
            return False
        before = exits_so_far(state)
        mark(state.marks, state.parameters, operation, BEGIN, count, 0)
        begun = counter()
        went_well = workload.run(state, count)
        ticks = u64(counter() - begun)
        mark(state.marks, state.parameters, operation, END, count, ticks)
        exits = u64(0)
        if state.level == 2:
            exits = UNKNOWN_EXITS
        if state.exits != 0:
            # The second look exits too.
            exits = u64(exits_so_far(state) - before - 1)
        note(state.marks.results[operation], count, ticks, exits)
        if not went_well:
            return False
    return True


@resident
def start_l2(state: Program) -> bool:
    """Run the VMM; say whether L2 powered off."""
    arguments = state.arguments
    arguments[0] = bytes_address(b"/vmm\0")
    arguments[1] = bytes_address(b"--kernel\0")
    arguments[2] = bytes_address(b"/l2/Image\0")
    arguments[3] = bytes_address(b"--initrd\0")
    arguments[4] = bytes_address(b"/l2/initrd\0")
    arguments[5] = bytes_address(b"--dtb\0")
    arguments[6] = bytes_address(b"/l2/dtb\0")
    arguments[7] = bytes_address(b"--memory\0")
    arguments[8] = bytes_address(L2_MEMORY)
    arguments[9] = bytes_address(b"--cpus\0")
    arguments[10] = state.cpus
    arguments[11] = 0
    mark(state.marks, state.parameters, OF_LEVEL, BEGIN, 1, 0)
    return run_program(state, bytes_address(b"/vmm\0"))


@resident
def report_all(state: Program) -> None:
    """Print a line for each part of this level."""
    for index, name in enumerate(NAMES):
        if u64(index // OF_LEVEL + 1) == state.level:
            report(state.marks.results[index], bytes_address(name))


@resident
def program_main(stack: u64, began: u64) -> None:
    """Do everything, and power off."""
    state = at(Program, map_anonymous(Program.size))
    read_arguments(state, stack)
    if state.parameters.has_marks != 0:
        open_files(state.marks)
    boot = u64((state.level - 1) * OF_LEVEL)
    mark(state.marks, state.parameters, boot, END, 1, began)
    exits = u64(0)
    if state.level == 2:
        find_exits(state)
        exits = UNKNOWN_EXITS
        if state.exits != 0:
            exits = exits_so_far(state)
    note(state.marks.results[boot], 1, began, exits)
    if not do_workloads(state):
        OUT.put(bytes_address(b"error: a workload failed\n\0"))
    elif state.level == 1 and not start_l2(state):
        OUT.put(bytes_address(b"error: the VMM failed\n\0"))
    else:
        report_all(state)
    power_off()


@cache
def build_program() -> bytes:
    """Compile the program: a static arm64 ELF file."""
    if len(PARTS) > State.results.length:
        raise ValueError(f"the program has {len(PARTS)} parts, too many")
    return build_process(program_main, semihosting_stub())

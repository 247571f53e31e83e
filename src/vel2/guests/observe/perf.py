"""Count and sample by perf_event_open."""

from vel2.guests.observe.state import PerfAttributes, State
from vel2.lang import PA, address_of, extern, load_u64, resident, u32, u64
from vel2.runtime.linux import (
    CLOSE,
    GETPPID,
    MAP_SHARED,
    MMAP,
    NO_FD,
    PERF_EVENT_OPEN,
    PROT_READ_WRITE,
    READ,
    failed,
    ioctl,
    syscall,
)

ENABLE, DISABLE = 0x2400, 0x2401
TYPE_HARDWARE, TYPE_BREAKPOINT = 0, 5
CYCLES, INSTRUCTIONS = 0, 1
BREAK_ON_EXECUTION = 4
INSTRUCTION_BYTES = 8
"""What Linux wants as the length of a breakpoint on execution: sizeof(long)."""
DISABLED, PINNED, NOT_USER, NOT_KERNEL, NOT_HYPERVISOR = 1 << 0, 1 << 2, 1 << 4, 1 << 5, 1 << 6
NOT_GUEST = 1 << 20
THIS_PROCESS, ANY_PROCESS = 0, (1 << 64) - 1
FIRST_CPU, ANY_CPU = 0, (1 << 64) - 1
PAGE = 4096
DATA_HEAD = 1024
"""Offset of `data_head` in the first page of an event's mapping."""
SAMPLE_PERIOD = 500_000
MAX_ROUNDS = 4000
CALLS = 50


@extern("turn")
def turn(count: u64) -> u64:
    """Execute 2 * count + 1 instructions."""
    raise NotImplementedError("the instructions need a machine")


@resident
def open_event(state: State, kind: u64, config: u64, flags: u64) -> u64:
    """Open an event of this process; an error is -errno.

    Linux requires breakpoints in the kernel to belong to a CPU, not to a process.
    """
    attributes = state.attributes
    attributes.type = u32(kind)
    attributes.size_ = u32(PerfAttributes.size)
    attributes.config = config
    attributes.flags = flags | DISABLED
    address = address_of(attributes)
    if kind == TYPE_BREAKPOINT:
        return syscall(PERF_EVENT_OPEN, address, ANY_PROCESS, FIRST_CPU, NO_FD, 0, 0)
    return syscall(PERF_EVENT_OPEN, address, THIS_PROCESS, ANY_CPU, NO_FD, 0, 0)


@resident
def clear(state: State) -> None:
    """Clear the attributes of the previous event."""
    attributes = state.attributes
    attributes.sample_period = 0
    attributes.sample_type = 0
    attributes.read_format = 0
    attributes.wakeup_events = 0
    attributes.bp_type = 0
    attributes.bp_addr = 0
    attributes.bp_len = 0


@resident
def call_kernel(count: u64) -> None:
    """Make system calls that do nothing."""
    for _ in range(count):
        syscall(GETPPID, 0, 0, 0, 0, 0, 0)


@resident
def measure(state: State, kind: u64, config: u64, flags: u64, turns: u64, calls: u64) -> u64:
    """Count an event over turns in user space and calls of the kernel; an error is -errno."""
    event = open_event(state, kind, config, flags)
    if failed(event):
        return event
    ioctl(event, ENABLE, 0)
    if turns != 0:
        turn(turns)
    call_kernel(calls)
    ioctl(event, DISABLE, 0)
    state.count = 0
    place = u64(address_of(state) + State.offset_of("count"))
    done = syscall(READ, event, place, 8, 0, 0, 0)
    syscall(CLOSE, event, 0, 0, 0, 0, 0)
    if failed(done):
        return done
    return state.count


@resident
def sample(state: State, flags: u64) -> u64:
    """Sample cycles until an overflow interrupt has written a record; give the bytes written."""
    clear(state)
    state.attributes.sample_period = SAMPLE_PERIOD
    event = open_event(state, TYPE_HARDWARE, CYCLES, flags)
    if failed(event):
        return event
    mapped = syscall(MMAP, 0, 2 * PAGE, PROT_READ_WRITE, MAP_SHARED, event, 0)
    if failed(mapped):
        return mapped
    ioctl(event, ENABLE, 0)
    written = u64(0)
    for _ in range(MAX_ROUNDS):
        turn(SAMPLE_PERIOD)
        written = load_u64(PA(mapped + DATA_HEAD))
        if written != 0:
            break
    ioctl(event, DISABLE, 0)
    syscall(CLOSE, event, 0, 0, 0, 0, 0)
    return written


@resident
def break_in_kernel(state: State) -> u64:
    """Count how often a function of the kernel is reached, by a hardware breakpoint on it."""
    clear(state)
    state.attributes.bp_type = BREAK_ON_EXECUTION
    state.attributes.bp_addr = state.kernel_address
    state.attributes.bp_len = INSTRUCTION_BYTES
    return measure(state, TYPE_BREAKPOINT, 0, 0, 0, CALLS)

"""Trace a child by ptrace, as a debugger does: a breakpoint, single steps, a watchpoint."""

from vel2.guests.observe.state import State, UserRegisters
from vel2.lang import address_of, extern, resident, symbol_address, u32, u64
from vel2.runtime.linux import (
    CLONE,
    GETPID,
    KILL,
    PTRACE,
    SIGCHLD,
    SIGSTOP,
    SIGTRAP,
    WAIT4,
    exit_with,
    failed,
    syscall,
)

TRACEME, CONT, SINGLESTEP = 0, 7, 9
GETSIGINFO, GETREGSET, SETREGSET = 0x4202, 0x4204, 0x4205
NT_PRSTATUS, NT_BREAK, NT_WATCH = 1, 0x402, 0x403
HEADER_BYTES = 8
SLOT_BYTES = 16
EL0 = 2 << 1
BREAK_4_BYTES = 0xF << 5 | EL0 | 1
WATCH_STORE_8_BYTES = 0xFF << 5 | 2 << 3 | EL0 | 1
STOPPED = 0x7F
STEPS = 4
STORE_OFFSET = 4 * STEPS

DONE = 1
NO_START, NO_BREAK, WRONG_BREAK, NO_STEP, WRONG_STEP = 2, 3, 4, 5, 6
NO_WATCH, WRONG_WATCH, NO_END = 7, 8, 9
"""What `trace` returns: DONE, or how far it got."""


@extern("traced")
def traced(address: u64) -> u64:
    """Execute four NOPs, then a store to the address."""
    raise NotImplementedError("the instructions need a machine")


@resident
def request(state: State, what: u64, address: u64, data: u64) -> u64:
    """Make a ptrace request about the child."""
    return syscall(PTRACE, what, state.child, address, data, 0, 0)


@resident
def has_stopped(state: State, signal: u64) -> bool:
    """Wait for the child; whether it stopped for a signal."""
    place = u64(address_of(state) + State.offset_of("status"))
    if failed(syscall(WAIT4, state.child, place, 0, 0, 0, 0)):
        return False
    return state.status & 0xFFFF == u64(signal << 8) | STOPPED


@resident
def counter(state: State) -> u64:
    """Give the child's PC."""
    state.vector.base = address_of(state.registers)
    state.vector.length = UserRegisters.size
    request(state, GETREGSET, NT_PRSTATUS, address_of(state.vector))
    return state.registers.pc


@resident
def set_first(state: State, kind: u64, address: u64, control: u64) -> bool:
    """Set the child's first breakpoint or watchpoint."""
    state.vector.base = address_of(state.debug)
    state.vector.length = HEADER_BYTES + SLOT_BYTES
    state.debug.slots[0].address = address
    state.debug.slots[0].control = u32(control)
    return not failed(request(state, SETREGSET, kind, address_of(state.vector)))


@resident
def be_traced(state: State) -> None:
    """Be the child."""
    syscall(PTRACE, TRACEME, 0, 0, 0, 0, 0)
    syscall(KILL, syscall(GETPID, 0, 0, 0, 0, 0, 0), SIGSTOP, 0, 0, 0, 0)
    traced(u64(address_of(state) + State.offset_of("watched")))
    exit_with(0)


@resident
def trace(state: State) -> u64:
    """Trace a child through `traced`; return DONE or how far it got."""
    state.child = syscall(CLONE, SIGCHLD, 0, 0, 0, 0, 0)
    if state.child == 0:
        be_traced(state)
    if failed(state.child) or not has_stopped(state, SIGSTOP):
        return NO_START
    begin = symbol_address("traced_code")
    if not set_first(state, NT_BREAK, begin, BREAK_4_BYTES):
        return NO_BREAK
    request(state, CONT, 0, 0)
    if not has_stopped(state, SIGTRAP):
        return NO_BREAK
    if counter(state) != begin:
        return WRONG_BREAK
    set_first(state, NT_BREAK, begin, 0)
    for n in range(STEPS):
        request(state, SINGLESTEP, 0, 0)
        if not has_stopped(state, SIGTRAP):
            return NO_STEP
        if counter(state) != u64(begin + 4 + 4 * n):
            return WRONG_STEP
    return watch(state, u64(begin + STORE_OFFSET))


@resident
def watch(state: State, store: u64) -> u64:
    """Let the child run into a watchpoint at its store, and then to its end."""
    watched = u64(address_of(state) + State.offset_of("watched"))
    if not set_first(state, NT_WATCH, watched, WATCH_STORE_8_BYTES):
        return NO_WATCH
    request(state, CONT, 0, 0)
    if not has_stopped(state, SIGTRAP):
        return NO_WATCH
    request(state, GETSIGINFO, 0, address_of(state.signal))
    if counter(state) != store or state.signal.address != watched:
        return WRONG_WATCH
    set_first(state, NT_WATCH, watched, 0)
    request(state, CONT, 0, 0)
    place = u64(address_of(state) + State.offset_of("status"))
    if failed(syscall(WAIT4, state.child, place, 0, 0, 0, 0)) or state.status != 0:
        return NO_END
    return DONE

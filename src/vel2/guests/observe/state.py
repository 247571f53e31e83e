"""Everything the program keeps, in one mapping."""

from vel2.lang import Struct, array, nested, scalar, u32, u64

SLOTS = 16


class PerfAttributes(Struct):
    """`struct perf_event_attr`, its first version but one (72 bytes)."""

    type = scalar(u32)
    size_ = scalar(u32)
    config = scalar(u64)
    sample_period = scalar(u64)
    sample_type = scalar(u64)
    read_format = scalar(u64)
    flags = scalar(u64)
    wakeup_events = scalar(u32)
    bp_type = scalar(u32)
    bp_addr = scalar(u64)
    bp_len = scalar(u64)


class UserRegisters(Struct):
    """`struct user_pt_regs`."""

    x = array(u64, 31)
    sp = scalar(u64)
    pc = scalar(u64)
    pstate = scalar(u64)


class DebugSlot(Struct):
    """One breakpoint or watchpoint of `struct user_hwdebug_state`."""

    address = scalar(u64)
    control = scalar(u32)
    pad = scalar(u32)


class DebugRegisters(Struct):
    """`struct user_hwdebug_state`."""

    information = scalar(u32)
    """How many there are in bits 7-0, the architecture's DebugVer in bits 15-8."""
    pad = scalar(u32)
    slots = array(DebugSlot, SLOTS)


class Vector(Struct):
    """`struct iovec`."""

    base = scalar(u64)
    length = scalar(u64)


class SignalInformation(Struct):
    """`siginfo_t` of a signal that comes from a fault or trap."""

    number = scalar(u32)
    error = scalar(u32)
    code = scalar(u32)
    pad = scalar(u32)
    address = scalar(u64)
    rest = array(u64, 13)


class State(Struct):
    """One run."""

    level = scalar(u64)
    """Address of what the names of markers begin with."""
    kernel_address = scalar(u64)
    """Of the function behind getppid in the kernel; 0 to leave that out."""
    child = scalar(u64)
    status = scalar(u32)
    pad = scalar(u32)
    watched = scalar(u64)
    count = scalar(u64)
    attributes = nested(PerfAttributes)
    registers = nested(UserRegisters)
    debug = nested(DebugRegisters)
    vector = nested(Vector)
    signal = nested(SignalInformation)

"""Standard input as the keys of the guest's UART.

Nobody but the vCPUs' threads is there to read, so a key must interrupt KVM_RUN. Standard input
sends SIGIO when something can be read. The signal is blocked in all threads, except while the first
vCPU's KVM_RUN runs (KVM_SET_SIGNAL_MASK). So it is never delivered, that KVM_RUN ends with EINTR,
and no key is lost that comes before or in between.
"""

from vel2.guests.vmm import kvm
from vel2.guests.vmm.state import KEYS, State
from vel2.guests.vmm.vcpu import vcpu_of
from vel2.lang import address_of, resident, u32, u64
from vel2.runtime.linux import (
    F_SETFL,
    F_SETOWN,
    FCNTL,
    GETPID,
    O_ASYNC,
    O_NONBLOCK,
    READ,
    RT_SIGPROCMASK,
    RT_SIGTIMEDWAIT,
    SIG_BLOCK,
    SIGIO,
    SIGSET_BYTES,
    STDIN,
    failed,
    ioctl,
    syscall,
)

KEYS_OFFSET = State.offset_of("keys")
SIGNALS_OFFSET = State.offset_of("signals")
NO_TIME_OFFSET = State.offset_of("no_time")


@resident
def begin(state: State) -> None:
    """Make standard input interrupt KVM_RUN, and take what was typed before."""
    state.signals = u64(1 << (SIGIO - 1))
    signals = u64(address_of(state) + SIGNALS_OFFSET)
    syscall(RT_SIGPROCMASK, SIG_BLOCK, signals, 0, SIGSET_BYTES, 0, 0)
    state.signal_mask.length = u32(SIGSET_BYTES)
    ioctl(vcpu_of(state, 0).fd, kvm.SET_SIGNAL_MASK, address_of(state.signal_mask))
    syscall(FCNTL, STDIN, F_SETOWN, syscall(GETPID, 0, 0, 0, 0, 0, 0), 0, 0, 0)
    syscall(FCNTL, STDIN, F_SETFL, O_ASYNC | O_NONBLOCK, 0, 0, 0)
    take(state)


@resident
def end(state: State) -> None:
    """Restore standard input, which the shell uses too."""
    syscall(FCNTL, STDIN, F_SETFL, 0, 0, 0, 0)


@resident
def interrupted(state: State) -> None:
    """Take what was typed when KVM_RUN was interrupted; clear the signal first, or lose one."""
    signals = u64(address_of(state) + SIGNALS_OFFSET)
    no_time = u64(address_of(state) + NO_TIME_OFFSET)
    syscall(RT_SIGTIMEDWAIT, signals, 0, no_time, SIGSET_BYTES, 0, 0)
    take(state)


@resident
def take(state: State) -> None:
    """Fill the FIFO when it is empty; input that does not fit stays where it is."""
    if state.options.takes_keys == 0 or state.keys_first != state.keys_end:
        return
    count = syscall(READ, STDIN, u64(address_of(state) + KEYS_OFFSET), KEYS, 0, 0, 0)
    state.keys_first = 0
    state.keys_end = 0
    if not failed(count):
        state.keys_end = count


@resident
def next_key(state: State) -> u64:
    """Give the next byte typed, 0 if there is none."""
    if state.keys_first == state.keys_end:
        return 0
    key = u64(state.keys[state.keys_first])
    state.keys_first = u64(state.keys_first + 1)
    take(state)
    return key

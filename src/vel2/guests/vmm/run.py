"""Running the guest: a thread for each vCPU, and what each exit to the VMM asks for.

Everything behind the exits is one VM's: UART, keys, statistics, the scratch fields of `State`.
`State.lock` is held from an exit to the next KVM_RUN. The thread whose guest ends the VM takes the
whole process along, and keeps the lock, so that nobody says anything after it.
"""

from vel2.guests.l2tree import L2_STATISTICS_BASE, L2_UART_BASE
from vel2.guests.vmm import debug, keys, kvm, statistics, uart
from vel2.guests.vmm.failure import check, die
from vel2.guests.vmm.state import State, Vcpu
from vel2.guests.vmm.vcpu import vcpu_of
from vel2.lang import address_of, at, bytes_address, resident, u8, u64
from vel2.runtime.linux import EAGAIN, EINTR, SCHED_SETAFFINITY, exit_with, failed, ioctl, syscall
from vel2.runtime.streams import ERR
from vel2.runtime.thread import acquire, release, start_thread

__all__ = ("end", "interrupted", "run_all", "serve", "vcpu_thread")

UART_BYTES = 8
LOCK = State.offset_of("lock")
AFFINITY = Vcpu.offset_of("affinity")
CPU_SET_BYTES = 8
POWERED_OFF, UNEXPECTED, RESET = 0, 1, 3
"""Exit statuses."""


@resident
def serve_mmio(state: State, run: kvm.Run) -> None:
    """Answer an access to a device; where there is none, reads give zero."""
    offset = u64(run.mmio_address - L2_UART_BASE)
    if offset < UART_BYTES:
        if run.mmio_is_write != 0:
            uart.write(state, offset, u64(run.mmio_data[0]))
            return
        value = uart.read(state, offset)
        clear_data(run)
        run.mmio_data[0] = u8(value)
    elif run.mmio_is_write == 0:
        clear_data(run)
        if run.mmio_address == L2_STATISTICS_BASE:
            value = statistics.exits_of_all(state)
            for i in range(8):
                run.mmio_data[i] = u8(value >> 8 * i & 0xFF)


@resident
def clear_data(run: kvm.Run) -> None:
    """Zero the data of an MMIO read."""
    for i in range(8):
        run.mmio_data[i] = 0


@resident
def end(state: State, status: u64) -> None:
    """End the VM, and with it the process."""
    uart.flush()
    if state.options.takes_keys != 0:
        keys.end(state)
    exit_with(status)


@resident
def interrupted(state: State, vcpu: Vcpu, result: u64) -> None:
    """Handle an error of KVM_RUN: a signal is a key for the thread that takes keys."""
    if result != u64(0 - EINTR) and result != u64(0 - EAGAIN):
        uart.flush()
        die(bytes_address(b"run the vCPU\0"), result)
    if state.options.takes_keys != 0 and vcpu.number == 0:
        keys.interrupted(state)
        uart.update_interrupt(state)


@resident
def serve(state: State, vcpu: Vcpu, run: kvm.Run) -> None:
    """Do what an exit asks for."""
    if run.exit_reason == kvm.EXIT_MMIO:
        serve_mmio(state, run)
    elif run.exit_reason == kvm.EXIT_DEBUG and state.options.steps != 0:
        debug.stopped(state, run)
    elif run.exit_reason == kvm.EXIT_SYSTEM_EVENT:
        if run.mmio_address & 0xFFFF_FFFF == kvm.SYSTEM_EVENT_SHUTDOWN:
            end(state, POWERED_OFF)
        end(state, RESET)
    else:
        uart.flush()
        ERR.put(bytes_address(b"vmm: unexpected exit reason \0"))
        ERR.put_decimal(u64(run.exit_reason))
        ERR.put(bytes_address(b" of vCPU \0"))
        ERR.put_decimal(vcpu.number)
        ERR.put(bytes_address(b"\n\0"))
        end(state, UNEXPECTED)


@resident
def pin(vcpu: Vcpu) -> None:
    """Keep the calling thread on the CPU that has the vCPU's number."""
    vcpu.affinity = u64(1 << vcpu.number)
    mask = u64(address_of(vcpu) + AFFINITY)
    pinned = syscall(SCHED_SETAFFINITY, 0, CPU_SET_BYTES, mask, 0, 0, 0)
    check(pinned, bytes_address(b"pin a vCPU\0"))


@resident
def vcpu_thread(vcpu_address: u64) -> None:
    """Run one vCPU until the guest ends the VM; this does not return."""
    vcpu = at(Vcpu, vcpu_address)
    state = at(State, vcpu.vm)
    run = at(kvm.Run, vcpu.run)
    lock = u64(vcpu.vm + LOCK)
    if state.options.is_pinned != 0:
        pin(vcpu)
    while True:
        result = ioctl(vcpu.fd, kvm.RUN, 0)
        acquire(lock)
        if failed(result):
            interrupted(state, vcpu, result)
        else:
            serve(state, vcpu, run)
        release(lock)


@resident
def run_all(state: State) -> None:
    """Run every vCPU, the first in the calling thread; this does not return.

    Statistics are opened before: KVM answers no ioctl on a vCPU that another thread runs, so who
    asked for those of a vCPU that sleeps would wait until it wakes up.
    """
    if state.options.cpus > 1:
        statistics.open_all(state)
    n = u64(1)
    while n < state.options.cpus:
        started = start_thread(address_of(vcpu_of(state, n)))
        check(started, bytes_address(b"start a thread\0"))
        n = u64(n + 1)
    vcpu_thread(address_of(vcpu_of(state, 0)))

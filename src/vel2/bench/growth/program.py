"""The Linux program of the growth curves: process 1 of L1, and the VMM of many small guests.

It sets each point up and lets L2 do what is measured. It reads the counter and makes marks before
and after. All guests run on L1's one vCPU: this program lets each run until it asks for a command.
"""

from functools import cache

from vel2.bench.growth.points import (
    COMMAND_BITS,
    GUESTS,
    HYPERCALLS,
    NAMES,
    NOTHING,
    POINTS,
    RAISE_SGIS,
    TOUCH,
)
from vel2.bench.layout import FRESH, Parameters, State
from vel2.bench.marks import open_files
from vel2.bench.userspace import BEGIN, END, difference, mark, note, report
from vel2.guests.l2board import IMAGE_BASE
from vel2.guests.l2tree import L2_RAM_BASE
from vel2.guests.vmm import kvm, statistics
from vel2.guests.vmm.machine import create_gic, create_vm, load
from vel2.guests.vmm.state import State as Guest
from vel2.guests.vmm.vcpu import create_vcpus, set_register, vcpu_of
from vel2.lang import (
    Struct,
    address_of,
    array,
    at,
    bytes_address,
    nested,
    resident,
    scalar,
    u8,
    u64,
)
from vel2.runtime.clock import counter
from vel2.runtime.linux import EAGAIN, EINTR, argument, failed, ioctl, map_anonymous, power_off
from vel2.runtime.process import build_process
from vel2.runtime.semihosting import semihosting_stub
from vel2.runtime.streams import OUT
from vel2.runtime.text import parse_size

__all__ = ("GUEST_PATH", "build_growth_program")

GUEST_PATH = "guest"
LARGE_BYTES = (FRESH - L2_RAM_BASE) + (272 << 20)
SMALL_BYTES = 16 << 20
PAGES_PER_MIB = 256
WARM_UP = 8


class Growth(Struct):
    """Everything the program keeps, in one mapping. Marks first, so that they share a page."""

    marks = nested(State)
    parameters = nested(Parameters)
    large = scalar(u64)
    """The guest with much memory."""
    guests = array(u64, max(GUESTS))
    guest_count = scalar(u64)
    touched_mib = scalar(u64)
    went_wrong = scalar(u64)


@resident
def new_guest(memory_bytes: u64) -> u64:
    """Make a VM with the small program in it; give the address of its `Guest`."""
    guest = at(Guest, map_anonymous(Guest.size))
    guest.options.memory_bytes = memory_bytes
    guest.options.huge_from = memory_bytes
    guest.options.cpus = 1
    create_vm(guest)
    create_vcpus(guest)
    create_gic(guest)
    load(guest, bytes_address(b"/guest\0"), u64(IMAGE_BASE - L2_RAM_BASE))
    set_register(guest, kvm.REG_PC, IMAGE_BASE)
    return address_of(guest)


@resident
def command(state: Growth, address: u64, what: u64) -> None:
    """Answer a guest's question for a command, and let it run until it asks again."""
    guest = at(Guest, address)
    vcpu = vcpu_of(guest, 0)
    run = at(kvm.Run, vcpu.run)
    for i in range(8):
        run.mmio_data[i] = u8(what >> 8 * i & 0xFF)
    while True:
        result = ioctl(vcpu.fd, kvm.RUN, 0)
        if not failed(result):
            break
        if result != u64(0 - EINTR) and result != u64(0 - EAGAIN):
            state.went_wrong = 1
            return
    if run.exit_reason != kvm.EXIT_MMIO or run.mmio_is_write != 0:
        state.went_wrong = 1


@resident
def measured_command(state: Growth, point: u64, what: u64, count: u64) -> None:
    """Have the large guest do something `count` times, and measure it."""
    told = u64(what | count << COMMAND_BITS)
    exits = statistics.exits_of_all(at(Guest, state.large))
    mark(state.marks, state.parameters, point, BEGIN, count, 0)
    begun = counter()
    command(state, state.large, told)
    ticks = u64(counter() - begun)
    mark(state.marks, state.parameters, point, END, count, ticks)
    exits = difference(statistics.exits_of_all(at(Guest, state.large)), exits)
    note(state.marks.results[point % State.results.length], count, ticks, exits)


@resident
def list_registers(state: Growth, point: u64, x: u64) -> None:
    """Measure hypercalls with `x` interrupts pending."""
    command(state, state.large, u64(RAISE_SGIS | x << COMMAND_BITS))
    command(state, state.large, u64(HYPERCALLS | WARM_UP << COMMAND_BITS))
    measured_command(state, point, HYPERCALLS, state.parameters.count)


@resident
def memory_fault(state: Growth, point: u64, x: u64) -> None:
    """Measure what each further page costs until the guest has touched `x` MiB."""
    pages = u64((x - state.touched_mib) * PAGES_PER_MIB)
    state.touched_mib = x
    measured_command(state, point, TOUCH, pages)


@resident
def guest_exits(state: Growth, count: u64) -> u64:
    """Sum the exits of the first guests; 0 if KVM does not report them."""
    total = u64(0)
    n = u64(0)
    while n < count:
        total = u64(total + statistics.exits_of_all(at(Guest, state.guests[n % len(GUESTS_SLOTS)])))
        n = u64(n + 1)
    return total


@resident
def turns(state: Growth, count: u64, rounds: u64) -> None:
    """Let the first `count` guests take turns, for so many rounds."""
    left = rounds
    while left != 0:
        n = u64(0)
        while n < count:
            command(state, state.guests[n % len(GUESTS_SLOTS)], NOTHING)
            n = u64(n + 1)
        left = u64(left - 1)


@resident
def guests(state: Growth, point: u64, x: u64) -> None:
    """Measure exits with `x` guests taking turns."""
    while state.guest_count < x:
        state.guests[state.guest_count % len(GUESTS_SLOTS)] = new_guest(SMALL_BYTES)
        state.guest_count = u64(state.guest_count + 1)
    turns(state, x, WARM_UP)
    rounds = u64(state.parameters.count // x)
    if rounds == 0:
        rounds = 1
    count = u64(rounds * x)
    exits = guest_exits(state, x)
    mark(state.marks, state.parameters, point, BEGIN, count, 0)
    begun = counter()
    turns(state, x, rounds)
    ticks = u64(counter() - begun)
    mark(state.marks, state.parameters, point, END, count, ticks)
    exits = difference(guest_exits(state, x), exits)
    note(state.marks.results[point % State.results.length], count, ticks, exits)


@resident
def all_points(state: Growth) -> None:
    """Measure every point, in order; the two curves about memory are measured together."""
    state.large = new_guest(LARGE_BYTES)
    command(state, state.large, NOTHING)
    for index, point in enumerate(POINTS):
        if point.curve.name == "list_registers":
            list_registers(state, index, point.x)
        elif point.curve.name == "memory_fault":
            memory_fault(state, index, point.x)
            measured_command(state, EXITS_AFTER[point.x], HYPERCALLS, state.parameters.count)
        elif point.curve.name == "guests":
            guests(state, index, point.x)


GUESTS_SLOTS = range(max(GUESTS))
EXITS_AFTER = {
    point.x: index for index, point in enumerate(POINTS) if point.curve.name == "memory_exit"
}
TEXTS = tuple(name.encode() + b"\0" for name in NAMES)


@resident
def growth_main(stack: u64, began: u64) -> None:
    """Do everything, and power off. The command line is n, and whether there are marks."""
    state = at(Growth, map_anonymous(Growth.size))
    state.parameters.count = parse_size(argument(stack, 1))
    state.parameters.has_marks = parse_size(argument(stack, 2))
    if state.parameters.has_marks != 0:
        open_files(state.marks)
    all_points(state)
    if state.went_wrong != 0:
        OUT.put(bytes_address(b"error: a guest ended unexpectedly\n\0"))
    else:
        for index, text in enumerate(TEXTS):
            report(state.marks.results[index], bytes_address(text))
    power_off()


@cache
def build_growth_program() -> bytes:
    """Compile the program: a static arm64 ELF file."""
    if len(POINTS) > State.results.length:
        raise ValueError(f"there are {len(POINTS)} points, too many")
    return build_process(growth_main, semihosting_stub())

"""The VMM of the stress guest: `stress SEED ROUNDS`, a Linux program in L1 that runs one of them.

Beside a thread for each vCPU there is one that moves what is behind the guest's memory, once in
each round and beside the guest:

- it forks. As long as the child lives, both have the same pages, and each page that the guest
  writes is copied: another page is behind the same address from then on;
- it has one block collapsed to a huge page, and the kernel split another;
- KSM may merge the arena's pages with those of other guests, which a write undoes.

What the guest asks for is done while the asking vCPU stands in its access. With 0 rounds the guest
powers off at once, and nothing moves.
"""

from functools import cache

from vel2.check.stress.layout import (
    ARENA,
    ARENA_PAGES,
    BLOCK_BYTES,
    DROP,
    MEMORY_BYTES,
    PAGE_BYTES,
    ROUNDS,
    SEED,
    SLOT,
    SLOT_PAGES,
    SWAP_SLOT,
    VCPUS,
    WRONG,
    WRONG_PAGE,
)
from vel2.guests.l2board import IMAGE_BASE
from vel2.guests.l2tree import L2_RAM_BASE
from vel2.guests.vmm import kvm
from vel2.guests.vmm.failure import check
from vel2.guests.vmm.machine import create_gic, create_vm, load
from vel2.guests.vmm.run import end, interrupted, serve
from vel2.guests.vmm.state import State, Vcpu
from vel2.guests.vmm.uart import GUEST_LINE
from vel2.guests.vmm.vcpu import create_vcpus, set_register, vcpu_of
from vel2.lang import (
    PA,
    Struct,
    address_of,
    array,
    at,
    bytes_address,
    fetch_add_u64,
    load_acquire_u64,
    load_u64,
    nested,
    resident,
    scalar,
    store_u64,
    u32,
    u64,
)
from vel2.runtime.linux import (
    CLONE,
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_MERGEABLE,
    MADVISE,
    NANOSLEEP,
    SIGCHLD,
    WAIT4,
    argument,
    exit_with,
    failed,
    ioctl,
    map_anonymous,
    syscall,
)
from vel2.runtime.process import build_process
from vel2.runtime.streams import OUT, line_buffers
from vel2.runtime.text import parse_size
from vel2.runtime.thread import acquire, release, start_thread, thread_stub, wait_on, wake

__all__ = ("GUEST_PATH", "build_stress_program")

GUEST_PATH = "guest"
SLOT_NUMBER = 1
SLOT_BYTES = SLOT_PAGES * PAGE_BYTES
ARENA_BYTES = ARENA_PAGES * PAGE_BYTES
MOVER = VCPUS
"""In the place of a vCPU's number: the thread that moves memory."""
SHARED_NS = 2_000_000
"""How long the forked child keeps its copies."""
RUN_DATA = kvm.Run.offset_of("mmio_data")
LOCK = State.offset_of("lock")


class Host(Struct):
    """Everything the program keeps, in one mapping. The VM is its first part."""

    vm = nested(State)
    seed = scalar(u64)
    rounds = scalar(u64)
    sets = array(u64, 2)
    """Addresses of the pages that are behind the slot in turn."""
    current = scalar(u64)
    """Which of them is there."""
    wrong_page = scalar(u64)
    pause = array(u64, 2)
    """A `struct timespec`."""
    moves = scalar(u64)
    """How often the mover has been asked to move."""


@resident
def arena(host: Host) -> u64:
    """Give the address of the guest's arena here."""
    return u64(host.vm.ram + (ARENA - L2_RAM_BASE))


@resident
def set_slot(host: Host, size: u64) -> None:
    """Put the current set of pages behind the slot, or with size 0 take the slot away."""
    region = host.vm.region
    region.slot = u32(SLOT_NUMBER)
    region.guest_phys_addr = SLOT
    region.memory_size = size
    region.userspace_addr = host.sets[host.current]
    done = ioctl(host.vm.vm, kvm.SET_USER_MEMORY_REGION, address_of(region))
    check(done, bytes_address(b"change a memory slot\0"))


@resident
def complain(host: Host, found: u64) -> None:
    """Say what a vCPU found that should not be there, and end the VM."""
    OUT.put(bytes_address(b"stress: guest \0"))
    OUT.put_decimal(host.seed)
    OUT.put(bytes_address(b" finds \0"))
    OUT.put_hex(found)
    OUT.put(bytes_address(b" in page \0"))
    OUT.put_hex(host.wrong_page)
    OUT.put(bytes_address(b"\n\0"))
    end(host.vm, 1)


@resident
def move_once_more(host: Host) -> None:
    """Wake the mover."""
    moves = u64(address_of(host) + Host.offset_of("moves"))
    fetch_add_u64(PA(moves), 1)
    wake(moves)


@resident
def serve_command(host: Host, run: kvm.Run) -> bool:
    """Do what an access to the VMM's own registers asks for; False when it is none of these."""
    data = PA(address_of(run) + RUN_DATA)
    if run.mmio_address == SEED and run.mmio_is_write == 0:
        store_u64(data, host.seed)
    elif run.mmio_address == ROUNDS and run.mmio_is_write == 0:
        store_u64(data, host.rounds)
    elif run.mmio_address == DROP:
        page = u64(arena(host) + load_u64(data) * PAGE_BYTES)
        dropped = syscall(MADVISE, page, PAGE_BYTES, MADV_DONTNEED, 0, 0, 0)
        check(dropped, bytes_address(b"drop a page\0"))
    elif run.mmio_address == SWAP_SLOT:
        set_slot(host, 0)
        host.current = host.current ^ 1
        set_slot(host, SLOT_BYTES)
        move_once_more(host)
    elif run.mmio_address == WRONG_PAGE:
        host.wrong_page = load_u64(data)
    elif run.mmio_address == WRONG:
        complain(host, load_u64(data))
    else:
        return False
    return True


@resident
def run_vcpu(host: Host, vcpu: Vcpu) -> None:
    """Run one vCPU until the guest ends the VM; this does not return."""
    run = at(kvm.Run, vcpu.run)
    lock = u64(address_of(host) + LOCK)
    while True:
        result = ioctl(vcpu.fd, kvm.RUN, 0)
        acquire(lock)
        if failed(result):
            interrupted(host.vm, vcpu, result)
        elif run.exit_reason != kvm.EXIT_MMIO or not serve_command(host, run):
            serve(host.vm, vcpu, run)
        release(lock)


@resident
def move(host: Host) -> None:
    """Move the guest's memory once; what the kernel refuses is not done."""
    first = arena(host)
    second = u64(first + BLOCK_BYTES)
    pause = u64(address_of(host) + Host.offset_of("pause"))
    child = syscall(CLONE, SIGCHLD, 0, 0, 0, 0, 0)
    if child == 0:
        syscall(NANOSLEEP, pause, 0, 0, 0, 0, 0)
        exit_with(0)
    syscall(MADVISE, first, BLOCK_BYTES, MADV_COLLAPSE, 0, 0, 0)
    # Advice about a part splits a huge page.
    syscall(MADVISE, second, BLOCK_BYTES // 2, MADV_COLD, 0, 0, 0)
    if not failed(child):
        syscall(WAIT4, child, 0, 0, 0, 0, 0)


@resident
def move_for_ever(host: Host) -> None:
    """Be the mover: move whenever the guest has done another round."""
    arena_start = arena(host)
    host.pause[1] = SHARED_NS
    syscall(MADVISE, arena_start, ARENA_BYTES, MADV_MERGEABLE, 0, 0, 0)
    syscall(MADVISE, u64(arena_start + BLOCK_BYTES), BLOCK_BYTES, MADV_HUGEPAGE, 0, 0, 0)
    moves = u64(address_of(host) + Host.offset_of("moves"))
    done = u64(0)
    while True:
        asked = load_acquire_u64(PA(moves))
        if asked == done:
            wait_on(moves, done)
        else:
            done = asked
            move(host)


@resident
def stress_thread(address: u64) -> None:
    """Be a vCPU's thread, or the mover's."""
    vcpu = at(Vcpu, address)
    host = at(Host, vcpu.vm)
    if vcpu.number == MOVER:
        move_for_ever(host)
    run_vcpu(host, vcpu)


@resident
def create(host: Host) -> None:
    """Make the VM."""
    vm = host.vm
    vm.at_line_start = 1
    vm.options.label = bytes_address(b"stress: \0")
    vm.options.memory_bytes = MEMORY_BYTES
    vm.options.huge_from = MEMORY_BYTES
    vm.options.cpus = VCPUS
    create_vm(vm)
    for index in range(2):
        mapped = map_anonymous(SLOT_BYTES)
        host.sets[index] = check(mapped, bytes_address(b"map the slot's pages\0"))
    set_slot(host, SLOT_BYTES)
    create_vcpus(vm)
    create_gic(vm)
    load(vm, bytes_address(b"/guest\0"), u64(IMAGE_BASE - L2_RAM_BASE))
    set_register(vm, kvm.REG_PC, IMAGE_BASE)


@resident
def stress_host_main(stack: u64) -> None:
    """Do everything. The exit status is 0 when the guest found nothing wrong."""
    host = at(Host, map_anonymous(Host.size))
    host.seed = parse_size(argument(stack, 1))
    host.rounds = parse_size(argument(stack, 2))
    create(host)
    mover = vcpu_of(host.vm, MOVER)
    mover.vm = address_of(host)
    mover.number = MOVER
    what = bytes_address(b"start a thread\0")
    check(start_thread(address_of(vcpu_of(host.vm, 1))), what)
    if host.rounds != 0:
        check(start_thread(address_of(mover)), what)
    stress_thread(address_of(vcpu_of(host.vm, 0)))


@cache
def build_stress_program() -> bytes:
    """Compile the program: a static arm64 ELF file."""
    pieces = line_buffers(GUEST_LINE), thread_stub(stress_thread)
    return build_process(stress_host_main, *pieces, calls=(stress_thread,))

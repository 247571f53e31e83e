"""The program: `parallel LEVEL`. Its first thread is one of the workers."""

from vel2.guests.parallel.rings import futex_ring, meet, pipe_ring
from vel2.guests.parallel.state import State, Worker
from vel2.guests.parallel.work import ADDITIONS, MAX_CPUS, REMAPS, SLICE, SUM_SHIFT
from vel2.lang import (
    PA,
    address_of,
    at,
    bytes_address,
    fetch_add_u64,
    inline,
    load_acquire_u64,
    load_u64,
    resident,
    store_release_u64,
    store_u64,
    u64,
)
from vel2.runtime.linux import (
    GETCPU,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MMAP,
    NO_FD,
    PIPE2,
    PROT_READ_WRITE,
    SCHED_GETAFFINITY,
    SCHED_SETAFFINITY,
    argument,
    argument_count,
    exit_with,
    failed,
    map_anonymous,
    syscall,
)
from vel2.runtime.mix import mixed
from vel2.runtime.streams import ERR, OUT
from vel2.runtime.thread import acquire, release, start_thread

__all__ = ("parallel_main", "worker")

PAGE = 4096
WORKERS = State.offset_of("workers")
CPU_SET_BYTES = 8
SEEN_AT_A_TIME = 64


@inline
def worker_of(state: State, number: u64) -> Worker:
    """Give a worker by its number."""
    return at(Worker, u64(address_of(state) + WORKERS + number * Worker.size))


@resident
def pin(state: State, own: Worker) -> None:
    """Bind the calling thread to its CPU."""
    own.affinity = u64(1 << own.number)
    mask = u64(address_of(own) + Worker.offset_of("affinity"))
    if failed(syscall(SCHED_SETAFFINITY, 0, CPU_SET_BYTES, mask, 0, 0, 0)):
        fetch_add_u64(PA(address_of(state) + State.offset_of("elsewhere")), 1)


@resident
def look_where(state: State, own: Worker) -> None:
    """Count it if the calling thread is on another CPU than its own."""
    own.cpu = 0
    syscall(GETCPU, u64(address_of(own) + Worker.offset_of("cpu")), 0, 0, 0, 0, 0)
    if own.cpu != own.number:
        fetch_add_u64(PA(address_of(state) + State.offset_of("elsewhere")), 1)


@resident
def sum_up(own: Worker) -> None:
    """Sum the thread's slice of the mixed numbers."""
    number = u64(own.number * SLICE)
    for _ in range(SLICE):
        own.sum_ = u64(own.sum_ + mixed(number))
        number = u64(number + 1)


@resident
def count(state: State) -> None:
    """Add to one count by an atomic access, and to another under the lock."""
    atomic = PA(address_of(state) + State.offset_of("atomic"))
    lock = u64(address_of(state) + State.offset_of("lock"))
    locked = PA(address_of(state) + State.offset_of("locked"))
    for _ in range(ADDITIONS):
        fetch_add_u64(atomic, 1)
        acquire(lock)
        store_u64(locked, u64(load_u64(locked) + 1))
        release(lock)


@resident
def remap(state: State) -> None:
    """Put other pages to one address, and say so after each: the kernel's TLBI is behind it."""
    flags = MAP_ANONYMOUS | MAP_FIXED
    for n in range(REMAPS):
        syscall(MMAP, state.page, PAGE, PROT_READ_WRITE, flags, NO_FD, 0)
        store_u64(PA(state.page), u64(n + 1))
        store_release_u64(PA(address_of(state) + State.offset_of("remapped")), u64(n + 1))


@resident
def watch(state: State) -> None:
    """Read that address: what is there is never older than what was last said; a new page is 0."""
    said = u64(0)
    remapped = PA(address_of(state) + State.offset_of("remapped"))
    while said < REMAPS:
        for _ in range(SEEN_AT_A_TIME):
            said = load_acquire_u64(remapped)
            seen = load_u64(PA(state.page))
            if seen != 0 and seen < said:
                fetch_add_u64(PA(address_of(state) + State.offset_of("stale")), 1)


@resident
def worker(address: u64) -> None:
    """Do everything that one thread does; all begin each part together."""
    own = at(Worker, address)
    state = at(State, own.state)
    pin(state, own)
    meet(state)
    sum_up(own)
    look_where(state, own)
    meet(state)
    pipe_ring(state, own, worker_of(state, u64(own.number + 1) % state.cpus))
    look_where(state, own)
    meet(state)
    futex_ring(state, own)
    look_where(state, own)
    meet(state)
    count(state)
    meet(state)
    if own.number == 0:
        remap(state)
    else:
        watch(state)
    look_where(state, own)
    meet(state)


@resident
def count_cpus(state: State) -> u64:
    """Count the CPUs that this process may use, from number 0 on."""
    own = worker_of(state, 0)
    mask = u64(address_of(own) + Worker.offset_of("affinity"))
    syscall(SCHED_GETAFFINITY, 0, CPU_SET_BYTES, mask, 0, 0, 0)
    cpus = u64(0)
    while cpus < MAX_CPUS and own.affinity >> cpus & 1:
        cpus = u64(cpus + 1)
    return cpus


@resident
def say(state: State, name: u64, value: u64) -> None:
    """Print a marker with a number."""
    OUT.put(bytes_address(b"##vel2 \0"))
    OUT.put(state.level)
    OUT.put(bytes_address(b".parallel_\0"))
    OUT.put(name)
    OUT.put(bytes_address(b"=\0"))
    OUT.put_decimal(value)
    OUT.put(bytes_address(b"\n\0"))


@resident
def say_all(state: State) -> None:
    """Print what came out."""
    total = u64(0)
    n = u64(0)
    while n < state.cpus:
        total = u64(total + worker_of(state, n).sum_)
        n = u64(n + 1)
    at_home = state.cpus
    if state.elsewhere != 0:
        at_home = 0
    say(state, bytes_address(b"cpus\0"), at_home)
    say(state, bytes_address(b"sum\0"), total >> SUM_SHIFT)
    say(state, bytes_address(b"pipe\0"), state.token)
    say(state, bytes_address(b"futex\0"), state.turn)
    say(state, bytes_address(b"atomic\0"), state.atomic)
    say(state, bytes_address(b"locked\0"), state.locked)
    say(state, bytes_address(b"stale\0"), state.stale)


@resident
def parallel_main(stack: u64) -> u64:
    """Do everything; give the exit status 0."""
    state = at(State, map_anonymous(State.size))
    state.level = bytes_address(b"l1\0")
    if argument_count(stack) > 1:
        state.level = argument(stack, 1)
    state.page = map_anonymous(PAGE)
    state.cpus = count_cpus(state)
    n = u64(0)
    while n < state.cpus:
        own = worker_of(state, n)
        own.state = address_of(state)
        own.number = n
        pipe = u64(address_of(own) + Worker.offset_of("pipe"))
        if failed(syscall(PIPE2, pipe, 0, 0, 0, 0, 0)):
            ERR.put(bytes_address(b"parallel: cannot make a pipe\n\0"))
            exit_with(1)
        n = u64(n + 1)
    n = u64(1)
    while n < state.cpus:
        if failed(start_thread(address_of(worker_of(state, n)))):
            ERR.put(bytes_address(b"parallel: cannot start a thread\n\0"))
            exit_with(1)
        n = u64(n + 1)
    worker(address_of(worker_of(state, 0)))
    say_all(state)
    return 0

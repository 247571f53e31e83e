"""The program: `observe LEVEL [KERNEL-ADDRESS]`, with the address in hexadecimal."""

from vel2.guests.observe import perf, tracing
from vel2.guests.observe.state import State
from vel2.lang import at, bytes_address, resident, u64
from vel2.runtime.linux import argument, argument_count, failed, map_anonymous
from vel2.runtime.streams import OUT
from vel2.runtime.text import parse_hex

TURNS = 1_000_000
USER = perf.NOT_KERNEL | perf.NOT_HYPERVISOR
KERNEL = perf.NOT_USER
HOST = perf.NOT_GUEST


@resident
def say(state: State, name: u64, value: u64) -> None:
    """Print a marker with a number, or with `-` and an errno."""
    OUT.put(bytes_address(b"##vel2 \0"))
    OUT.put(state.level)
    OUT.put(bytes_address(b".\0"))
    OUT.put(name)
    OUT.put(bytes_address(b"=\0"))
    if failed(value):
        OUT.put(bytes_address(b"-\0"))
        OUT.put_decimal(u64(0 - value))
    else:
        OUT.put_decimal(value)
    OUT.put(bytes_address(b"\n\0"))


COUNTS: tuple[tuple[bytes, int, int, int, int], ...] = (
    (b"cycles_user\0", perf.CYCLES, USER, TURNS, 0),
    (b"cycles_kernel\0", perf.CYCLES, KERNEL, 0, 2000),
    (b"cycles_host\0", perf.CYCLES, HOST, TURNS, 0),
    (b"instructions_user\0", perf.INSTRUCTIONS, USER, TURNS, 0),
    (b"instructions_user_2\0", perf.INSTRUCTIONS, USER, 2 * TURNS, 0),
)
"""Name, event, flags, turns in user space, calls of the kernel."""


@resident
def observe_main(stack: u64) -> u64:
    """Do everything; give the exit status 0."""
    state = at(State, map_anonymous(State.size))
    state.level = bytes_address(b"l1\0")
    arguments = argument_count(stack)
    if arguments > 1:
        state.level = argument(stack, 1)
    if arguments > 2:
        state.kernel_address = parse_hex(argument(stack, 2))
    for name, event, flags, turns, calls in COUNTS:
        perf.clear(state)
        counted = perf.measure(state, perf.TYPE_HARDWARE, event, flags, turns, calls)
        say(state, bytes_address(name), counted)
    say(state, bytes_address(b"sample_bytes\0"), perf.sample(state, USER))
    say(state, bytes_address(b"traced\0"), tracing.trace(state))
    if state.kernel_address != 0:
        say(state, bytes_address(b"kernel_breaks\0"), perf.break_in_kernel(state))
    return 0

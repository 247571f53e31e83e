"""The bare-metal L2: for each operation a warm-up, the timed round and single ones, between marks.

Results are printed when everything is done, because printing keeps L1 busy for a while after it
seems finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from vel2.bench.entry import interrupt_code
from vel2.bench.layout import (
    FRESH,
    FRESH_BLOCKS,
    MAX_COUNT,
    MAX_OPERATIONS,
    ROUNDS,
    TIMED,
    UNKNOWN_EXITS,
    WARM_UP,
    WARM_UP_COUNT,
    Parameters,
    State,
)
from vel2.bench.marks import open_files, pass_mark
from vel2.bench.operations import OPERATIONS, UNAVAILABLE, operation_names, tlbi, unmask_interrupts
from vel2.errors import UserError
from vel2.guests.l2board import (
    L2_MEMORY,
    gic_init,
    put,
    put_byte,
    put_number,
    unexpected_exception,
)
from vel2.guests.l2tree import L2_STATISTICS_BASE
from vel2.lang import PA, Image, bytes_address, inline, load_u64, resident, u64
from vel2.runtime.bare import Bare, build_bare
from vel2.runtime.clock import counter
from vel2.runtime.console import NEWLINE
from vel2.runtime.semihosting import semihosting_stub

__all__ = ("Payload", "build_payload", "payload_image")


@inline
def least(a: u64, b: u64) -> u64:
    """Give the smaller one."""
    if a < b:
        return a
    return b


@resident
def rounds_of(count: u64, number: u64) -> u64:
    """Say how often an operation is done in a round."""
    if number == WARM_UP:
        return WARM_UP_COUNT
    if number == TIMED:
        return count
    return 1


@inline
def exits_so_far() -> u64:
    """Read how often L2 has exited; this read is an exit itself."""
    return load_u64(PA(L2_STATISTICS_BASE))


@resident
def begin(state: State, parameters: Parameters, operation: u64, number: u64, count: u64) -> None:
    """Pass the mark before a round; after the very first, give the host time."""
    state.mark.operation = operation
    state.mark.round = number
    state.mark.count = count
    state.mark.ticks = 0
    pass_mark(state, parameters)
    while parameters.preroll != 0:
        tlbi(state)
        parameters.preroll = u64(parameters.preroll - 1)


@resident
def end(state: State, parameters: Parameters, ticks: u64) -> None:
    """Pass the mark after a round, and keep the result of the timed one."""
    state.mark.ticks = ticks
    pass_mark(state, parameters)
    if state.mark.round == TIMED:
        result = state.results[state.mark.operation % MAX_OPERATIONS]
        result.count = state.mark.count
        result.ticks = ticks


@resident
def count_exits(state: State, exits: u64) -> None:
    """Keep how often L2 has exited since the count was `exits`; each look is an exit too."""
    result = state.results[state.mark.operation % MAX_OPERATIONS]
    if exits == 0:
        result.exits = UNKNOWN_EXITS
    else:
        result.exits = u64(result.exits + (exits_so_far() - exits - 1))
    result.exits_of = u64(result.exits_of + state.mark.count)


@resident
def report(state: State, parameters: Parameters) -> None:
    """Print a line for each operation."""
    for index, operation in enumerate(OPERATIONS):
        if parameters.selected >> index & 1:
            put(bytes_address(b"result \0"))
            put(bytes_address(operation.text))
            put_number(state.results[index].count)
            put_number(state.results[index].ticks)
            put_number(state.results[index].exits)
            put_number(state.results[index].exits_of)
            put_byte(NEWLINE)
    put(bytes_address(b"done\0"))
    put_number(state.mark.sequence)
    put_byte(NEWLINE)


@inline
def do_all(state: State, parameters: Parameters) -> None:
    """Do each operation that was selected, round by round."""
    for index, operation in enumerate(OPERATIONS):
        if parameters.selected >> index & 1:
            number = u64(0)
            while number < ROUNDS:
                count = rounds_of(
                    least(parameters.count // operation.divisor, operation.most), number
                )
                exits = u64(0)
                if operation.is_prepared:
                    if number > TIMED:
                        operation.prepare(state)
                        exits = exits_so_far()
                    begin(state, parameters, index, number, count)
                    ticks = u64(0)
                    left = count
                    while left != 0:
                        if number <= TIMED:
                            operation.prepare(state)
                        begun = counter()
                        operation.run(state)
                        ticks = u64(ticks + (counter() - begun))
                        left = u64(left - 1)
                    end(state, parameters, ticks)
                    if number > TIMED:
                        count_exits(state, exits)
                    unmask_interrupts()
                else:
                    if number == TIMED:
                        exits = exits_so_far()
                    begin(state, parameters, index, number, count)
                    left = count
                    begun = counter()
                    while left != 0:
                        operation.run(state)
                        left = u64(left - 1)
                    end(state, parameters, u64(counter() - begun))
                    if number == TIMED:
                        count_exits(state, exits)
                number = u64(number + 1)


@resident
def bench_main(state: State, parameters: Parameters) -> None:
    """Do everything."""
    state.fresh = FRESH
    state.fresh_block = FRESH_BLOCKS
    if parameters.has_marks != 0:
        open_files(state)
    gic_init(0)
    unmask_interrupts()
    do_all(state, parameters)
    report(state, parameters)


PROGRAM = Bare(
    "the payload",
    1,
    L2_MEMORY,
    bench_main,
    State,
    "vectors",
    Parameters,
    calls=(unexpected_exception,),
)


@dataclass(frozen=True)
class Payload:
    """The image, and what it does.

    :ivar data: an arm64 Image.
    :ivar count: how often each operation is done in the timed round.
    :ivar selected: the operations, in their order.
    """

    data: bytes
    count: int
    selected: tuple[str, ...]


@cache
def payload_image() -> Image:
    """Give the image, with nothing patched in."""
    return build_bare(PROGRAM, interrupt_code(), semihosting_stub())


def build_payload(
    count: int, selected: Sequence[str] = (), has_marks: bool = True, preroll: int = 0
) -> Payload:
    """Build the payload.

    :param count: how often each operation is done in the timed round.
    :param selected: names of operations; all when empty.
    :param has_marks: tell the host at each mark, by semihosting, which the machine must offer.
    :param preroll: after the first mark, give the host time: about a microsecond for each.
    :raises UserError: when there is no such operation, or the count is out of range.
    """
    known = operation_names()
    for name in selected:
        if name in UNAVAILABLE:
            raise UserError(f"{name} cannot be measured: {UNAVAILABLE[name]}")
        if name not in known:
            raise UserError(f"there is no operation {name!r}; give one of {', '.join(known)}.")
    fewest = max(operation.divisor for operation in OPERATIONS)
    if not fewest <= count <= MAX_COUNT:
        raise UserError(f"an operation cannot be done {count} times; give {fewest} to {MAX_COUNT}.")
    wanted = tuple(name for name in known if not selected or name in selected)
    image = payload_image()
    data = bytearray(image.data)
    parameters = Parameters(data, image.symbols["parameters"] - image.base)
    parameters.count = count
    parameters.has_marks = int(has_marks)
    parameters.preroll = preroll
    parameters.selected = sum(1 << known.index(name) for name in wanted)
    return Payload(bytes(data), count, wanted)

"""The bare-metal L2: for each operation a warm-up, the timed round and single ones, between marks.

Results are printed when everything is done, because printing keeps L1 busy for a while after it
seems finished.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from vel2.bench.entry import interrupt_code, other_interrupt_code
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
from vel2.bench.masks import unmask_interrupts
from vel2.bench.operations import OPERATIONS, Operation, operation_names, tlbi, unavailable
from vel2.bench.others import await_others, bench_other, give_work, start_others
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
from vel2.lang import PA, Image, bytes_address, inline, load_u64, resident, u64, vstore
from vel2.runtime.bare import Bare, build_bare
from vel2.runtime.clock import counter
from vel2.runtime.console import NEWLINE
from vel2.runtime.semihosting import semihosting_stub

DoRound = Callable[[State, Parameters, u64, u64, u64], None]
"""Does a round: the operation's index, the round's number, and how often to do it."""
__all__ = ("FEWEST", "Payload", "build_payload", "payload_image")


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


def together(operation: Operation) -> DoRound:
    """Make the function that does a round of an operation that all vCPUs do at once."""

    @inline
    def do_together(
        state: State, parameters: Parameters, index: u64, number: u64, count: u64
    ) -> None:
        exits = u64(0)
        if number == TIMED:
            exits = exits_so_far()
        begin(state, parameters, index, number, u64(count * parameters.vcpus))
        begun = counter()
        give_work(state, parameters, count)
        left = count
        while left != 0:
            operation.run(state)
            left = u64(left - 1)
        await_others(state, parameters)
        end(state, parameters, u64(counter() - begun))
        if number == TIMED:
            count_exits(state, exits)

    return do_together


def prepared(operation: Operation) -> DoRound:
    """Make the function that does a round of an operation that is prepared and timed each time."""

    @inline
    def do_prepared(
        state: State, parameters: Parameters, index: u64, number: u64, count: u64
    ) -> None:
        exits = u64(0)
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

    return do_prepared


def plain(operation: Operation) -> DoRound:
    """Make the function that does a round of an operation of any other kind."""

    @inline
    def do_plain(state: State, parameters: Parameters, index: u64, number: u64, count: u64) -> None:
        exits = u64(0)
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

    return do_plain


def round_of(operation: Operation) -> DoRound:
    """Make the function that does a round of an operation."""
    if operation.together:
        return together(operation)
    return prepared(operation) if operation.is_prepared else plain(operation)


@dataclass(frozen=True)
class Row:
    """An operation, and what does a round of it."""

    operation: Operation
    do: DoRound


ROWS = tuple(Row(operation, round_of(operation)) for operation in OPERATIONS)


@inline
def do_all(state: State, parameters: Parameters) -> None:
    """Do each operation that was selected, round by round."""
    for index, row in enumerate(ROWS):
        if parameters.selected >> index & 1:
            number = u64(0)
            while number < ROUNDS:
                most = least(parameters.count // row.operation.divisor, row.operation.most)
                if row.operation.vcpus > 1:
                    vstore(state, "others_spin", int(row.operation.others_spin))
                row.do(state, parameters, index, number, rounds_of(most, number))
                number = u64(number + 1)


@resident
def bench_main(state: State, parameters: Parameters) -> None:
    """Do everything."""
    state.fresh = FRESH
    state.fresh_block = FRESH_BLOCKS
    if parameters.has_marks != 0:
        open_files(state)
    gic_init(0)
    start_others(state, parameters)
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
    secondary=bench_other,
)


FEWEST = max(operation.divisor for operation in OPERATIONS)
"""With a lower `--n`, an operation would not be done at all."""


@dataclass(frozen=True)
class Payload:
    """The image, and what it does.

    :ivar data: an arm64 Image.
    :ivar count: how often each operation is done in the timed round.
    :ivar selected: the operations, in their order. :ivar vcpus: how many L2 must have.
    """

    data: bytes
    count: int
    selected: tuple[str, ...]
    vcpus: int = 1


@cache
def payload_image() -> Image:
    """Give the image, with nothing patched in."""
    return build_bare(PROGRAM, interrupt_code(), other_interrupt_code(), semihosting_stub())


def build_payload(
    count: int,
    selected: Sequence[str] = (),
    has_marks: bool = True,
    preroll: int = 0,
    vcpus: int = 1,
) -> Payload:
    """Build the payload.

    :param count: how often each operation is done in the timed round.
    :param selected: names of operations; all when empty.
    :param has_marks: tell the host at each mark, by semihosting, which the machine must offer.
    :param preroll: after the first mark, give the host time: about a microsecond for each.
    :param vcpus: how many L2 has.
    :raises UserError: when there is no such operation, or it takes more vCPUs, or the count is out
        of range.
    """
    known, lacking = operation_names(), unavailable(vcpus)
    for name in selected:
        if name in lacking:
            raise UserError(f"{name} cannot be measured: {lacking[name]}")
        if name not in known:
            raise UserError(f"there is no operation {name!r}; give one of {', '.join(known)}.")
    if not FEWEST <= count <= MAX_COUNT:
        raise UserError(f"an operation cannot be done {count} times; give {FEWEST} to {MAX_COUNT}.")
    wanted = tuple(
        name for name in known if (not selected or name in selected) and name not in lacking
    )
    image = payload_image()
    data = bytearray(image.data)
    parameters = Parameters(data, image.symbols["parameters"] - image.base)
    parameters.count = count
    parameters.has_marks = int(has_marks)
    parameters.preroll = preroll
    parameters.vcpus = vcpus
    parameters.selected = sum(1 << known.index(name) for name in wanted)
    return Payload(bytes(data), count, wanted, vcpus)

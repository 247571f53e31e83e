"""Where the payload keeps its data in L2's RAM, and what the host tells it.

Image, state and stack lie where `guests.l2board` says. Higher still is memory that nobody has
touched, for stage-2 faults: first memory that L1 gives page by page, then memory that it gives in
huge pages.
"""

from vel2.guests.l2tree import L2_RAM_BASE
from vel2.lang import Struct, array, nested, scalar, u8, u64

FRESH = L2_RAM_BASE + 0x100_0000
HUGE_FROM_BYTES = 256 << 20
FRESH_BLOCKS = L2_RAM_BASE + HUGE_FROM_BYTES
MEMORY_BYTES = 512 << 20
PAGE_BYTES = 0x1000
BLOCK_BYTES = 2 << 20

MAX_OPERATIONS = 32
MAX_VCPUS = 8
WARM_UP = 0
"""The round that makes an operation's code and data present; it is not counted."""
TIMED = 1
"""The round that does the operation `count` times; the rounds after it do it once each."""
SINGLES = 15
ROUNDS = TIMED + 1 + SINGLES
WARM_UP_COUNT = 8
MAX_COUNT = 50_000
"""The number of fresh pages that fit into the memory."""
MAX_BLOCKS = (MEMORY_BYTES - HUGE_FROM_BYTES) // BLOCK_BYTES - WARM_UP_COUNT - SINGLES


UNKNOWN_EXITS = (1 << 64) - 1


class Parameters(Struct):
    """What the host patches into the image."""

    count = scalar(u64)
    has_marks = scalar(u64)
    """Tell the host at each mark, and wait for its answer."""
    selected = scalar(u64)
    """Bit n: do operation number n."""
    vcpus = scalar(u64)
    """How many vCPUs L2 has."""
    preroll = scalar(u64)
    """How often to do `tlbi` first, which takes time of the host but of nobody else."""


class Result(Struct):
    """What the timed round of one operation took."""

    count = scalar(u64)
    ticks = scalar(u64)
    exits = scalar(u64)
    """How often L2 exited; `UNKNOWN_EXITS` if L1's KVM does not report it."""
    exits_of = scalar(u64)
    """In how many operations it exited so often."""


class Mark(Struct):
    """What the payload tells the host where a round begins and ends."""

    sequence = scalar(u64)
    """How many marks there were, this one included."""
    operation = scalar(u64)
    round = scalar(u64)
    count = scalar(u64)
    ticks = scalar(u64)
    """What the round took; 0 where it begins."""


PATH_BYTES = 256


class State(Struct):
    """The payload's variables."""

    interrupts = scalar(u64)
    """How many interrupts the first vCPU's handler has taken."""
    others_spin = scalar(u64)
    """The other vCPUs wait for interrupts by looking, not in WFI."""
    others_work = scalar(u64)
    """How often they have been given work, in all."""
    others_count = scalar(u64)
    """How many hypercalls each has to make then."""
    others_done = array(u64, MAX_VCPUS)
    """By number: the work that each has done last."""
    others_ready = array(u64, MAX_VCPUS)
    fresh = scalar(u64)
    """The next page that nobody has touched."""
    fresh_block = scalar(u64)
    mark = nested(Mark)
    to_host = scalar(u64)
    from_host = scalar(u64)
    """Handles of the host's two files."""
    block = array(u64, 4)
    """Arguments of a semihosting call."""
    path = array(u8, PATH_BYTES)
    answer = scalar(u64)
    results = array(Result, MAX_OPERATIONS)

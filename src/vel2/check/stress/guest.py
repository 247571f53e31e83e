"""The guest: a bare-metal program on two vCPUs, with its MMU off.

A round has three parts, and the vCPUs meet after each:

1. each writes a quarter of its half of the arena, with patterns of this round;
2. each checks the other's half, whose quarters are of four rounds. Then the first gives one page
   back to L1 and finds zeros there, and has L1 put other pages behind the memory slot;
3. the second finds zeros in that page too, and in the slot what was written there two rounds ago.
   It writes the slot.

To meet, a vCPU says how far it is, sends the other an SGI, and sleeps in WFI until the other is as
far. Interrupts are masked while it looks, so an SGI that comes between look and WFI still ends the
WFI. Nothing else wakes it: a virtual IPI that is lost is a hang.

Data accesses are to Device memory here, and in program order; the flags are written by one vCPU
each. So nothing is needed that Device memory does not have.
"""

from functools import cache

from vel2.arch import sysregs as sr
from vel2.check.stress.layout import (
    ARENA,
    ARENA_PAGES,
    COMMON_PAGES,
    DROP,
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
from vel2.guests.l2board import L2_MEMORY, STACK_TOP, gic_init, turn_on, unexpected_exception
from vel2.lang import (
    PA,
    Assembler,
    Struct,
    array,
    dsb_sy,
    inline,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    store_u64,
    u64,
    vload,
    vstore,
    wfi,
)
from vel2.runtime.bare import Bare, build_bare, reporting_vectors
from vel2.runtime.mix import mixed

__all__ = ("build_stress_guest",)

HALF = ARENA_PAGES // VCPUS
FIRST, SECOND = 0, 1
PLACES = (0, PAGE_BYTES // 2, PAGE_BYTES - 8)
"""Where in a page the pattern is."""
STEADY = 8
"""Rounds for which the common pages stay as they are."""
SGIS = 16
SLOT_TAG = 1 << 15
"""Added to a page's number for the slot, so that its patterns are not the arena's."""
QUARTERS = 4
STRIDE = 7
"""The page that is given back goes through the half in this step, of quarters."""


class State(Struct):
    """What the vCPUs share."""

    arrived = array(u64, VCPUS)
    """How many parts each has done."""


@inline
def tag(seed: u64, page: u64, turn: u64) -> u64:
    """Give the pattern that a page gets in a round."""
    return mixed(u64(seed << 32) | u64(page << 16) | turn)


@inline
def arena_tag(seed: u64, page: u64, turn: u64) -> u64:
    """Give the pattern that a page of the arena gets: one of all guests, or its own."""
    if page < COMMON_PAGES:
        return mixed(turn // STEADY)
    return tag(seed, page, turn)


@inline
def age(page: u64, turn: u64) -> u64:
    """Give how many rounds ago a page of the arena was written."""
    return u64(page + turn) % QUARTERS


@resident
def write_page(address: u64, value: u64) -> None:
    """Write the pattern of one page."""
    for place in PLACES:
        store_u64(PA(address + place), value)


@resident
def check_page(page: u64, address: u64, value: u64) -> None:
    """Complain unless a page has this pattern."""
    for place in PLACES:
        found = load_u64(PA(address + place))
        if found != value:
            store_u64(PA(WRONG_PAGE), page)
            store_u64(PA(WRONG), found)


@inline
def page_at(page: u64) -> u64:
    """Give the address of a page of the arena."""
    return u64(ARENA + page * PAGE_BYTES)


@inline
def slot_page_at(page: u64) -> u64:
    """Give the address of a page of the slot."""
    return u64(SLOT + page * PAGE_BYTES)


@resident
def meet(state: State, number: u64) -> None:
    """Wait until the other vCPU has done as many parts as this one."""
    other = u64(1 - number)
    parts = u64(vload(state, "arrived", number) + 1)
    vstore(state, "arrived", parts, number)
    dsb_sy()
    msr(sr.ICC_SGI1R_EL1, u64(1 << other))
    isb()
    while vload(state, "arrived", other) < parts:
        wfi()
        intid = mrs(sr.ICC_IAR1_EL1)
        if intid < SGIS:
            msr(sr.ICC_EOIR1_EL1, intid)
            isb()


@resident
def write_half(seed: u64, number: u64, turn: u64) -> None:
    """Write the pages of a vCPU's half of the arena whose turn it is."""
    page = u64(number * HALF)
    for _ in range(HALF):
        if age(page, turn) == 0:
            write_page(page_at(page), arena_tag(seed, page, turn))
        page = u64(page + 1)


@resident
def check_half(seed: u64, number: u64, turn: u64) -> None:
    """Check a vCPU's half of the arena."""
    page = u64(number * HALF)
    for _ in range(HALF):
        value = u64(0)
        if age(page, turn) < turn:
            value = arena_tag(seed, page, u64(turn - age(page, turn)))
        check_page(page, page_at(page), value)
        page = u64(page + 1)


@resident
def page_to_give_back(turn: u64) -> u64:
    """Choose a page of the second half that is written in the next round."""
    group = u64(turn * STRIDE) % (HALF // QUARTERS)
    page = u64(HALF + group * QUARTERS)
    return u64(page + (QUARTERS - 1 - age(page, turn)))


@resident
def write_slot(seed: u64, turn: u64) -> None:
    """Write the set of pages that is behind the slot now."""
    for page in range(SLOT_PAGES):
        write_page(slot_page_at(page), tag(seed, u64(page | SLOT_TAG), turn))


@resident
def check_slot(seed: u64, turn: u64) -> None:
    """Check that set: it was written two rounds ago, or never."""
    for page in range(SLOT_PAGES):
        value = u64(0)
        if turn > VCPUS:
            value = tag(seed, u64(page | SLOT_TAG), u64(turn - 2))
        check_page(u64(page | SLOT_TAG), slot_page_at(page), value)


@resident
def one_round(state: State, number: u64, seed: u64, turn: u64) -> None:
    """Do one round, as one of the two vCPUs."""
    given_back = page_to_give_back(turn)
    write_half(seed, number, turn)
    meet(state, number)
    check_half(seed, u64(1 - number), turn)
    if number == FIRST:
        store_u64(PA(DROP), given_back)
        check_page(given_back, page_at(given_back), 0)
        store_u64(PA(SWAP_SLOT), 0)
    meet(state, number)
    if number == SECOND:
        check_page(given_back, page_at(given_back), 0)
        check_slot(seed, turn)
        write_slot(seed, turn)
    meet(state, number)


@resident
def all_rounds(state: State, number: u64) -> None:
    """Do all rounds."""
    seed = load_u64(PA(SEED))
    rounds = load_u64(PA(ROUNDS))
    gic_init(number)
    for turn in range(rounds):
        one_round(state, number, seed, u64(turn + 1))


@resident
def stress_main(state: State) -> None:
    """Be the first vCPU; the VM powers off when it has done all rounds."""
    if load_u64(PA(ROUNDS)) == 0:
        return
    if turn_on(SECOND):
        all_rounds(state, FIRST)
    else:
        store_u64(PA(WRONG_PAGE), 0)
        store_u64(PA(WRONG), 0)


@resident
def stress_second(state: State, number: u64) -> None:
    """Be the second vCPU, which then sleeps until the first ends the VM."""
    all_rounds(state, number)
    while True:
        wfi()


PROGRAM = Bare(
    "the guest of the stress",
    1,
    L2_MEMORY,
    stress_main,
    State,
    "vectors",
    calls=(unexpected_exception,),
    secondary=stress_second,
)


@cache
def build_stress_guest() -> bytes:
    """Compile the program, to be loaded at `IMAGE_BASE` and started there."""
    a = Assembler("vectors")
    reporting_vectors(a, "vectors", STACK_TOP)
    return build_bare(PROGRAM, a).data

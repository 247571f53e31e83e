"""The L2 of the growth curves: a bare-metal program that obeys L1's program.

It runs at EL1 with its MMU off and interrupts masked, and asks for each command by a read that goes
to L1's user space. So every command costs one exit to user space, and whatever the command itself
causes.
"""

from functools import cache

from vel2.arch import sysregs as sr
from vel2.arch.psci import PSCI_VERSION
from vel2.bench.growth.points import ASK, COMMAND_BITS, HYPERCALLS, RAISE_SGIS, TOUCH
from vel2.bench.layout import FRESH, PAGE_BYTES
from vel2.guests.l2board import L2_MEMORY, STACK_TOP, gic_init, unexpected_exception
from vel2.lang import PA, Assembler, Struct, isb, load_u64, msr, resident, scalar, store_u64, u64
from vel2.runtime.bare import Bare, build_bare, reporting_vectors
from vel2.runtime.psci import firmware_call

__all__ = ("build_growth_guest",)

COMMAND_MASK = (1 << COMMAND_BITS) - 1
INTID_SHIFT = sr.ICC_SGI1R_EL1.INTID.lsb
TO_SELF = 1


class Done(Struct):
    """How far the commands have come."""

    raised = scalar(u64)
    """SGIs that are pending, from number 0 on."""
    touched = scalar(u64)
    """Fresh pages written to."""


@resident
def growth_guest_main(done: Done) -> None:
    """Do commands for ever. SGIs are raised from number 0 on; fresh pages follow one another."""
    gic_init(0)
    while True:
        asked = load_u64(PA(ASK))
        command = asked & COMMAND_MASK
        count = asked >> COMMAND_BITS
        if command == RAISE_SGIS:
            while done.raised < count:
                msr(sr.ICC_SGI1R_EL1, u64(done.raised << INTID_SHIFT) | TO_SELF)
                isb()
                done.raised = u64(done.raised + 1)
        elif command == TOUCH:
            page = u64(FRESH + done.touched * PAGE_BYTES)
            done.touched = u64(done.touched + count)
            while count != 0:
                store_u64(PA(page), 1)
                page = u64(page + PAGE_BYTES)
                count = u64(count - 1)
        elif command == HYPERCALLS:
            while count != 0:
                firmware_call(PSCI_VERSION)
                count = u64(count - 1)


PROGRAM = Bare(
    "the guest of the growth curves",
    1,
    L2_MEMORY,
    growth_guest_main,
    Done,
    "vectors",
    calls=(unexpected_exception,),
)


@cache
def build_growth_guest() -> bytes:
    """Compile the program, to be loaded at `IMAGE_BASE` and started there."""
    a = Assembler("vectors")
    reporting_vectors(a, "vectors", STACK_TOP)
    return build_bare(PROGRAM, a).data

"""The L2 of the growth curves: a bare-metal program that does what L1's program tells it to.

It runs at EL1 with its MMU off and interrupts masked, and asks for a command by a read that goes to
L1's user space. So every command is one exit to user space, and what the command itself causes.
"""

from functools import cache

from vel2.arch import sysregs as sr
from vel2.bench.growth.points import ASK, COMMAND_BITS, HYPERCALLS, RAISE_SGIS, TOUCH
from vel2.bench.layout import FRESH, IMAGE_BASE, PAGE_BYTES, STACK_TOP
from vel2.bench.operations import PSCI_VERSION, hypercall
from vel2.bench.payload import gic_init
from vel2.lang import (
    PA,
    SP,
    Assembler,
    build_object,
    isb,
    link_image,
    load_u64,
    msr,
    resident,
    store_u64,
    u64,
)

__all__ = ("build_growth_guest",)

COMMAND_MASK = (1 << COMMAND_BITS) - 1
INTID_SHIFT = sr.ICC_SGI1R_EL1.INTID.lsb
TO_SELF = 1


@resident
def growth_guest_main() -> None:
    """Do commands for ever. SGIs are raised from number 0 on; fresh pages follow one another."""
    raised = u64(0)
    page = u64(FRESH)
    gic_init()
    while True:
        asked = load_u64(PA(ASK))
        command = asked & COMMAND_MASK
        count = asked >> COMMAND_BITS
        if command == RAISE_SGIS:
            while raised < count:
                msr(sr.ICC_SGI1R_EL1, u64(raised << INTID_SHIFT) | TO_SELF)
                isb()
                raised = u64(raised + 1)
        elif command == TOUCH:
            while count != 0:
                store_u64(PA(page), 1)
                page = u64(page + PAGE_BYTES)
                count = u64(count - 1)
        elif command == HYPERCALLS:
            while count != 0:
                hypercall(PSCI_VERSION)
                count = u64(count - 1)


def entry() -> Assembler:
    """Give the start, EL1 with the MMU off, and what the subset cannot say."""
    a = Assembler("entry")
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    a.mov_imm(0, STACK_TOP)
    a.mov(SP, 0)
    a.bl("growth_guest_main")
    a.label("hypercall")
    a.hvc(0)
    a.ret()
    return a


@cache
def build_growth_guest() -> bytes:
    """Compile the program, to be loaded at `IMAGE_BASE` and started there."""
    return link_image(IMAGE_BASE, [entry()], build_object((growth_guest_main,))).data

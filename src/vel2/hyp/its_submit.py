"""L0's own command queue, which hardware reads one command at a time.

L0 submits a command only after hardware has finished the one before. So the queue never fills, and
one page is enough.
"""

from vel2.arch.gicv3 import COMMAND_BYTES, GITS_CREADR, GITS_CWRITER
from vel2.hyp import layout
from vel2.hyp.device import read_long_register, write_long_register
from vel2.hyp.gicstate import Gic
from vel2.lang import PA, dsb_sy, resident, store_u64, u64

__all__ = ("is_done", "submit")

PATIENCE = 100
"""Reads of GITS_CREADR; a machine that needs longer for one command is waited for elsewhere."""


@resident
def is_done(gic: Gic) -> bool:
    """Whether hardware has done all that it was given; looks for a small while."""
    for _ in range(PATIENCE):
        if read_long_register(u64(gic.control + GITS_CREADR.offset)) == gic.hardware_writer:
            return True
    return False


@resident
def submit(gic: Gic, first: u64, second: u64, third: u64, fourth: u64) -> None:
    """Give hardware a command. The caller has found it done with the one before."""
    place = u64(gic.base + layout.ITS_QUEUE_IN_GIC + gic.hardware_writer)
    store_u64(PA(place), first)
    store_u64(PA(place + 8), second)
    store_u64(PA(place + 16), third)
    store_u64(PA(place + 24), fourth)
    gic.hardware_writer = u64(gic.hardware_writer + COMMAND_BYTES) & (layout.ITS_QUEUE_BYTES - 1)
    dsb_sy()
    write_long_register(u64(gic.control + GITS_CWRITER.offset), gic.hardware_writer)

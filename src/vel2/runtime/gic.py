"""Bring up a GICv3 for the one PE that runs the program: SGIs and PPIs, all in Group 1."""

from vel2.arch import sysregs as sr
from vel2.arch.gicv3 import (
    FRAME_BYTES,
    GICD_CTLR,
    GICR_IGROUPR0,
    GICR_ISENABLER0,
    GICR_WAKER,
)
from vel2.lang import dsb_sy, isb, msr, resident, u64
from vel2.runtime.device import read_word, write_word

__all__ = ("ALL_PRIORITIES", "open_cpu_interface", "start_gic")

ALL_INTIDS = 0xFFFF_FFFF
ALL_PRIORITIES = 0xFF


@resident
def start_gic(distributor: u64, redistributor: u64, enabled: u64) -> None:
    """Turn on Group 1, wake the PE's redistributor, and enable SGIs and PPIs.

    :param enabled: bit n enables INTID n.
    """
    write_word(distributor + GICD_CTLR.offset, GICD_CTLR.compose(ARE=1, EnableGrp1=1))
    while read_word(distributor + GICD_CTLR.offset) & GICD_CTLR.RWP.mask:
        pass
    waker = u64(redistributor + GICR_WAKER.offset)
    write_word(waker, read_word(waker) & ~GICR_WAKER.ProcessorSleep.mask)
    while read_word(waker) & GICR_WAKER.ChildrenAsleep.mask:
        pass
    sgi_base = u64(redistributor + FRAME_BYTES)
    write_word(u64(sgi_base + GICR_IGROUPR0), ALL_INTIDS)
    write_word(u64(sgi_base + GICR_ISENABLER0), enabled)
    dsb_sy()


@resident
def open_cpu_interface() -> None:
    """Let interrupts of Group 1 and every priority come to this PE."""
    msr(sr.ICC_PMR_EL1, ALL_PRIORITIES)
    msr(sr.ICC_CTLR_EL1, 0)
    msr(sr.ICC_IGRPEN1_EL1, 1)
    isb()

"""What L0 counts, for the host to read."""

from vel2.lang import Struct, array, scalar, u32, u64

__all__ = ("SYSREG_COUNTERS", "Counters")

SYSREG_COUNTERS = 1 << 16


class Counters(Struct):
    """What trapped, counted since start."""

    by_ec = array(u64, 128)
    """[context * 64 + EC]."""
    irq = array(u64, 2)
    fiq = array(u64, 2)
    serror = array(u64, 2)
    fast_eret = scalar(u64)
    """ERETs finished in the vectors; not in `by_ec`."""
    to_vel1 = scalar(u64)
    to_vel2 = scalar(u64)
    ahead = scalar(u64)
    """Accesses that would have trapped, done with the trap before (`ahead`); not in `by_ec`."""
    forwarded = scalar(u64)
    injected = scalar(u64)
    shadow_fills = scalar(u64)
    shadow_unmaps = scalar(u64)
    by_sysreg = array(u32, SYSREG_COUNTERS)
    """[trap key] for EC 0x18, both contexts."""

"""The time, readable at any Exception level."""

from vel2.arch import sysregs as sr
from vel2.lang import inline, isb, mrs, u64

__all__ = ("counter",)


@inline
def counter() -> u64:
    """Read the virtual count, once all earlier instructions have completed."""
    isb()
    return mrs(sr.CNTVCT_EL0)

"""The call to the machine's own firmware, below L0."""

from vel2.lang import extern, u64

__all__ = ("firmware_call",)


@extern("firmware_call")
def firmware_call(function: u64, first: u64, second: u64, third: u64) -> u64:
    """Make an SMC to the machine's own firmware."""
    raise NotImplementedError("there is no firmware below CPython")

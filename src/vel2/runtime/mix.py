"""Numbers that look random, and that guest and host compute alike.

They are splitmix64's (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA
2014): one step of it from any number, so that any of them can be had without those before it.
"""

from vel2.lang import inline, u64

__all__ = ("mixed",)

GAMMA = 0x9E37_79B9_7F4A_7C15
FIRST, SECOND = 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB


@inline
def mixed(number: u64) -> u64:
    """Give what the generator whose state is `number` gives next."""
    x = u64(u64(number + 1) * GAMMA)
    x = u64((x ^ x >> 30) * FIRST)
    x = u64((x ^ x >> 27) * SECOND)
    return x ^ x >> 31

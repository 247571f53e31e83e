"""Scalar and address types of the subset.

To mypy they are `int` (and, for addresses, distinct subclasses of `int`), so resident code checks
as plain Python. At run time each is a `Scalar`: calling it wraps a value into the type, which is
all that CPython needs to compute what the machine computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1
U32_MAX = (1 << 32) - 1
U64_MAX = WORD_MASK


class Scalar:
    """A fixed-width unsigned integer type; calling it wraps a value into the type."""

    __slots__ = ("bits", "is_address", "mask", "name", "size")

    def __init__(self, name: str, bits: int, is_address: bool = False) -> None:
        self.name = name
        self.bits = bits
        self.size = bits // 8
        self.mask = (1 << bits) - 1
        self.is_address = is_address

    def __call__(self, value: int) -> int:
        """Wrap a value into the type."""
        return value & self.mask

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name


if TYPE_CHECKING:
    u8 = int
    u16 = int
    u32 = int
    u64 = int

    class VA(int):
        """A virtual address."""

    class IPA(int):
        """An intermediate physical address of whatever guest runs: an L2IPA or an L1IPA."""

    class L2IPA(int):
        """An intermediate physical address of L2, the guest's guest."""

    class L1IPA(int):
        """An intermediate physical address of L1, the guest hypervisor."""

    class PA(int):
        """A physical address."""

else:
    u8 = Scalar("u8", 8)
    u16 = Scalar("u16", 16)
    u32 = Scalar("u32", 32)
    u64 = Scalar("u64", 64)
    VA = Scalar("VA", 64, is_address=True)
    IPA = Scalar("IPA", 64, is_address=True)
    L2IPA = Scalar("L2IPA", 64, is_address=True)
    L1IPA = Scalar("L1IPA", 64, is_address=True)
    PA = Scalar("PA", 64, is_address=True)

U8, U16, U32, U64 = (cast(Scalar, scalar) for scalar in (u8, u16, u32, u64))
"""The same objects, typed as what they are at run time: for the compiler's own use."""

BY_SIZE = {scalar.size: scalar for scalar in (U8, U16, U32, U64)}

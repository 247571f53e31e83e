"""Where a guest's kernel runs, told by the addresses at which it trapped and nothing else.

Few instructions of a kernel can trap to a hypervisor, one in thirty perhaps. An address that
trapped is at one of these, so the base is the one at which nearly all of the addresses are.
`symbols.locate` is surer, where the syndromes are known as well.
"""

from collections.abc import Sequence

from vel2.arch.a64 import BYTES, SystemInstruction, SystemRegisterMove
from vel2.arch.trapped import ERETS, HVC, IMM16_LSB, SMC, WFX
from vel2.guests.kallsyms import KernelSymbols
from vel2.guests.symbols import BASE_ALIGN_BYTES, RunningKernel

__all__ = ("locate_by_addresses",)

MOST_ADDRESSES = 256
FIRST_ADDRESSES = 8
"""Each of these may be the kernel's; the base must be one at which it is inside."""
LEAST_ADDRESSES = 8
LEAST_SHARE = 0.6
"""Of the addresses that would be inside: aborts come from loads and stores, too."""
IMMEDIATE = 0xFFFF << IMM16_LSB
ALONE = frozenset((*ERETS.values(), *WFX.values()))


def locate_by_addresses(
    image: bytes, size: int, symbols: KernelSymbols, addresses: Sequence[int]
) -> RunningKernel:
    """Find where an Image runs.

    :param size: bytes it occupies, BSS included. :param addresses: where it trapped, those that
        count most first; others may be among them.
    :return: without a base when none is sure.
    """
    bases: list[int] = []
    left = list(addresses)[:MOST_ADDRESSES]
    while (base := _best_base(image, size, left)) is not None:
        bases.append(base)
        left = [each for each in left if not 0 <= each - base < size]
    return RunningKernel(symbols, size, tuple(bases))


def _best_base(image: bytes, size: int, addresses: Sequence[int]) -> int | None:
    """Give the base that most addresses agree on; None when too few do, or two bases would do."""
    found = []
    for base in _candidates(size, addresses):
        inside = [each - base for each in addresses if 0 <= each - base < len(image)]
        agree = sum(_may_trap(image, offset) for offset in inside)
        if agree >= max(LEAST_ADDRESSES, LEAST_SHARE * len(inside)):
            found.append((agree, base))
    if not found:
        return None
    (most, best), *others = sorted(found, reverse=True)
    return None if any(2 * agree > most for agree, _ in others) else best


def _candidates(size: int, addresses: Sequence[int]) -> set[int]:
    """Give the bases at which one of the first addresses is inside the kernel."""
    return {
        address // BASE_ALIGN_BYTES * BASE_ALIGN_BYTES - back
        for address in addresses[:FIRST_ADDRESSES]
        for back in range(0, size, BASE_ALIGN_BYTES)
    }


def _may_trap(image: bytes, offset: int) -> bool:
    """Whether the instruction there may trap, or is behind an HVC or SMC."""
    word, before = _word(image, offset), _word(image, offset - BYTES)
    if word in ALONE or before & ~IMMEDIATE in (HVC, SMC):
        return True
    return any(word & kind.fixed == kind.match for kind in (SystemRegisterMove, SystemInstruction))


def _word(image: bytes, offset: int) -> int:
    if not 0 <= offset <= len(image) - BYTES:
        return 0
    return int.from_bytes(image[offset : offset + BYTES], "little")

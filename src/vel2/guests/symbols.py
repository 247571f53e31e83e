"""Where a guest's kernel runs, and what is at an address of it.

A kernel is linked for one address and runs at others: at its physical address while its MMU is off,
where KASLR put it, and, as an nVHE hypervisor, once more at EL2, where KVM maps its hyp code
(symbols `__kvm_nvhe_*`) at an alias that depends on random bits. Nobody tells L0. But the traps do:
for most of them the syndrome says which instruction trapped, and that instruction is in the Image.
So each trap votes for the bases at which its instruction would be at its PC. The right base has the
votes of almost all; a wrong one agrees by accident only. What the kernel patches at boot
(alternatives) casts no vote for the right base, and is outvoted.

This needs no memory of the guest and no debugger, so it works on a trace long after the run.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from vel2.arch.a64 import BYTES
from vel2.guests.kallsyms import KernelSymbols

__all__ = ("Place", "RunningKernel", "Sites", "locate")

BASE_ALIGN_BYTES = 1 << 16
"""Of every base: segments are aligned to it, and Linux keeps it when it moves."""
LEAST_VOTES = 3
"""Distinct instructions that must agree; by accident two do now and then."""
MOST_COPIES = 2048
"""An instruction that the Image has more often says little about where it is."""
MOST_SITES = 256
"""Of one kind of PC; the first ones are as good as all."""
MOST_BASES = 8

Sites = Mapping[int, int]
"""Instructions that trapped, by PC (`arch.trapped`)."""


@dataclass(frozen=True)
class Place:
    """A function, and how far into it in bytes."""

    function: str
    offset: int

    def __str__(self) -> str:
        return f"{self.function}+{self.offset:#x}" if self.offset else self.function


@dataclass(frozen=True)
class RunningKernel:
    """A kernel's symbols, at the addresses where it runs.

    :ivar size: bytes the kernel occupies. :ivar bases: where its Image begins, most votes first.
    """

    symbols: KernelSymbols
    size: int
    bases: tuple[int, ...]
    _known: dict[int, Place | None] = field(default_factory=dict, repr=False, compare=False)

    def at(self, pc: int) -> Place | None:
        """Name a place; None when it is not in the kernel."""
        if pc not in self._known:
            self._known[pc] = self._look_up(pc)
        return self._known[pc]

    def _look_up(self, pc: int) -> Place | None:
        for base in self.bases:
            found = self.symbols.place(pc - base) if 0 <= pc - base < self.size else None
            if found is not None:
                return Place(*found)
        return None

    def addresses(self, name: str) -> list[int]:
        """Give where a function is, in each place that the kernel runs at; empty when unknown."""
        offset = self.symbols.offset(name)
        return [] if offset is None else [base + offset for base in self.bases]


def locate(image: bytes, size: int, symbols: KernelSymbols, sites: Sites) -> RunningKernel:
    """Find where an Image runs, from instructions that trapped.

    :param size: bytes it occupies, BSS included. :return: without bases when none is sure.
    """
    copies = Copies(image)
    left = dict(sites)
    bases: list[int] = []
    while len(bases) < MOST_BASES and (base := best_base(copies, left)) is not None:
        bases.append(base)
        left = {pc: word for pc, word in left.items() if not 0 <= pc - base < size}
    return RunningKernel(symbols, size, tuple(bases))


def best_base(copies: "Copies", sites: Sites) -> int | None:
    """Give the base that most sites agree on; None when too few do.

    Nor when another base explains most of the same sites: the code is there twice. One that
    explains other sites is no rival: the kernel runs there, too.
    """
    voters: defaultdict[int, set[int]] = defaultdict(set)
    for pc, word in rarest(copies, sites):
        for at in copies.of(word):
            if (pc - at) % BASE_ALIGN_BYTES == 0:
                voters[pc - at].add(pc)
    if not voters:
        return None
    best = max(voters, key=lambda base: (len(voters[base]), -base))
    own = voters.pop(best)
    rival = max((len(own & others) for others in voters.values()), default=0)
    return best if len(own) >= LEAST_VOTES and rival * 2 <= len(own) else None


def rarest(copies: "Copies", sites: Sites) -> list[tuple[int, int]]:
    """Choose the sites whose instruction the Image has, and not too often; rare ones first."""
    useful = [site for site in sites.items() if 0 < len(copies.of(site[1])) <= MOST_COPIES]
    return sorted(useful, key=lambda site: (len(copies.of(site[1])), site))[:MOST_SITES]


class Copies:
    """Where an Image has an instruction."""

    def __init__(self, image: bytes) -> None:
        self._image = image
        self._found: dict[int, list[int]] = {}

    def of(self, word: int) -> list[int]:
        """Give its offsets, and no more once there are more than are of use."""
        if word not in self._found:
            self._found[word] = list(islice(self._search(word), MOST_COPIES + 1))
        return self._found[word]

    def _search(self, word: int) -> Iterator[int]:
        wanted = word.to_bytes(BYTES, "little")
        at = self._image.find(wanted)
        while at >= 0:
            if at % BYTES == 0:
                yield at
            at = self._image.find(wanted, at + 1)

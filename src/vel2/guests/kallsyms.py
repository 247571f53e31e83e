"""The symbols of a Linux kernel, from the table in its Image that serves its own traces.

Linux's `scripts/kallsyms.c` writes the table: the number of symbols; their names as strings of
tokens, each with its type letter first; a marker for every 256th name; the 256 tokens, and where
each begins; and the place of each symbol, in the order of addresses. Versions differ in the order
of these parts and in what addresses count from. Nothing says where the table is. Its tokens give it
away, since digits always stand for themselves, and each part is checked against the others.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

__all__ = ("KernelSymbols", "read_kallsyms")

TOKENS = 256
NAMES_PER_MARKER = 256
MOST_TOKEN_BYTES = 1 << 16
DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
FIRST_DIGIT = ord("0")
LEAST_MARKERS = 8
MOST_GROUP_BYTES = NAMES_PER_MARKER * 256
SEARCHED_BYTES = 4 << 20
"""How far before the tokens the markers may be; other parts may lie between."""
WORD_BYTES, ALIGN_BYTES = 4, 8
EARLY = "__pi_"
"""What a name begins with for code that also runs before the kernel is mapped."""
BASE_ALIGN_BYTES = 1 << 16
INSTRUCTION_BYTES = 4
LEAST_CALLS = 4
TEXT = "_text"
SAMPLES = 1024
MOST_HEADER_BYTES = 2 << 20
ENTRIES = frozenset(
    word.to_bytes(WORD_BYTES, "little")
    for word in (0xD503_233F, 0xD503_201F, 0xD503_245F, 0xA9BF_7BFD, 0xA9BE_7BFD)
)
"""PACIASP, NOP (ftrace's place), BTI c, and STP x29, x30 with the two smallest frames."""
CODE = "tTwWiI"
"""Type letters of what can be executed."""


@dataclass(frozen=True)
class KernelSymbols:
    """Functions by their offset from the Image's beginning, sorted."""

    functions: tuple[tuple[int, str], ...]

    @cached_property
    def _offsets(self) -> list[int]:
        return [offset for offset, _ in self.functions]

    def at(self, offset: int) -> str | None:
        """Name the function that an offset is in; None before the first."""
        index = bisect.bisect_right(self._offsets, offset) - 1
        return self.functions[index][1] if index >= 0 else None

    def place(self, offset: int) -> tuple[str, int] | None:
        """Name the function that an offset is in, and how far into it that is."""
        index = bisect.bisect_right(self._offsets, offset) - 1
        if index < 0:
            return None
        start, name = self.functions[index]
        return name, offset - start

    def offset(self, name: str) -> int | None:
        """Give where a function begins; None when the kernel has none, or several, of that name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, int]:
        found: dict[str, int] = {}
        twice = set()
        for offset, name in self.functions:
            if found.setdefault(name, offset) != offset:
                twice.add(name)
        return {name: offset for name, offset in found.items() if name not in twice}

    def find_base(self, pcs: Sequence[int]) -> int | None:
        """Find where the Image runs, from instructions it executed, in order; None if in doubt.

        Code mostly reaches a function's beginning by a call; few other targets of jumps are one. So
        for the right base many targets are beginnings.
        """
        starts = frozenset(self._offsets)
        targets = {pc for before, pc in pairwise(pcs) if pc != before + INSTRUCTION_BYTES}
        if not targets:
            return None
        lowest = (max(targets) - self._offsets[-1]) // BASE_ALIGN_BYTES * BASE_ALIGN_BYTES
        scores = {
            base: sum(target - base in starts for target in targets)
            for base in range(lowest, min(targets) + 1, BASE_ALIGN_BYTES)
        }
        best, *others = sorted(scores, key=scores.__getitem__, reverse=True)
        if scores[best] < LEAST_CALLS or (others and scores[others[0]] * 2 > scores[best]):
            return None
        return best


def read_kallsyms(image: bytes) -> KernelSymbols | None:
    """Read the table of an arm64 Image; None when it has none that is understood."""
    at = image.find(DIGITS)
    while at >= 0:
        found = read_at(image, at)
        if found is not None:
            return found
        at = image.find(DIGITS, at + 1)
    return None


def read_at(image: bytes, digits: int) -> KernelSymbols | None:
    """Read the table whose token for `0` is at an address; None when there is none."""
    table = digits
    for _ in range(FIRST_DIGIT):
        table = image.rfind(b"\0", 0, table - 1) + 1
    tokens = image[table : table + MOST_TOKEN_BYTES].split(b"\0", TOKENS)[:TOKENS]
    begins = list(accumulate((len(token) + 1 for token in tokens), initial=0))
    if len(tokens) < TOKENS or begins[-1] >= MOST_TOKEN_BYTES:
        return None
    index = array("H", begins[:-1]).tobytes()
    end = table + begins[-1]
    after = image.find(index, end, end + ALIGN_BYTES + len(index))
    if after < 0:
        return None
    for start, markers in marker_runs(image, table):
        names = read_names(image, start, markers, tokens)
        if names is None:
            continue
        counted, found = names
        offsets = read_offsets(image, counted, after + len(index), len(found))
        if offsets is not None:
            first = first_place(image, offsets, found)
            return functions_of([first + offset for offset in offsets], found)
    return None


def first_place(image: bytes, offsets: list[int], names: list[str]) -> int:
    """Give where the first symbol is, from the Image's beginning.

    Linux before 6.4 leaves `_text` out, and counts from the first symbol behind the Image's header.
    Where that is shows in the code: most functions begin with one of a few instructions.
    """
    if names[0][1:] == TEXT:
        return 0
    starts = [offset for offset, name in zip(offsets, names, strict=True) if name[0] in CODE]
    sampled = starts[:: len(starts) // SAMPLES + 1]

    def score(first: int) -> int:
        return sum(
            image[first + start : first + start + WORD_BYTES] in ENTRIES for start in sampled
        )

    return max(range(0, MOST_HEADER_BYTES, BASE_ALIGN_BYTES), key=score)


def functions_of(offsets: list[int], names: list[str]) -> KernelSymbols:
    """Keep what can be executed, one name for each address: not that of early code, if possible."""
    chosen: dict[int, str] = {}
    for offset, name in zip(offsets, names, strict=True):
        if name[0] in CODE and (offset not in chosen or chosen[offset].startswith(EARLY)):
            chosen[offset] = name[1:]
    return KernelSymbols(tuple(chosen.items()))


def words(image: bytes, start: int, count: int) -> array[int]:
    """Read 32-bit words."""
    return array("I", image[start : start + WORD_BYTES * count])


def marker_runs(image: bytes, table: int) -> Iterator[tuple[int, array[int]]]:
    """Give what may be the markers, nearest to the tokens first: words that rise slowly from 0."""
    start = max(0, table - SEARCHED_BYTES) & -WORD_BYTES
    values = words(image, start, (table - start) // WORD_BYTES)
    last = len(values)
    for at in range(len(values) - 2, -1, -1):
        if 0 < values[at + 1] - values[at] < MOST_GROUP_BYTES:
            if values[at] == 0 and last - at >= LEAST_MARKERS:
                yield start + WORD_BYTES * at, values[at:last]
        else:
            last = at + 1


def read_names(
    image: bytes, end: int, markers: array[int], tokens: list[bytes]
) -> tuple[int, list[str]] | None:
    """Read the names, which end where the markers begin; give where their count is, and them."""
    latest = (end - markers[-1]) & -WORD_BYTES
    for at in range(latest, max(0, latest - MOST_GROUP_BYTES), -WORD_BYTES):
        [count] = words(image, at, 1)
        if -(-count // NAMES_PER_MARKER) != len(markers):
            continue
        for first in (at + WORD_BYTES, at + ALIGN_BYTES):
            found = expand_names(image, first, count, markers, tokens)
            if found is not None:
                return at, found
    return None


def expand_names(
    image: bytes, first: int, count: int, markers: array[int], tokens: list[bytes]
) -> list[str] | None:
    """Expand the names; None when a marker is not where it should be."""
    names = []
    at = first
    for number in range(count):
        if at + 1 >= len(image):
            return None
        group, inside = divmod(number, NAMES_PER_MARKER)
        if inside == 0 and at - first != markers[group]:
            return None
        length, at = image[at], at + 1
        if length & 0x80:
            length, at = length & 0x7F | image[at] << 7, at + 1
        names.append(b"".join([tokens[byte] for byte in image[at : at + length]]).decode("latin-1"))
        at += length
    return names if all(names) else None


def read_offsets(image: bytes, counted: int, after: int, count: int) -> list[int] | None:
    """Read where each symbol is, from the Image's beginning.

    After the tokens as offsets from `_text`, or from the word itself; or, with `_text` and the
    count behind them, before the names.
    """
    behind = -(-after // WORD_BYTES) * WORD_BYTES
    size = -(-WORD_BYTES * count // ALIGN_BYTES) * ALIGN_BYTES
    before = counted - ALIGN_BYTES - size
    for start in (behind, -(-after // ALIGN_BYTES) * ALIGN_BYTES, before):
        values = words(image, start, count)
        relative = [start + WORD_BYTES * n + value for n, value in enumerate(values)]
        for offsets in (list(values), [offset & 0xFFFF_FFFF for offset in relative]):
            if len(offsets) == count and offsets[0] == 0 and is_sorted(offsets):
                return offsets
    return None


def is_sorted(values: list[int]) -> bool:
    """Whether no value is less than the one before."""
    return all(low <= high for low, high in pairwise(values))

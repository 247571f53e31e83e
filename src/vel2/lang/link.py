"""The linker: assembled pieces and one object become a flat image, or a static ELF program."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vel2.lang.asm import Assembler
from vel2.lang.elf import ObjectCode, Relocation
from vel2.lang.lines import LineTable


class LinkError(Exception):
    """A name that nothing defines, or an address out of an instruction's reach."""


@dataclass(frozen=True)
class Image:
    """Machine code at its place: `data` from `base` on, and the address of every symbol."""

    base: int
    data: bytes
    symbols: dict[str, int]
    sizes: dict[str, int] = field(default_factory=dict, repr=False)
    lines: LineTable | None = field(default=None, repr=False, compare=False)
    text: int = 0
    """Where the compiled code begins."""

    @property
    def end(self) -> int:
        """Give the address after the last byte."""
        return self.base + len(self.data)

    @cached_property
    def _ordered(self) -> tuple[list[int], list[str]]:
        pairs = sorted((address, name) for name, address in self.symbols.items())
        return [address for address, _ in pairs], [name for _, name in pairs]

    def symbol_at(self, address: int) -> str | None:
        """Name a place of the image as `symbol+0x10`; None outside it."""
        if not self.base <= address < self.end:
            return None
        addresses, names = self._ordered
        index = bisect.bisect_right(addresses, address) - 1
        if index < 0:
            return None
        distance = address - addresses[index]
        return names[index] if distance == 0 else f"{names[index]}+{distance:#x}"

    def source_at(self, address: int) -> str | None:
        """Give the source line of compiled code, as `vel2/hyp/trap.py:12`; None elsewhere."""
        if self.lines is None or not self.text <= address < self.end:
            return None
        name = (self.symbol_at(address) or "").partition("+")[0]
        return self.lines.at(address - self.text) if name in self.sizes else None


@dataclass
class _Piece:
    """Something placed: its address, memory, and what is left to patch."""

    address: int
    data: bytearray
    relocations: list[Relocation]
    owner: str
    private: dict[str, int] = field(default_factory=dict)


class Layout:
    """Places pieces one after the other, collects symbols, then patches."""

    def __init__(self, base: int) -> None:
        self.here = base
        self.pieces: list[_Piece] = []
        self.symbols: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def align(self, alignment: int) -> None:
        """Go to a multiple of `alignment`."""
        self.here = -(-self.here // alignment) * alignment

    def define(self, name: str, address: int, owner: str) -> None:
        """Give a name an address."""
        if name in self.symbols:
            raise LinkError(f"{name} is defined twice, the second time by {owner}: rename one")
        self.symbols[name] = address

    def add_assembler(self, assembler: Assembler) -> None:
        """Place an assembler's piece."""
        self.align(assembler.alignment)
        piece = _Piece(self.here, bytearray(assembler.data), assembler.relocations, assembler.name)
        for name, offset in assembler.labels.items():
            if name.startswith("."):
                piece.private[name] = self.here + offset
            else:
                self.define(name, self.here + offset, assembler.name)
        self.pieces.append(piece)
        self.here += len(piece.data)

    def add_object(self, code: ObjectCode, indices: Sequence[int], places: dict[int, int]) -> None:
        """Place sections of an object; `places` learns where."""
        for index in indices:
            section = code.sections[index]
            self.align(section.alignment)
            places[index] = self.here
            data = bytearray(section.data.ljust(section.size, b"\0"))
            self.pieces.append(_Piece(self.here, data, section.relocations, section.name))
            self.here += section.size

    def define_object(self, code: ObjectCode, places: dict[int, int]) -> None:
        """Define the symbols of placed sections, and make relocations absolute."""
        for symbol in code.symbols:
            address = places[symbol.section] + symbol.offset
            if symbol.name.startswith("."):
                continue
            self.define(symbol.name, address, "the compiled code")
            if symbol.is_function:
                self.sizes[symbol.name] = symbol.size

    def patch(self, places: dict[int, int]) -> None:
        """Apply all relocations."""
        for piece in self.pieces:
            for relocation in piece.relocations:
                target = self._target(piece, relocation, places)
                try:
                    apply(piece.data, relocation, target, piece.address + relocation.offset)
                except LinkError as error:
                    raise LinkError(
                        f"{piece.owner}+{relocation.offset:#x}: {error} ({relocation.symbol})"
                    ) from None

    def _target(self, piece: _Piece, relocation: Relocation, places: dict[int, int]) -> int:
        if relocation.section is not None:
            return places[relocation.section] + relocation.value
        name = relocation.symbol
        address = piece.private.get(name, self.symbols.get(name))
        if address is None:
            raise LinkError(
                f"nothing defines {name}, which {piece.owner} uses: make it a root, or a label"
            )
        return address + relocation.value

    def flat(self, base: int) -> bytes:
        """Give the memory from `base` to the end."""
        data = bytearray(self.here - base)
        for piece in self.pieces:
            start = piece.address - base
            data[start : start + len(piece.data)] = piece.data
        return bytes(data)


def _signed(distance: int, bits: int, scale: int) -> int:
    """Scale a distance down to a signed field, or refuse."""
    if distance % scale:
        raise LinkError(f"a distance of {distance:#x} is not a multiple of {scale}")
    if not -(1 << bits - 1) <= distance // scale < 1 << bits - 1:
        raise LinkError(f"a distance of {distance:#x} is out of reach")
    return distance // scale & (1 << bits) - 1


_LOW12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}


def apply(data: bytearray, relocation: Relocation, target: int, place: int) -> None:
    """Patch one R_AARCH64_* relocation; `place` is the address of what is patched."""
    kind, offset = relocation.type, relocation.offset
    if kind == 257:  # ABS64
        data[offset : offset + 8] = (target & (1 << 64) - 1).to_bytes(8, "little")
        return
    word = int.from_bytes(data[offset : offset + 4], "little")
    if kind == 261:  # PREL32
        word = _signed(target - place, 32, 1)
    elif kind in (282, 283):  # JUMP26, CALL26
        word |= _signed(target - place, 26, 4)
    elif kind == 280:  # CONDBR19
        word |= _signed(target - place, 19, 4) << 5
    elif kind == 279:  # TSTBR14
        word |= _signed(target - place, 14, 4) << 5
    elif kind in (274, 275, 276):  # ADR_PREL_LO21, ADR_PREL_PG_HI21(_NC)
        distance = target - place if kind == 274 else (target >> 12) - (place >> 12)
        value = _signed(distance, 21, 1)
        word |= (value & 3) << 29 | value >> 2 << 5
    elif kind in _LOW12:  # ADD_ABS_LO12_NC, LDSTn_ABS_LO12_NC
        low = target & 0xFFF
        if low % (1 << _LOW12[kind]):
            raise LinkError(f"address {target:#x} is not aligned for the access")
        word |= low >> _LOW12[kind] << 10
    else:
        raise LinkError(f"relocation type {kind} is not supported")
    data[offset : offset + 4] = word.to_bytes(4, "little")


def link_image(
    base: int,
    assemblers: Sequence[Assembler],
    code: ObjectCode | None = None,
    align: int = 2048,
) -> Image:
    """Link for one address: assemblers in order, then the object's sections.

    :param base: address of the image; a multiple of `align`.
    :param align: alignment that the image's start must have (2048 for vectors).
    :raises LinkError: an undefined or doubly defined name, or a target out of reach.
    """
    if base % align:
        raise LinkError(f"an image cannot start at {base:#x}: give a multiple of {align:#x}")
    layout = Layout(base)
    places: dict[int, int] = {}
    for assembler in assemblers:
        layout.add_assembler(assembler)
    if code is not None:
        layout.add_object(code, range(len(code.sections)), places)
        layout.define_object(code, places)
    layout.align(16)
    layout.patch(places)
    text = next((places[i] for i in places if code and code.sections[i].name == ".text"), 0)
    lines = LineTable(code.elf) if code is not None and text else None
    return Image(base, layout.flat(base), layout.symbols, layout.sizes, lines, text)

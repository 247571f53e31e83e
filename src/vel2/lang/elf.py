"""Reading the ELF objects that LLVM emits."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # it takes long, and what comes from the cache does not need it
    from elftools.elf.elffile import ELFFile

SHF_WRITE = 1
SHF_ALLOC = 2


@dataclass
class Relocation:
    """A place to patch: `type` is an R_AARCH64_* number; no `section` means an outside symbol."""

    offset: int
    type: int
    symbol: str
    section: int | None
    value: int


@dataclass
class Section:
    """A section that occupies memory; `data` is shorter than `size` when the rest is zero."""

    name: str
    alignment: int
    size: int
    data: bytes
    is_writable: bool
    relocations: list[Relocation] = field(default_factory=list)


@dataclass
class Symbol:
    """A named place: the index of its section in `ObjectCode.sections`, offset, and size."""

    name: str
    section: int
    offset: int
    size: int
    is_function: bool


@dataclass
class ObjectCode:
    """Relocatable machine code."""

    elf: bytes
    sections: list[Section]
    symbols: list[Symbol]

    @property
    def undefined(self) -> set[str]:
        """Give the names that something else must define."""
        return {r.symbol for s in self.sections for r in s.relocations if r.section is None}


def read_object(elf: bytes) -> ObjectCode:
    """Read the sections that occupy memory, their symbols and relocations."""
    from elftools.elf.elffile import ELFFile

    file = ELFFile(io.BytesIO(elf))
    places, sections = _read_sections(file)
    entries = list(_read_entries(file, places))
    symbols = [
        Symbol(each.name, each.place, each.value, each.size, each.is_function)
        for each in entries
        if each.place is not None and each.name and not each.name.startswith("$")
    ]
    _read_relocations(file, places, sections, entries)
    return ObjectCode(elf, sections, symbols)


class _Entry(NamedTuple):
    """A line of the symbol table; `place` is that of its section, None for what has no memory."""

    name: str
    place: int | None
    value: int
    size: int
    is_function: bool


def _read_sections(file: ELFFile) -> tuple[dict[int, int], list[Section]]:
    """Give the sections that occupy memory, and where each number of the file's is among them."""
    places: dict[int, int] = {}
    sections: list[Section] = []
    for index, section in enumerate(file.iter_sections()):
        header = section.header
        if not header["sh_flags"] & SHF_ALLOC or not header["sh_size"]:
            continue
        places[index] = len(sections)
        data = b"" if header["sh_type"] == "SHT_NOBITS" else section.data()
        sections.append(
            Section(
                section.name,
                max(header["sh_addralign"], 4),
                header["sh_size"],
                data,
                bool(header["sh_flags"] & SHF_WRITE),
            )
        )
    return places, sections


def _read_entries(file: ELFFile, places: Mapping[int, int]) -> Iterator[_Entry]:
    """Yield the symbol table, whose lines relocations name by number."""
    from elftools.elf.sections import SymbolTableSection

    for table in file.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for entry in table.iter_symbols():
            shndx = entry["st_shndx"]
            place = places.get(shndx) if isinstance(shndx, int) else None
            is_function = entry["st_info"]["type"] == "STT_FUNC"
            yield _Entry(entry.name, place, entry["st_value"], entry["st_size"], is_function)


def _read_relocations(
    file: ELFFile,
    places: Mapping[int, int],
    sections: Sequence[Section],
    entries: Sequence[_Entry],
) -> None:
    """Add to each section what is to be patched in it."""
    from elftools.elf.relocation import RelocationSection

    for table in file.iter_sections():
        if not isinstance(table, RelocationSection) or table["sh_info"] not in places:
            continue
        target = sections[places[table["sh_info"]]]
        for relocation in table.iter_relocations():
            entry = entries[relocation["r_info_sym"]]
            target.relocations.append(
                Relocation(
                    relocation["r_offset"],
                    relocation["r_info_type"],
                    entry.name,
                    entry.place,
                    relocation["r_addend"] + (entry.value if entry.place is not None else 0),
                )
            )

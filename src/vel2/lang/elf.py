"""Reading the ELF objects that LLVM emits."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

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
    from elftools.elf.relocation import RelocationSection
    from elftools.elf.sections import SymbolTableSection

    file = ELFFile(io.BytesIO(elf))
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
    symbols: list[Symbol] = []
    entries: list[tuple[str, int | None, int]] = []
    for table in file.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for entry in table.iter_symbols():
            shndx = entry["st_shndx"]
            place = places.get(shndx) if isinstance(shndx, int) else None
            entries.append((entry.name, place, entry["st_value"]))
            if place is not None and entry.name and not entry.name.startswith("$"):
                is_function = entry["st_info"]["type"] == "STT_FUNC"
                symbols.append(
                    Symbol(entry.name, place, entry["st_value"], entry["st_size"], is_function)
                )
    for table in file.iter_sections():
        if not isinstance(table, RelocationSection) or table["sh_info"] not in places:
            continue
        target = sections[places[table["sh_info"]]]
        for relocation in table.iter_relocations():
            name, place, value = entries[relocation["r_info_sym"]]
            target.relocations.append(
                Relocation(
                    relocation["r_offset"],
                    relocation["r_info_type"],
                    name,
                    place,
                    relocation["r_addend"] + (value if place is not None else 0),
                )
            )
    return ObjectCode(elf, sections, symbols)

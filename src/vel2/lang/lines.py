"""From machine code back to source lines: the debug information of an object, written and read.

Only line tables are kept. They lie in sections that occupy no memory, and the code has the same
instructions as without them (LLVM orders those of prologues another way).
"""

from __future__ import annotations

import bisect
import io
from functools import cached_property
from pathlib import Path

from vel2.lang.ir import Location

_SOURCES = Path(__file__).resolve().parents[2]


def shown_path(file: str) -> str:
    """Give a file's path as messages show it: from the package on, if it is inside it."""
    path = Path(file)
    return str(path.relative_to(_SOURCES)) if path.is_relative_to(_SOURCES) else file


class DebugInfo:
    """Makes LLVM's metadata for line tables; `metadata` numbers a node given by its text."""

    def __init__(self, metadata: dict[str, int]) -> None:
        self._metadata = metadata
        self._unit = ""
        self._scopes: dict[str, str] = {}

    def node(self, text: str) -> str:
        """Give the name of a metadata node."""
        return f"!{self._metadata.setdefault(text, len(self._metadata))}"

    def subprogram(self, name: str, location: Location) -> str:
        """Give the node of a function."""
        path = shown_path(location.file).replace("\\", "/").replace('"', "")
        file = self.node(f'!DIFile(filename: "{path}", directory: "")')
        if not self._unit:
            self._unit = self.node(
                f"distinct !DICompileUnit(language: DW_LANG_Python, file: {file}, "
                'producer: "vel2", isOptimized: true, emissionKind: LineTablesOnly)'
            )
        type_ = self.node(f"!DISubroutineType(types: {self.node('!{}')})")
        self._scopes[name] = self.node(
            f'distinct !DISubprogram(name: "{name}", scope: {file}, file: {file}, '
            f"line: {location.line}, scopeLine: {location.line}, type: {type_}, "
            f"unit: {self._unit}, "
            "spFlags: DISPFlagDefinition | DISPFlagOptimized)"
        )
        return self._scopes[name]

    def place(self, name: str, location: Location) -> str:
        """Give the node of a place in a function."""
        return self.node(f"!DILocation(line: {location.line}, scope: {self._scopes[name]})")

    def module_flags(self) -> list[str]:
        """Give the named metadata that the module needs at its end."""
        if not self._unit:
            return []
        flags = [
            self.node('!{i32 7, !"Dwarf Version", i32 4}'),
            self.node('!{i32 2, !"Debug Info Version", i32 3}'),
        ]
        return [
            f"!llvm.dbg.cu = !{{{self._unit}}}",
            f"!llvm.module.flags = !{{{', '.join(flags)}}}",
        ]


class LineTable:
    """The source lines of an object's code, read when first asked."""

    def __init__(self, elf: bytes) -> None:
        self._elf = elf

    @cached_property
    def _rows(self) -> tuple[list[int], list[str]]:
        from elftools.elf.elffile import ELFFile

        offsets: list[int] = []
        places: list[str] = []
        dwarf = ELFFile(io.BytesIO(self._elf)).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            if program is None:
                continue
            header = program.header
            for entry in program.get_entries():
                state = entry.state
                if state is None or state.end_sequence:
                    continue
                file = header["file_entry"][state.file - 1]
                folder = ""
                if file.dir_index:
                    folder = header["include_directory"][file.dir_index - 1].decode() + "/"
                offsets.append(state.address)
                places.append(f"{folder}{file.name.decode()}:{state.line}")
        order = sorted(range(len(offsets)), key=offsets.__getitem__)
        return [offsets[i] for i in order], [places[i] for i in order]

    def at(self, offset: int) -> str | None:
        """Give `file:line` of the code at an offset in `.text`; None if it has no line."""
        offsets, places = self._rows
        index = bisect.bisect_right(offsets, offset) - 1
        if index < 0 or places[index].endswith(":0"):
            return None
        return places[index]

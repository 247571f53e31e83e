"""Find the place in the source for an address: who runs there, and in which function.

L0's functions are those of the source, even where the compiler expanded them in others: the line
table knows from which line each instruction came.
"""

import ast
import linecache
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import vel2
from vel2.arch.bits import Encoding
from vel2.control.counters import trap_name
from vel2.lang import Image

__all__ = ("Code", "Place", "source_text", "system_instruction")

WORD_BYTES = 4
SYSTEM, SYSTEM_MASK, READS = 0xD500_0000, 0xFFC0_0000, 1 << 21
ISB, DSB, CRM = 0xD503_3FDF, 0xD503_309F, 0xF00
SOURCES = Path(vel2.__file__).resolve().parents[1]


@dataclass(frozen=True)
class Place:
    """An instruction's function, its line where that is known, and what it does to the system.

    :ivar function: `module.function`, or `assembly label`; of a kernel, its symbol.
    :ivar line: `vel2/hyp/trap.py:12`.
    :ivar system: `MRS ESR_EL2`, `MSR VTTBR_EL2`, `TLBI ALLE1`, `ISB`, `DSB`; None for all others.
    """

    function: str
    line: str | None = None
    system: str | None = None


class Code:
    """An image of resident code: names the place of each address in it."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._known: dict[int, Place | None] = {}

    def at(self, pc: int) -> Place | None:
        """Give the place of an instruction; None outside the image."""
        if pc not in self._known:
            self._known[pc] = self._find(pc)
        return self._known[pc]

    def _find(self, pc: int) -> Place | None:
        symbol = self._image.symbol_at(pc)
        if symbol is None:
            return None
        offset = pc - self._image.base
        word = int.from_bytes(self._image.data[offset : offset + WORD_BYTES], "little")
        system = system_instruction(word)
        line = self._image.source_at(pc)
        if line is not None:
            return Place(function_at(line), line, system)
        name = symbol.partition("+")[0]
        # An instruction that the compiler made for several lines has none.
        function = f"{name} (no line)" if name in self._image.sizes else f"assembly {name}"
        return Place(function, None, system)


def system_instruction(word: int) -> str | None:
    """Name a system register access, system instruction or barrier; None for all others."""
    if word == ISB:
        return "ISB"
    if word & ~CRM == DSB:
        return "DSB"
    op0 = word >> 19 & 3
    if word & SYSTEM_MASK != SYSTEM or op0 == 0:
        return None
    name = trap_name(
        Encoding(op0, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7).trap_key
    )
    if op0 == 1:
        return name
    return f"{'MRS' if word & READS else 'MSR'} {name}"


@cache
def functions_of(file: str) -> list[tuple[int, int, str]]:
    """List the functions of a source file: first line, last line, name."""
    tree = ast.parse((SOURCES / file).read_text())
    return [
        (node.lineno, node.end_lineno or node.lineno, node.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]


def function_at(line: str) -> str:
    """Name the function that a source line is in: `context.enter_vel2`."""
    file, _, number = line.rpartition(":")
    module = Path(file).stem
    holding = [
        (last - first, name)
        for first, last, name in functions_of(file)
        if first <= int(number) <= last
    ]
    return f"{module}.{min(holding)[1]}" if holding else module


def source_text(line: str) -> str:
    """Give a source line's text, without its indentation."""
    file, _, number = line.rpartition(":")
    return linecache.getline(str(SOURCES / file), int(number)).strip()

"""The frame of the assembler: where code goes, and the checks that every operand passes."""

from __future__ import annotations

from typing import NoReturn

from vel2.lang.elf import Relocation

Octets = bytes
"""The builtin: inside `Piece`, `bytes` is a method."""

NOP = 0xD503_201F

R_ABS64, R_ADR, R_ADR_PAGE, R_ADD_LOW = 257, 274, 275, 277
R_TEST_BRANCH, R_CONDITION_BRANCH, R_JUMP, R_CALL = 279, 280, 282, 283


class AssemblyError(Exception):
    """An instruction that cannot be encoded, or a label that cannot be resolved."""


class _Special(int):
    """Register 31, which is SP or XZR as the instruction has it."""

    name: str

    def __new__(cls, name: str) -> _Special:
        self = super().__new__(cls, 31)
        self.name = name
        return self

    def __repr__(self) -> str:
        return self.name


SP = _Special("SP")
XZR = _Special("XZR")

CONDITIONS = (
    *("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc"),
    *("hi", "ls", "ge", "lt", "gt", "le", "al"),
)
_CONDITION_NUMBERS = {name: number for number, name in enumerate(CONDITIONS)} | {"hs": 2, "lo": 3}


class Piece:
    """One piece of machine code and data; `link.py` places it.

    :param alignment: of the piece in the image.
    :param writable: the piece is data that changes (user programs only).
    """

    def __init__(self, name: str = "code", *, alignment: int = 16, writable: bool = False) -> None:
        self.name = name
        self.alignment = alignment
        self.writable = writable
        self.data = bytearray()
        self.labels: dict[str, int] = {}
        self.relocations: list[Relocation] = []

    # -- placement

    @property
    def here(self) -> int:
        """Give the offset of what comes next."""
        return len(self.data)

    def label(self, name: str) -> None:
        """Define a label here."""
        if name in self.labels:
            raise AssemblyError(f"{self.name}: label {name} is defined twice")
        self.labels[name] = self.here

    def align(self, alignment: int) -> None:
        """Fill with NOP up to a multiple of `alignment`."""
        self.alignment = max(self.alignment, alignment)
        self._fill(-(-self.here // alignment) * alignment)

    def org(self, offset: int) -> None:
        """Fill with NOP up to an offset; refused when code is already past it."""
        if self.here > offset or offset % 4:
            raise AssemblyError(
                f"{self.name}: cannot go to {offset:#x}, the code is at {self.here:#x}: give a "
                "multiple of 4 that is not before it"
            )
        self._fill(offset)

    def _fill(self, end: int) -> None:
        self.space(-self.here % 4 if end - self.here >= 4 else end - self.here)
        while self.here < end:
            self.word(NOP)

    def org_from(self, label: str, offset: int) -> None:
        """Fill with NOP up to an offset from a label that is already defined."""
        if label not in self.labels:
            self._refuse(f"there is no label {label} yet")
        self.org(self.labels[label] + offset)

    def word(self, value: int) -> None:
        """Place 32 bits."""
        self.data += (value & 0xFFFF_FFFF).to_bytes(4, "little")

    def quad(self, value: int | str) -> None:
        """Place 64 bits: a number, or the address of a label."""
        if isinstance(value, str):
            self._relocate(R_ABS64, value)
            value = 0
        self.data += value.to_bytes(8, "little")

    def bytes(self, data: Octets) -> None:
        """Place bytes."""
        self.data += data

    def space(self, size: int, alignment: int = 1) -> None:
        """Place zeros, aligned."""
        self.data += Octets(-self.here % alignment + size)

    def _relocate(self, type_: int, symbol: str, addend: int = 0) -> None:
        self.relocations.append(Relocation(self.here, type_, symbol, None, addend))

    # -- checks

    def _refuse(self, sentence: str) -> NoReturn:
        raise AssemblyError(f"{self.name}+{self.here:#x}: {sentence}")

    def _range(self, what: str, value: int, low: int, high: int, scale: int = 1) -> int:
        """Require `value` from `low` to `high`, a multiple of `scale`; give it scaled down."""
        if not low <= value <= high or value % scale:
            step = "" if scale == 1 else f", a multiple of {scale}"
            self._refuse(f"{what} cannot be {value}: give {low} to {high}{step}")
        return value // scale

    def _reg(self, register: int, special: _Special | None = XZR) -> int:
        """Require a general register; 31 must be named, and be what the instruction has there."""
        if isinstance(register, _Special):
            if register is not special:
                allowed = f"x0 to x30{f' or {special}' if special is not None else ''}"
                self._refuse(f"{register} cannot be used here: give {allowed}")
        elif not 0 <= register <= 30:
            self._refuse(f"there is no register x{register}: give 0 to 30, SP or XZR")
        return int(register)

    def _condition(self, name: str) -> int:
        if name not in _CONDITION_NUMBERS:
            self._refuse(f"there is no condition {name!r}: give one of {', '.join(CONDITIONS)}")
        return _CONDITION_NUMBERS[name]

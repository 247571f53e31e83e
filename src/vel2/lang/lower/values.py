"""What an expression can be while it is lowered, and the ranges of integers.

An integer carries the range of its *Python* value. The machine computes modulo 2**64, so both
agree as long as only values inside 0..2**64-1 are compared, divided, shifted right, stored or
passed. A value whose range leaves that is called wide, and must be wrapped first.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any, cast

from vel2.lang.ir import Immediate, Kind, Operand
from vel2.lang.structs import StructMeta
from vel2.lang.types import U64, WORD_BITS, WORD_MASK, Scalar

FAR = 1 << 8 * WORD_BITS
"""Stands for "beyond all bounds" in a range."""


@dataclass(frozen=True, slots=True)
class Range:
    """All integers from `low` to `high`."""

    low: int
    high: int

    @property
    def is_wide(self) -> bool:
        """Tell whether a value may lie outside 64 bits."""
        return self.low < 0 or self.high > WORD_MASK

    def union(self, other: Range) -> Range:
        """Give the smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


FULL = Range(0, WORD_MASK)
ANY = Range(-FAR, FAR)


def _clamped(low: int, high: int) -> Range:
    return Range(max(low, -FAR), min(high, FAR))


def add_range(a: Range, b: Range) -> Range:
    """Give the range of a + b."""
    return _clamped(a.low + b.low, a.high + b.high)


def sub_range(a: Range, b: Range) -> Range:
    """Give the range of a - b."""
    return _clamped(a.low - b.high, a.high - b.low)


def mul_range(a: Range, b: Range) -> Range:
    """Give the range of a * b."""
    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return _clamped(min(corners), max(corners))


def and_range(a: Range, b: Range) -> Range:
    """Give the range of a & b: one operand that is not negative bounds the result."""
    highs = [x.high for x in (a, b) if x.low >= 0]
    return Range(0, min(highs)) if highs else ANY


def or_range(a: Range, b: Range) -> Range:
    """Give the range of a | b."""
    if a.low < 0 or b.low < 0:
        return ANY
    return Range(max(a.low, b.low), (1 << max(a.high.bit_length(), b.high.bit_length())) - 1)


def xor_range(a: Range, b: Range) -> Range:
    """Give the range of a ^ b."""
    if a.low < 0 or b.low < 0:
        return ANY
    return Range(0, (1 << max(a.high.bit_length(), b.high.bit_length())) - 1)


def shl_range(a: Range, b: Range) -> Range:
    """Give the range of a << b, where b is not wide."""
    if b.high >= WORD_BITS:
        return ANY if a.low < 0 else Range(0, FAR)
    corners = [x << y for x in (a.low, a.high) for y in (b.low, b.high)]
    return _clamped(min(corners), max(corners))


def shr_range(a: Range, b: Range) -> Range:
    """Give the range of a >> b, where neither is wide."""
    return Range(a.low >> min(b.high, WORD_BITS), a.high >> min(b.low, WORD_BITS))


def div_range(a: Range, b: Range) -> Range:
    """Give the range of a // b, where neither is wide; a division by 0 gives 0."""
    low = a.low // b.high if b.low > 0 else 0
    return Range(low, a.high // max(b.low, 1))


def mod_range(a: Range, b: Range) -> Range:
    """Give the range of a % b, where neither is wide; a remainder by 0 is the dividend."""
    return Range(0, min(a.high, b.high - 1) if b.low > 0 else a.high)


class Value:
    """Base of what an expression can be."""

    __slots__ = ()

    def describe(self) -> str:
        """Name the type, for messages."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Known(Value):
    """A value known at compile time: any Python object."""

    object: Any

    def describe(self) -> str:
        """Name the type, for messages."""
        if isinstance(self.object, bool):
            return "bool"
        if isinstance(self.object, int):
            return "an integer"
        name = getattr(self.object, "__name__", None)
        text = name if isinstance(name, str) else reprlib.repr(self.object)
        return f"the compile-time value {text}"


@dataclass(frozen=True, slots=True)
class Int(Value):
    """An integer; `address` is its address type, if it has one."""

    operand: Operand
    range: Range = FULL
    address: Scalar | None = None

    @property
    def is_wide(self) -> bool:
        """Tell whether the value must be wrapped before it is used."""
        return self.range.is_wide

    def describe(self) -> str:
        """Name the type, for messages."""
        if self.address is not None:
            return self.address.name
        for bits in (8, 16, 32):
            if self.range.low >= 0 and self.range.high < 1 << bits:
                return f"u{bits}"
        return "u64"


@dataclass(frozen=True, slots=True)
class Bool(Value):
    """A truth value."""

    operand: Operand

    def describe(self) -> str:
        """Name the type, for messages."""
        return "bool"


@dataclass(frozen=True, slots=True)
class Ref(Value):
    """A reference to a structure."""

    operand: Operand
    struct: StructMeta

    def describe(self) -> str:
        """Name the type, for messages."""
        return self.struct.__name__


@dataclass(frozen=True, slots=True)
class ArrayRef(Value):
    """A reference to an array field."""

    operand: Operand
    element: Scalar | StructMeta
    stride: int
    count: int

    def describe(self) -> str:
        """Name the type, for messages."""
        element = self.element.name if isinstance(self.element, Scalar) else self.element.__name__
        return f"an array of {self.count} {element}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scalar field or element lies; what may be assigned."""

    operand: Operand
    element: Scalar | type[bool]
    what: str

    @property
    def bits(self) -> int:
        """Give the width in memory."""
        return self.element.bits if isinstance(self.element, Scalar) else 8


@dataclass(frozen=True, slots=True)
class Nothing(Value):
    """The result of a function that returns None."""

    def describe(self) -> str:
        """Name the type, for messages."""
        return "None"


@dataclass(frozen=True, slots=True)
class Type:
    """A declared type: a Scalar, bool, a Struct, or an array (of a local only)."""

    of: Scalar | StructMeta | ArrayRef | type[bool]

    @property
    def kind(self) -> Kind:
        """Give the IR kind."""
        if isinstance(self.of, Scalar):
            return Kind.INT
        return Kind.BOOL if self.of is bool else Kind.REF

    @property
    def name(self) -> str:
        """Name the type, for messages and dumps."""
        if isinstance(self.of, Scalar):
            return self.of.name
        if isinstance(self.of, ArrayRef):
            return self.of.describe()
        return self.of.__name__

    def value(self, operand: Operand, found: Range | None = None) -> Value:
        """Make the value of this type that `operand` holds."""
        if isinstance(self.of, Scalar):
            address = self.of if self.of.is_address else None
            return Int(operand, found or Range(0, self.of.mask), address)
        if isinstance(self.of, ArrayRef):
            return ArrayRef(operand, self.of.element, self.of.stride, self.of.count)
        if self.kind is Kind.BOOL:
            return Bool(operand)
        return Ref(operand, cast(StructMeta, self.of))


def type_of(value: Value) -> Type | None:
    """Give the type that a local takes from its first value; None if it cannot be one."""
    if isinstance(value, Int):
        return Type(value.address or U64)
    if isinstance(value, Bool) or (isinstance(value, Known) and isinstance(value.object, bool)):
        return Type(bool)
    if isinstance(value, Known) and isinstance(value.object, int):
        return Type(U64)
    if isinstance(value, Ref):
        return Type(value.struct)
    if isinstance(value, ArrayRef):
        return Type(value)
    return None


def immediate(value: int | bool) -> Immediate:
    """Make an IR constant of an int (modulo 2**64) or bool."""
    if isinstance(value, bool):
        return Immediate(int(value), Kind.BOOL)
    return Immediate(int(value) & WORD_MASK)

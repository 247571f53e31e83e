"""The marks of resident code, the language it is written in, and the way a refusal is told.

A function is part of the subset when it is marked here; the marks change nothing for CPython.

Types. Parameters and results are annotated: u8, u16, u32, u64, bool, an address type (VA, L2IPA,
L1IPA, PA), a Struct (a reference), or None. A local variable has the type of its first value; an
integer is u64 unless it is wrapped in an address type or annotated (`x: u32 = ...`). Address types
mix neither with each other nor with u64; `PA(...)` converts. What arithmetic gives is a plain
integer.

Integers. CPython computes with unbounded integers, the machine modulo 2**64. The compiler tracks
the range of each value; one that may leave 0..2**64-1 must be wrapped (`u64(x + 1)`,
`x - y & mask`) before it is stored, passed, returned, compared, tested, divided, shifted right or
used as an index, so that both agree. `x += 1` is refused for the same reason. Shifts by 64 or more
give 0.

Statements: assignment (also `a, b = b, a`), if, while, `for` over `range(...)` with a constant
step, `for` over a compile-time tuple (unrolled; `enumerate`, `zip` and unpacking work), break,
continue, match on an integer with constants, `|` and `_`, return, pass, calls.

Expressions: + - * // % & | ^ ~ << >>, comparisons (chained too), `in` a compile-time tuple,
and/or/not, conditional expressions, fields, elements, calls.

Compile time. Whatever Python can compute from globals, closures and constants is computed when the
code is compiled: attributes, subscripts, registers, fields, enums, `T.offset_of("x")`, methods of
objects of `arch`, `len`, `max` and their like, and functions marked `@constexpr`. A local name may
stand for such an object. `if` on a known condition drops the other arm without looking at it. A
tuple of integers indexed at run time becomes a read-only table. `F.get(x)`, `F.put(x)` and
`F.set(v, x)` of a Field become shifts and masks; where CPython would raise because `x` does not fit
the field, the machine cuts it off.

Not checked by the machine: an index outside its array (unless built with `check_bounds`), and a
divisor of 0, which gives 0. CPython and the simulated machine report both as errors, so tests must
reach such code there.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any, TypeVar

from vel2.errors import UserError
from vel2.lang.ir import Location

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_MARK = "__vel2_mark__"


class SubsetError(UserError):
    """Source that the subset refuses: a sentence, the place, and the line with a caret.

    Whoever edits resident code meets it from any command that compiles, so it is a user's mistake.
    """

    def __init__(self, sentence: str, location: Location | None = None) -> None:
        self.sentence = sentence
        self.location = location
        super().__init__(sentence)

    def __str__(self) -> str:
        where = self.location
        if where is None:
            return self.sentence
        line = linecache.getline(where.file, where.line).rstrip()
        stripped = line.lstrip()
        column = max(where.column - (len(line) - len(stripped)), 0)
        length = max(min(where.end_column, len(line)) - where.column, 1)
        return (
            f"{self.sentence}\n  {where.file}:{where.line}, in {where.function}\n"
            f"    {stripped}\n    {' ' * column}{'^' * length}"
        )


def resident(function: FunctionT) -> FunctionT:
    """Mark a function as resident code: it is compiled with everything it calls."""
    setattr(function, _MARK, ("resident", None))
    return function


def inline(function: FunctionT) -> FunctionT:
    """Mark a resident function that is expanded at each call."""
    setattr(function, _MARK, ("inline", None))
    return function


def cold(function: FunctionT) -> FunctionT:
    """Mark a resident function that is hardly ever called.

    It is never expanded where it is called, and the way to it costs the others as little as can be.
    """
    setattr(function, _MARK, ("cold", None))
    return function


def extern(symbol: str) -> Callable[[FunctionT], FunctionT]:
    """Mark a function whose machine code is `symbol` of an assembler (AAPCS64).

    The Python body is what CPython runs in its place.
    """

    def mark(function: FunctionT) -> FunctionT:
        setattr(function, _MARK, ("extern", symbol))
        return function

    return mark


def constexpr(function: FunctionT) -> FunctionT:
    """Mark a function that resident code may call with compile-time arguments only.

    The compiler runs it in Python and uses the result; it must have no effect.
    """
    setattr(function, _MARK, ("constexpr", None))
    return function


def mark_of(function: object) -> tuple[str, str | None]:
    """Give the mark of a function and its symbol; an unmarked function counts as resident."""
    found: tuple[str, str | None] = getattr(function, _MARK, ("resident", None))
    return found

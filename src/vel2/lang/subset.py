"""The marks of resident code, and the way a refusal is told.

A function is part of the subset when it is marked here; the marks change nothing for CPython.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any, TypeVar

from vel2.lang.ir import Location

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_MARK = "__vel2_mark__"


class SubsetError(Exception):
    """Source that the subset refuses: a sentence, the place, and the line with a caret."""

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

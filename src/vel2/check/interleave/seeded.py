"""Resident functions with a fault put in: for as long as one wants to see whether it is found.

The new code goes into the function object itself, so that whoever has imported it runs it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

__all__ = ("Edit", "put_in")


@dataclass(frozen=True)
class Edit:
    """Texts of a function's source, each there just once, and what stands there instead."""

    function: Callable[..., Any]
    changes: tuple[tuple[str, str], ...]


@contextmanager
def put_in(edits: tuple[Edit, ...]) -> Iterator[None]:
    """Run with some edits made.

    :raises LookupError: a text is not there just once.
    """
    codes = [(edit.function, edited(edit)) for edit in edits]
    before = [(function, code_of(function)) for function, _ in codes]
    try:
        for function, code in codes:
            set_code(function, code)
        yield
    finally:
        for function, code in before:
            set_code(function, code)


def code_of(function: Any) -> CodeType:
    """Give a function's code."""
    code: CodeType = function.__code__
    return code


def set_code(function: Any, code: CodeType) -> None:
    """Have a function do something else."""
    function.__code__ = code


def edited(edit: Edit) -> CodeType:
    """Compile a function with its edit."""
    function: Any = edit.function
    source = textwrap.dedent(inspect.getsource(function))
    for search, replace in edit.changes:
        if source.count(search) != 1:
            times = source.count(search)
            raise LookupError(f"{function.__name__} has {search!r} {times} times")
        source = source.replace(search, replace)
    names: dict[str, Any] = dict(function.__globals__)
    exec(compile(source, inspect.getfile(function), "exec"), names)
    return code_of(names[function.__name__])

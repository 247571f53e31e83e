"""What code is allowed that is to be confined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Region:
    """A piece of memory that code may read, and write if `is_writable`.

    Its address is a multiple of 16.

    :ivar name: as a refusal says it: "the trap".
    :ivar pointers: what its words at some offsets point at: whole regions. Nobody but their owner
        changes these words.
    """

    name: str
    size: int
    is_writable: bool = False
    pointers: Mapping[int, Region] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True)
class Rules:
    """What one module may do.

    :ivar parameters: what the references that its root takes point at, in order; None stands for a
        number.
    :ivar symbols: what lies at a symbol.
    :ivar registers: the system registers it may read, by name: those whose reading has no effect.
    :ivar operations_max: how many operations of the IR one call may execute.
    :ivar purpose: what the code is, for sentences: "a probe".
    """

    parameters: tuple[Region | None, ...]
    symbols: Mapping[str, Region]
    registers: frozenset[str]
    operations_max: int
    purpose: str = "this code"

"""What every construct needs while a function is lowered.

A `Context` holds the function's source, its names, and the builder of its IR, and knows which
function lowers which node of the syntax. The constructs are plain functions with a `Context` as
their first parameter, one file for each kind; they reach each other's nodes through it alone.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NoReturn, Protocol

from vel2.lang import ir
from vel2.lang.ir import Block, Local, Location
from vel2.lang.lower.builder import Builder
from vel2.lang.lower.source import Signature, Source
from vel2.lang.lower.values import Range, Type, Value
from vel2.lang.subset import SubsetError

_HINTS = {
    "Assert": "write an if that calls a function of your own",
    "AsyncFunctionDef": "define functions at the top of a module",
    "ClassDef": "define classes at the top of a module",
    "Delete": "assign another value instead",
    "FunctionDef": "define functions at the top of a module",
    "Global": "keep what changes in a Struct",
    "Import": "import at the top of the module",
    "ImportFrom": "import at the top of the module",
    "Nonlocal": "keep what changes in a Struct",
    "Raise": "return a value that says what happened",
    "Try": "return a value that says what happened",
    "With": "call what it does at its start and at its end",
}


class Surroundings(Protocol):
    """What a function shares with the others of its module."""

    def signature(self, target: FunctionType) -> Signature:
        """Declare a function that is called."""

    def table(self, values: tuple[int, ...]) -> ir.Table:
        """Give the constant table with these values."""

    def blob(self, data: bytes) -> ir.Blob:
        """Give the constant bytes."""


@dataclass(frozen=True)
class Constructs:
    """Which function lowers which node."""

    expressions: Mapping[type[ast.expr], Callable[[Context, Any], Value]]
    statements: Mapping[type[ast.stmt], Callable[[Context, Any], None]]


@dataclass
class Loop:
    """Where `continue` and `break` go."""

    again: Block
    end: Block


class Variable:
    """A local variable: its slot, its type, and the range of its values when it has one source."""

    __slots__ = ("local", "range", "type")

    def __init__(self, local: Local, type_: Type) -> None:
        self.local = local
        self.type = type_
        self.range: Range | None = None


class Context:
    """The lowering of one function."""

    def __init__(
        self, module: Surroundings, source: Source, function: ir.Function, constructs: Constructs
    ) -> None:
        self.module = module
        self.source = source
        self.build = Builder(function)
        self.variables: dict[str, Variable] = {}
        self.was_bound: set[str] = set()
        """Names that stood for a compile-time object somewhere."""
        self.assignments = _count_assignments(source.node)
        self.loops: list[Loop] = []
        self._constructs = constructs

    def location(self, node: ast.AST) -> Location:
        """Give the place of a node in its file."""
        line = getattr(node, "lineno", 1)
        column = getattr(node, "col_offset", 0)
        end = getattr(node, "end_col_offset", None)
        if end is None or getattr(node, "end_lineno", line) != line:
            end = 10_000
        return self.source.location(line, column, end)

    def refuse(self, node: ast.AST, sentence: str) -> NoReturn:
        """Stop with a message about a node."""
        raise SubsetError(sentence, self.location(node))

    def text(self, node: ast.AST) -> str:
        """Give the source of a node in one line."""
        return self.source.segment(node)

    def expression(self, node: ast.expr) -> Value:
        """Lower any expression."""
        lower = self._constructs.expressions.get(type(node))
        if lower is None:
            self.refuse(node, f"`{self.text(node)}` is not in the subset ({type(node).__name__})")
        return lower(self, node)

    def body(self, statements: list[ast.stmt]) -> None:
        """Lower statements, up to the first after which control does not go on."""
        for statement in statements:
            if not self.build.is_open:
                break
            self.build.here = self.location(statement)
            lower = self._constructs.statements.get(type(statement))
            if lower is None:
                kind = type(statement).__name__
                hint = _HINTS.get(kind, "write it with if, while, for and match")
                self.refuse(statement, f"the statement `{kind}` is not in the subset: {hint}")
            lower(self, statement)


def targets(node: ast.AST) -> Iterator[str]:
    """Yield the names that are assigned below a node."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id


def _count_assignments(node: ast.FunctionDef) -> Counter[str]:
    counts = Counter(name for statement in node.body for name in targets(statement))
    for argument in node.args.args:
        counts[argument.arg] += 1
    return counts

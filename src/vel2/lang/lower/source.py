"""A Python function as the compiler sees it: its syntax, its names, its declared types."""

from __future__ import annotations

import ast
import enum
import inspect
import linecache
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any, Never, NoReturn

from vel2.lang import ir
from vel2.lang.lower.values import Type
from vel2.lang.structs import StructMeta
from vel2.lang.subset import SubsetError, mark_of
from vel2.lang.types import U64, Scalar


@lru_cache(maxsize=64)
def _functions(text: str) -> dict[int, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Parse a file; give its functions by the line of their def or first decorator."""
    return {
        min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]): node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


class Source:
    """A Python function as the compiler sees it: its syntax, its names, its declared types."""

    def __init__(self, function: FunctionType) -> None:
        self.python = function
        self.name = function.__name__
        self.file = function.__code__.co_filename
        self.mark, self.symbol = mark_of(function)
        self.never_returns = False
        self.parameters, self.result = self._declared()

    @cached_property
    def node(self) -> ast.FunctionDef:
        """Find the function's syntax in its file."""
        code = self.python.__code__
        text = "".join(linecache.getlines(self.file))
        found = _functions(text).get(code.co_firstlineno)
        if found is None or found.name != self.name:
            raise SubsetError(f"the source of {self.name}() cannot be read from {self.file}")
        if isinstance(found, ast.AsyncFunctionDef):
            raise SubsetError(f"{self.name}() is async: only plain functions are resident")
        self._text = text
        if not text.isascii():
            self._check_names(found)
        return found

    def _check_names(self, node: ast.FunctionDef) -> None:
        """Refuse names that the symbols of an image cannot hold."""
        for inner in ast.walk(node):
            for key in ("id", "arg", "name"):
                name = getattr(inner, key, None)
                if isinstance(name, str) and not name.isascii():
                    column = node.col_offset
                    raise SubsetError(
                        f"the name `{name}` is not ASCII: rename it",
                        self.location(node.lineno, column, column + len("def")),
                    )

    @cached_property
    def environment(self) -> dict[str, object]:
        """Give the names the function can see outside itself."""
        found = dict(self.python.__globals__)
        names = self.python.__code__.co_freevars
        for name, cell in zip(names, self.python.__closure__ or (), strict=True):
            try:
                found[name] = cell.cell_contents
            except ValueError:
                continue
        return found

    def location(self, line: int, column: int, end: int) -> ir.Location:
        """Make a place in the function's file."""
        return ir.Location(self.file, line, column, end, self.name)

    def segment(self, node: ast.AST) -> str:
        """Give the text of a node as written, in one line."""
        text = ast.get_source_segment(self._text, node) or ast.unparse(node)
        return " ".join(text.split())

    def head(self) -> ir.Location:
        """Give the place of the def line."""
        node = self.node
        column = node.col_offset
        return self.location(node.lineno, column, column + len("def ") + len(self.name))

    def refuse(self, sentence: str) -> SubsetError:
        """Make a refusal about the function as a whole."""
        return SubsetError(sentence, self.head())

    def _declared(self) -> tuple[list[tuple[str, Type]], Type | None]:
        signature = inspect.signature(self.python)
        parameters = []
        for name, parameter in signature.parameters.items():
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise self.refuse(f"{self.name}() must take plain parameters, not *{name}")
            if parameter.annotation is parameter.empty:
                raise self.refuse(f"parameter `{name}` of {self.name}() needs a type")
            type_ = self._type(parameter.annotation, f"parameter `{name}` of {self.name}()")
            if type_ is None:
                raise self.refuse(f"parameter `{name}` of {self.name}() cannot be None")
            parameters.append((name, type_))
        if signature.return_annotation is signature.empty:
            raise self.refuse(f"{self.name}() needs a return type: write -> None if it has none")
        return parameters, self._type(signature.return_annotation, f"the result of {self.name}()")

    def _type(self, annotation: Any, what: str) -> Type | None:
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, self.environment)
            except Exception:
                raise self.refuse(
                    f"{what} has the type `{annotation}`, which is not known at run time: "
                    "import it outside TYPE_CHECKING"
                ) from None
        if annotation in (NoReturn, Never):
            self.never_returns = True
            return None
        if annotation is None:
            return None
        if isinstance(annotation, Scalar | StructMeta) or annotation is bool:
            return Type(annotation)
        if isinstance(annotation, type) and issubclass(annotation, enum.IntEnum):
            return Type(U64)  # mypy sees the members, the machine a number
        name = getattr(annotation, "__name__", repr(annotation))
        raise self.refuse(
            f"{what} has the type {name}: use u8..u64, bool, VA, IPA, L2IPA, L1IPA, PA or a Struct"
        )


@dataclass(frozen=True)
class Signature:
    """What a call needs to know of a function."""

    function: ir.Function
    parameters: list[tuple[str, Type]]
    result: Type | None
    never_returns: bool

"""The work list: from the roots to every function they reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from vel2.lang import ir
from vel2.lang.lower.function import lower_function
from vel2.lang.lower.source import Signature, Source
from vel2.lang.subset import SubsetError
from vel2.lang.verify import verify_module


class ModuleLowering:
    """Lowers roots and all they call into one module."""

    def __init__(self) -> None:
        self.module = ir.Module()
        self.externals: dict[str, FunctionType] = {}
        """Symbol -> the function that stands for it in CPython."""
        self.signatures: dict[FunctionType, Signature] = {}
        self._work: list[tuple[Source, ir.Function]] = []
        self._tables: dict[tuple[int, ...], ir.Table] = {}
        self._blobs: dict[bytes, ir.Blob] = {}

    def run(self, roots: Iterable[Callable[..., Any]], *, keep_names: bool = True) -> ir.Module:
        """Lower everything; `keep_names` refuses roots that cannot keep their Python names."""
        for root in roots:
            if not isinstance(root, FunctionType):
                raise SubsetError(f"a root must be a function, not {root!r}")
            signature = self.signature(root)
            if keep_names and signature.function.name != root.__name__:
                raise SubsetError(
                    f"two roots are named {root.__name__}: an assembler could not tell them apart"
                )
            signature.function.exported = True
        while self._work:
            source, function = self._work.pop(0)
            lower_function(self, source, function)
        return self.module

    def signature(self, target: FunctionType) -> Signature:
        """Declare a function once; refusals in its head are its own."""
        return self.signatures.get(target) or self._declare(target)

    def _declare(self, target: FunctionType) -> Signature:
        source = Source(target)
        name = source.symbol or self._unique_name(target)
        if source.symbol in self.module.functions:
            raise source.refuse(f"two functions use the symbol {name}: declare it once")
        function = ir.Function(
            name,
            [ir.Local(name, type_.kind, type_.name) for name, type_ in source.parameters],
            None if source.result is None else source.result.kind,
            "None" if source.result is None else source.result.name,
            external=source.mark == "extern",
            inline=source.mark == "inline",
            cold=source.mark == "cold",
            location=None if source.mark == "extern" else source.head(),
        )
        self.module.functions[name] = function
        signature = Signature(function, source.parameters, source.result, source.never_returns)
        self.signatures[target] = signature
        if function.external:
            self.externals[name] = target
        else:
            self._work.append((source, function))
        return signature

    def _unique_name(self, target: FunctionType) -> str:
        name = target.__name__
        if name not in self.module.functions:
            return name
        module = target.__module__.rpartition(".")[2]
        base = name = f"{module}.{target.__qualname__.replace('<locals>.', '')}"
        number = 1
        while name in self.module.functions:
            number += 1
            name = f"{base}.{number}"
        return name

    def table(self, values: tuple[int, ...]) -> ir.Table:
        """Give the constant table with these values."""
        if values not in self._tables:
            table = ir.Table(f"table.{len(self._tables)}", values)
            self._tables[values] = table
            self.module.tables.append(table)
        return self._tables[values]

    def blob(self, data: bytes) -> ir.Blob:
        """Give the constant bytes."""
        if data not in self._blobs:
            blob = ir.Blob(f"bytes.{len(self._blobs)}", data)
            self._blobs[data] = blob
            self.module.blobs.append(blob)
        return self._blobs[data]


def lower_module(*roots: Callable[..., Any]) -> ir.Module:
    """Lower `roots` and every function they call to the IR.

    :raises SubsetError: the source is not in the subset.
    """
    module = ModuleLowering().run(roots)
    verify_module(module)
    return module

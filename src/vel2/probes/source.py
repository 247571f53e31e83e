"""Probes out of a file: `FILE.py`, or `FILE.py:NAME` for one function of it."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import traceback
from pathlib import Path
from types import FunctionType, ModuleType

from vel2.errors import UserError
from vel2.probes.place import marked_place

__all__ = ("load_probes",)

_numbers = itertools.count()


def load_probes(text: str) -> list[FunctionType]:
    """Give the function that is named, or all those of the file that are marked as probes.

    :param text: `FILE.py` or `FILE.py:NAME`.
    :raises UserError: when there is none, or the file cannot be run.
    """
    file, separator, name = text.rpartition(":")
    if not separator or not file.endswith(".py"):
        file, name = text, ""
    module = _run(Path(file))
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, FunctionType):
            raise UserError(f"{file} has no function {name}; it has {_functions(module)}.")
        return [found]
    marked = [
        each
        for each in vars(module).values()
        if isinstance(each, FunctionType) and marked_place(each) is not None
    ]
    if not marked:
        raise UserError(
            f"{file} has no probe: mark a function with @probe(...), or name one:"
            f" {file}:{next(iter(_own(module)), 'NAME')}."
        )
    return marked


def _own(module: ModuleType) -> list[str]:
    """Name the functions that a module defines itself."""
    return [
        name
        for name, each in vars(module).items()
        if isinstance(each, FunctionType) and each.__module__ == module.__name__
    ]


def _functions(module: ModuleType) -> str:
    return ", ".join(_own(module)) or "none"


def _run(path: Path) -> ModuleType:
    """Run a file as a module of its own.

    :raises UserError: naming the file, and the line where it fails.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; --probe takes FILE.py or FILE.py:NAME.")
    name = f"vel2_probe_{next(_numbers)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file; --probe takes FILE.py or FILE.py:NAME.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        line = _line_of(error, path)
        raise UserError(f"{path}:{line}: {type(error).__name__}: {error}.") from error
    return module


def _line_of(error: Exception, path: Path) -> int:
    """Give the line of a file at which an exception came about."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return error.lineno
    inside = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path.resolve() and frame.lineno is not None
    ]
    return inside[-1] if inside else 1

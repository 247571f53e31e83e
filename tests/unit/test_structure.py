"""The shape of the source, measured: no circles, functions of a screen, nothing without a user."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SRC / "vel2").rglob("*.py"))
}
LONGEST_BODY = 40
"""Lines of a function outside `hyp`, from behind its docstring: a screen."""
LONGEST_RESIDENT = 50
LONGEST_MODULE = 350
"""Lines, of what is resident; `__all__` is a list and does not count."""
ALL = re.compile(r"^__all__ = \(.*?\)$", re.M | re.S)


def imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Yield the modules that a module imports, at once or when a function runs; not for types."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Give what is left when modules that import nothing left are taken away again and again."""
    left = {name: set(targets) & set(graph) - {name} for name, targets in graph.items()}
    while free := [name for name, targets in left.items() if not targets]:
        for name in free:
            del left[name]
        for targets in left.values():
            targets.difference_update(free)
    return [sorted(left)] if left else []


def test_no_import_leads_in_a_circle() -> None:
    graph = {
        name: set(imported(ast.parse(path.read_text()), set(MODULES)))
        for name, path in MODULES.items()
    }
    assert circles(graph) == []


def test_the_search_for_circles_itself() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["a", "b", "c", "d"]]
    source = """
from typing import TYPE_CHECKING
import a
if TYPE_CHECKING:
    from b import B
else:
    from c import C
def f():
    from d import e, F
"""
    found = set(imported(ast.parse(source), {"d.e"}))
    assert found == {"typing", "a", "c", "d", "d.e"}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function, from behind its docstring."""
    has_docstring = ast.get_docstring(function) is not None and len(function.body) > 1
    first, last = function.body[has_docstring], function.body[-1]
    return (last.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("vel2.hyp.")])
def test_a_function_fits_a_screen(name: str) -> None:
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = body_lines(node)
            assert lines <= LONGEST_BODY, f"{node.name} has {lines} lines; part it by subject"


def test_the_counting_of_lines_itself() -> None:
    (function,) = ast.parse('def f():\n    """A.\n\n    B."""\n    a = (\n 1)\n    b = 2\n').body
    assert isinstance(function, ast.FunctionDef)
    assert body_lines(function) == 3


RESIDENT = [path for name, path in MODULES.items() if ".hyp." in name]


@pytest.mark.parametrize("path", RESIDENT, ids=lambda path: path.stem)
def test_a_resident_module_has_one_subject(path: Path) -> None:
    source = path.read_text()
    lines = ALL.sub("", source).count("\n")
    assert lines <= LONGEST_MODULE, f"{path.stem} has {lines} lines: split it by subject"


@pytest.mark.parametrize("path", RESIDENT, ids=lambda path: path.stem)
def test_a_resident_function_fits_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_RESIDENT, f"{node.name} has {lines} lines"


def definitions(path: Path) -> Iterator[str]:
    """Yield the names that a module defines; what a decorator hands on is used by that."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            if not node.decorator_list or {"resident", "cold"} & {
                ast.unparse(mark) for mark in node.decorator_list
            }:
                yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for inner in ast.walk(target):
                    if isinstance(inner, ast.Name):
                        yield inner.id


def test_nobody_defines_what_nobody_uses() -> None:
    """Facts of the architecture may wait for their first user."""
    words: Counter[str] = Counter()
    for folder in ("src", "tests", "tools"):
        for path in (ROOT / folder).rglob("*"):
            if path.parent.name == "__pycache__":  # tests import tools, too
                continue
            if path.is_file() and (path.suffix in (".py", ".toml") or folder == "tools"):
                words.update(re.findall(r"\w+", path.read_text()))
    unused = [
        f"{name}.{defined}"
        for name, path in MODULES.items()
        if not name.startswith("vel2.arch")
        for defined in definitions(path)
        if words[defined] == 1
    ]
    assert unused == []


def members(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fields of the structures and the members of the enumerations of a module."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and {"Struct", "IntEnum"} & {
            ast.unparse(base) for base in node.bases
        }:
            for statement in node.body:
                if isinstance(statement, ast.Assign):
                    yield node.name, ast.unparse(statement.targets[0])


def reads(path: Path) -> Iterator[str]:
    """Yield the attributes that a module reads, and its strings: fields are also named by those."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_nobody_keeps_what_nobody_reads() -> None:
    """A field that is only written, and a member that no code names, say nothing."""
    named: Counter[str] = Counter()
    for folder in ("src", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            named.update(reads(path))
    unread = [
        f"{path.stem}.{owner}.{member}"
        for path in RESIDENT
        for owner, member in members(path)
        if member not in named
    ]
    assert unread == []


def taken(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each name of a module of `hyp` that another module takes, with its module."""
    tree = ast.parse(path.read_text())
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "vel2.hyp":
            modules.update((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("vel2.hyp."):
            yield from ((str(node.module).split(".")[2], alias.name) for alias in node.names)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
        ):
            yield modules[node.value.id], node.attr


def exported(path: Path) -> list[str]:
    """Give what a module says that others may take."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def test_a_resident_module_says_what_others_take() -> None:
    """`__all__` is the seam between modules: what others take, and nothing else."""
    wanted: dict[str, set[str]] = {path.stem: set() for path in RESIDENT}
    for path in MODULES.values():
        for module, name in taken(path):
            if path.stem != module or "hyp" not in path.parts:
                wanted[module].add(name)
    own = {path.stem: set(definitions(path)) | defined_by_decorators(path) for path in RESIDENT}
    different = {
        path.stem: sorted((wanted[path.stem] & own[path.stem]) ^ set(exported(path)))
        for path in RESIDENT
    }
    assert {stem: names for stem, names in different.items() if names} == {}


def defined_by_decorators(path: Path) -> set[str]:
    """Give the classes and functions that `definitions` leaves out."""
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }

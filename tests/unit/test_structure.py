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
LONGEST_RESIDENT = 50
LONGEST_MODULE = 350
"""Lines, of what is resident."""


def imported(statements: list[ast.stmt], modules: set[str]) -> Iterator[str]:
    """Yield the modules that are imported when these statements run."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)
        elif isinstance(node, ast.If):
            for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            yield from imported(node.orelse if for_types else node.body + node.orelse, modules)


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
        name: set(imported(ast.parse(path.read_text()).body, set(MODULES)))
        for name, path in MODULES.items()
    }
    assert circles(graph) == []


def test_the_search_for_circles_itself() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["a", "b", "c", "d"]]


RESIDENT = [path for name, path in MODULES.items() if ".hyp." in name]


@pytest.mark.parametrize("path", RESIDENT, ids=lambda path: path.stem)
def test_a_resident_module_has_one_subject(path: Path) -> None:
    lines = path.read_text().count("\n")
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
            if not node.decorator_list or "resident" in ast.unparse(node.decorator_list[0]):
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

"""Every loop of the resident code ends, whatever a guest has in memory: by form or for a reason.

A loop has a good form when its condition compares a local variable that the loop itself moves by a
constant, or halves an interval. What has another form is named here with the reason why it ends.
Functions that call themselves are loops, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vel2.hyp

MARKS = {"resident", "inline", "cold"}
HYP = Path(vel2.hyp.__file__).parent
REASONS = {
    "a64.bit_mask": "doubles, from 2 at least to 64",
    "lock.acquire": "each who came before is L0 on another pcpu, which has bounds of its own",
    "hook.ask": "each turn is an errand of the host's, which ends the question when it likes",
    "hook.wait": "the host answers: it knows who waits, and is the only one who is waited for",
    "tlbi.unmap_from": "each turn does all or `shadow.PART` entries; the lock is free in between",
    "stage2.map_identity": "moves by the block just mapped, to the end of a region of the host's",
}
"""Loops whose variable does not move by a constant."""
RECURSIVE: dict[str, str] = {}


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every function of the resident code by module and name."""
    for path in sorted(HYP.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and MARKS & {
                ast.unparse(mark) for mark in node.decorator_list
            }:
                yield f"{path.stem}.{node.name}", node


def compared(test: ast.expr) -> set[str]:
    """Name the variables that a condition, or one of its conjuncts, compares."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    found = set()
    for part in parts:
        if isinstance(part, ast.Compare):
            for side in (part.left, *part.comparators):
                if isinstance(side, ast.Name):
                    found.add(side.id)
    return found


def moves(loop: ast.While) -> set[str]:
    """Name the variables that a loop sets to themselves plus, minus or times a constant."""
    found = set()
    for node in ast.walk(loop):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "u64":
                value = value.args[0]
            name = node.targets[0].id
            if (
                isinstance(value, ast.BinOp)
                and isinstance(value.op, ast.Add | ast.Sub | ast.LShift)
                and isinstance(value.left, ast.Name)
                and value.left.id == name
                and is_constant(value.right)
            ):
                found.add(name)
    return found


def is_constant(node: ast.expr) -> bool:
    """Whether an expression is made of numbers and names in capitals, which no guest sets."""
    if isinstance(node, ast.BinOp):
        return is_constant(node.left) and is_constant(node.right)
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    return isinstance(node, ast.Constant) or name.isupper()


LOOPS = [
    (name, loop)
    for name, function in functions()
    for loop in ast.walk(function)
    if isinstance(loop, ast.While)
]


@pytest.mark.parametrize(("name", "loop"), LOOPS, ids=[name for name, _ in LOOPS])
def test_a_loop_has_a_bound_of_its_own(name: str, loop: ast.While) -> None:
    """Show that no loop waits for what a guest has in memory."""
    halves = {"low", "high"} <= compared(loop.test)
    assert halves or compared(loop.test) & moves(loop) or name in REASONS, (
        f"{name}: while {ast.unparse(loop.test)} has no bound: let a local variable move by a"
        " constant, or say here why it ends"
    )


def test_what_calls_itself_is_named() -> None:
    """Show that only these functions are recursive."""
    recursive = {
        name
        for name, function in functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function.name
    }
    assert recursive == set(RECURSIVE)


def test_no_reason_is_left_over() -> None:
    """Show that each reason is about a loop that there is."""
    assert set(REASONS) <= {name for name, _ in LOOPS}

"""A trap comes in by one door and goes out by one: no handler touches PC, PSTATE or a record.

What is told here of the source is what tracing, probes and hooks stand on: whatever L0 does for a
guest passes `trap.begin` and `trap.deliver`, with `observe` right behind each if somebody watches,
or the one place in the vectors that returns at once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest

import vel2.hyp
from vel2.hyp import trap
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import ExceptionRecord, ReturnRecord, Trap

HYP = Path(vel2.hyp.__file__).parent

MOVES_PC = {
    "a64.branch": "an instruction that `ahead` executes",
    "a64.execute": "an instruction that `ahead` executes",
    "exception.go_on": "behind an instruction that is done",
    "exception.return_from_vel2": "ERET",
    "exception.step_back": "onto an instruction that is not done after all",
    "exception.take_to_running_el1": "AArch64.TakeException",
    "exception.take_to_vel2": "AArch64.TakeException",
    "start.begin": "reset",
}
SETS_PSTATE = {
    "a64.set_nz": "an instruction that `ahead` executes",
    "exception.return_from_vel2": "ERET",
    "exception.step_over": "SS and BTYPE, behind an instruction",
    "exception.take_to_running_el1": "AArch64.TakeException",
    "exception.take_to_vel2": "AArch64.TakeException",
    "start.reset_vcpu": "reset",
}
HANDLERS = {"trap.handle_sync", "trap.handle_irq", "trap.handle_fiq", "trap.handle_serror"}
WATCHED = {"trap.handle_watched_sync", "trap.handle_watched_interrupt"}
CALLERS = {
    "exception.take_to_running_el1": {"exception.take_exception", "exception.take_to_vel2"},
    "exception.take_to_vel2": {"exception.take_exception"},
    "exception.take_exception": {"trap.deliver"},
    "exception.return_from_vel2": {"trap.deliver"},
    "exception.step_over": {"trap.deliver"},
    "exception.step_back": {"trap.deliver"},
    "exception.go_on": {"exception.step_over", "ahead.done_ahead"},
    "ahead.done_ahead": {"ahead.run"},
    "trap.begin": HANDLERS | WATCHED,
    "trap.deliver": HANDLERS | WATCHED,
    "observe.begin": WATCHED,
    "observe.end": WATCHED,
    "observe.end_for_good": {"power.turn_off", "smc.stop_machine"},
}
"""Who may call what ends a trap, or begins one."""
WRITERS = {
    "trap": {
        *("trap.begin", "trap.handle_sync", "trap.handle_watched_sync"),
        *("abort.from_vel1", "abort.from_vel2"),
    },
    "exception": {
        *("answer.give", "answer.give_with_far", "answer.give_stage2_fault"),
        *("answer.interrupt", "answer.serror"),
    },
    "returning": {"answer.return_to"},
}
RECORDS = {"trap": Trap, "exception": ExceptionRecord, "returning": ReturnRecord}


@cache
def modules() -> dict[str, ast.Module]:
    """Parse every module of `hyp`."""
    return {path.stem: ast.parse(path.read_text()) for path in sorted(HYP.glob("*.py"))}


@cache
def functions() -> dict[str, ast.FunctionDef]:
    """Give every function of `hyp` by module and name."""
    return {
        f"{module}.{node.name}": node
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


@cache
def imported(module: str) -> dict[str, str]:
    """Give what a module takes from others of `hyp`: its name here, and module and name there."""
    return {
        alias.asname or alias.name: f"{node.module.rpartition('.')[2]}.{alias.name}"
        for node in ast.walk(modules()[module])
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vel2.hyp.")
        for alias in node.names
    }


def stores(node: ast.FunctionDef) -> Iterator[str]:
    """Yield the text of each attribute that a function assigns, a local alias written out.

    An element that is assigned counts as its array.
    """
    aliases = {
        statement.targets[0].id: ast.unparse(statement.value)
        for statement in ast.walk(node)
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Attribute)
    }
    for found in ast.walk(node):
        is_element = isinstance(found, ast.Subscript) and isinstance(found.ctx, ast.Store)
        each = found.value if is_element else found
        if isinstance(each, ast.Attribute) and (is_element or isinstance(each.ctx, ast.Store)):
            owner = ast.unparse(each.value)
            yield f"{aliases.get(owner, owner)}.{each.attr}"


def calls(caller: str) -> set[str]:
    """Name the functions of `hyp` that one of them calls, by module and name."""
    module = caller.partition(".")[0]
    texts = {
        ast.unparse(each.func)
        for each in ast.walk(functions()[caller])
        if isinstance(each, ast.Call)
    }
    return {
        text if "." in text else imported(module).get(text, f"{module}.{text}") for text in texts
    }


@pytest.mark.parametrize(
    ("field", "allowed"), [("pc", MOVES_PC), ("pstate", SETS_PSTATE)], ids=["pc", "pstate"]
)
def test_pc_and_pstate_are_assigned_in_named_places(field: str, allowed: dict[str, str]) -> None:
    found = {name for name, node in functions().items() if f"vcpu.{field}" in stores(node)}
    assert found == set(allowed)


@pytest.mark.parametrize("name", CALLERS)
def test_what_begins_and_ends_a_trap_is_called_in_one_place(name: str) -> None:
    found = {caller for caller in functions() if name in calls(caller)}
    assert found == CALLERS[name]


@pytest.mark.parametrize("record", WRITERS)
def test_a_record_is_made_by_its_constructors(record: str) -> None:
    fields = {name for name in vars(RECORDS[record]) if not name.startswith("_")}
    found = set()
    for name, node in functions().items():
        for store in stores(node):
            owner, _, field = store.rpartition(".")
            if owner == f"vcpu.{record}" and field in fields:
                found.add(name)
    assert found == WRITERS[record]


def test_each_handler_answers_with_an_outcome() -> None:
    for row in trap.DISPATCH:
        for handler in (row.vel2, row.vel1):
            assert get_type_hints(handler)["return"] is Outcome, handler.__name__


def test_a_handler_that_moved_pc_would_be_seen() -> None:
    """The reading of the source has teeth: for a field, and for an alias of a record."""
    node = ast.parse("def f(vcpu):\n    e = vcpu.exception\n    e.kind = 0\n    vcpu.pc = 1").body[
        0
    ]
    assert isinstance(node, ast.FunctionDef)
    assert set(stores(node)) == {"vcpu.exception.kind", "vcpu.pc"}

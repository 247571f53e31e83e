"""Loops: counted ones over `range`, and those over compile-time tuples, which are unrolled."""

from __future__ import annotations

import ast
from typing import Any

from vel2.lang.ir import Immediate, Instruction
from vel2.lang.lower.assignment import assign_name
from vel2.lang.lower.context import Context, Loop
from vel2.lang.lower.convert import any_integer, integer
from vel2.lang.lower.names import forget_assigned
from vel2.lang.lower.values import (
    Int,
    Known,
    Range,
    Type,
    immediate,
)
from vel2.lang.types import U64

_COUNTER = Type(U64)


def refuse_else(f: Context, node: ast.While | ast.For) -> None:
    """Refuse the `else` of a loop."""
    if node.orelse:
        f.refuse(node.orelse[0], "a loop has no else in the subset: use a flag")


def loop_body(f: Context, loop: Loop, body: list[ast.stmt]) -> None:
    """Lower a loop's body, with its `break` and `continue`."""
    f.loops.append(loop)
    f.body(body)
    f.loops.pop()


def for_(f: Context, node: ast.For) -> None:
    """Lower `for`."""
    refuse_else(f, node)
    if _is_range(f, node.iter):
        assert isinstance(node.iter, ast.Call)
        if isinstance(node.target, ast.Name) and not node.iter.keywords:
            _for_range(f, node, node.target, node.iter)
            return
    value = f.expression(node.iter)
    if not isinstance(value, Known):
        f.refuse(
            node.iter,
            f"`{f.text(node.iter)}` is {value.describe()}: loop over range(...) or a "
            "compile-time tuple",
        )
    try:
        items = list(value.object)
    except TypeError:
        f.refuse(
            node.iter,
            f"`{f.text(node.iter)}` is {value.describe()}: loop over range(...) or a "
            "compile-time tuple",
        )
    _unroll(f, node, items)


def _is_range(f: Context, node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False
    name = node.func.id
    shadowed = name in f.assignments or name in f.source.environment
    return name == "range" and not shadowed


def _for_range(f: Context, node: ast.For, target: ast.Name, call: ast.Call) -> None:
    """Lower a counted loop; the counter is hidden, so the body may assign the target."""
    if not 1 <= len(call.args) <= 3:
        f.refuse(call, "range() takes 1 to 3 arguments")
    found = [_range_argument(f, argument) for argument in call.args]
    zero, one = Int(immediate(0), Range(0, 0)), Int(immediate(1), Range(1, 1))
    start = found[0] if len(found) > 1 else zero
    stop = found[1] if len(found) > 1 else found[0]
    step = found[2] if len(found) > 2 else one
    if step.range.low != step.range.high or step.range.low == 0:
        f.refuse(call.args[-1], "the step of range() must be a compile-time number, not 0")
    by = step.range.low
    counts_to_zero = by < 0 and stop.range == Range(-1, -1)
    for argument, value in zip(call.args, found, strict=True):
        if value is not step and not (value is stop and counts_to_zero):
            integer(f, argument, value, "counted to")
    value_range = (
        Range(start.range.low, max(stop.range.high - 1, start.range.low))
        if by > 0
        else Range(max(stop.range.low + 1, 0), start.range.high)
    )
    _counted(f, node, target, start, stop, by, value_range)


def _range_argument(f: Context, node: ast.expr) -> Int:
    value = any_integer(f, node, f.expression(node))
    return Int(value.operand, value.range)


def _counted(
    f: Context, node: ast.For, target: ast.Name, start: Int, stop: Int, by: int, values: Range
) -> None:
    counter = f.build.temporary(_COUNTER)
    f.build.set(counter, start.operand)
    again, body, step, end = (f.build.new_block(name) for name in ("for", "body", "step", "end"))
    remaining = None
    if by == 1:
        limit = stop.operand
    else:
        remaining = f.build.temporary(_COUNTER)
        f.build.set(remaining, _trip_count(f, start, stop, by))
        limit = None
    forget_assigned(f, node.body)
    f.build.bound.pop(target.id, None)
    f.build.jump(again)
    f.build.enter(again)
    if remaining is None:
        assert limit is not None
        f.build.branch(f.build.emit("lt", f.build.get(counter), limit), body, end)
    else:
        f.build.branch(f.build.emit("ne", f.build.get(remaining), Immediate(0)), body, end)
    f.build.enter(body)
    assign_name(f, target, Int(f.build.get(counter), values), target, None)
    loop_body(f, Loop(step, end), node.body)
    f.build.jump(step)
    f.build.enter(step)
    f.build.set(counter, f.build.emit("add", f.build.get(counter), immediate(by)))
    if remaining is not None:
        f.build.set(remaining, f.build.emit("sub", f.build.get(remaining), Immediate(1)))
    f.build.jump(again)
    f.build.enter(end)


def _trip_count(f: Context, start: Int, stop: Int, by: int) -> Instruction:
    """Compute how often a loop with a step other than 1 runs, as len(range(...)) does."""
    slot = f.build.temporary(_COUNTER)
    runs, end = f.build.new_block("runs"), f.build.new_block("counted")
    f.build.set(slot, Immediate(0))
    low, high = (start, stop) if by > 0 else (stop, start)
    if low.range == Range(-1, -1):
        f.build.jump(runs)
    else:
        f.build.branch(f.build.emit("lt", low.operand, high.operand), runs, end)
    f.build.enter(runs)
    distance = f.build.emit("sub", f.build.emit("sub", high.operand, low.operand), Immediate(1))
    rounds = f.build.emit("div", distance, Immediate(abs(by)))
    f.build.set(slot, f.build.emit("add", rounds, Immediate(1)))
    f.build.jump(end)
    f.build.enter(end)
    return f.build.get(slot)


def _unroll(f: Context, node: ast.For, items: list[object]) -> None:
    """Repeat the body for each item, with the targets bound to compile-time values."""
    end = f.build.new_block("end")
    for index, item in enumerate(items):
        following = end if index == len(items) - 1 else f.build.new_block("next")
        _bind_target(f, node.target, item)
        loop_body(f, Loop(following, end), node.body)
        f.build.jump(following)
        f.build.enter(following)
        if not f.build.is_open:
            break
    if items and f.build.block is not end:
        f.build.enter(end)
    for name in _targets_of(node.target):
        f.build.bound.pop(name, None)


def _bind_target(f: Context, target: ast.expr, item: Any) -> None:
    if isinstance(target, ast.Name):
        if target.id in f.variables:
            f.refuse(
                target,
                f"`{target.id}` is a variable: an unrolled loop needs a name of its own",
            )
        f.build.bound[target.id] = item
        f.was_bound.add(target.id)
        return
    if not isinstance(target, ast.Tuple | ast.List):
        f.refuse(target, f"`{f.text(target)}` cannot be the target of an unrolled loop")
    try:
        parts = list(item)
    except TypeError:
        parts = []
    if len(parts) != len(target.elts):
        f.refuse(target, f"{item!r} cannot be unpacked into {len(target.elts)} names")
    for inner, part in zip(target.elts, parts, strict=True):
        _bind_target(f, inner, part)


def _targets_of(node: ast.expr) -> list[str]:
    return [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]

"""Truth: tests that branch, `and` and `or`, and the conditional expression."""

from __future__ import annotations

import ast

from vel2.lang.ir import Block, Immediate, Kind, Local, Operand
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import any_integer, boolean, compute, convert, integer, is_bool
from vel2.lang.lower.values import (
    Bool,
    Int,
    Known,
    Range,
    Type,
    Value,
    type_of,
)


def truth(f: Context, node: ast.expr, value: Value) -> Operand | bool:
    """Give the truth of a value: a bool when known at compile time."""
    if isinstance(value, Known):
        if isinstance(value.object, int):
            return bool(value.object)
        return bool(compute(f, node, lambda: bool(value.object)).object)
    if isinstance(value, Bool):
        return value.operand
    if isinstance(value, Int):
        found = integer(f, node, value, "tested")
        return f.build.emit("ne", found.operand, Immediate(0))
    f.refuse(node, f"`{f.text(node)}` is {value.describe()}: it is neither true nor false")


def condition(f: Context, node: ast.expr, yes: Block, no: Block) -> bool | None:
    """Go to `yes` or `no` by a condition; when it is known, go nowhere and give it."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        known = condition(f, node.operand, no, yes)
        return None if known is None else not known
    if isinstance(node, ast.BoolOp):
        return _short_circuit(f, node, yes, no)
    value = truth(f, node, f.expression(node))
    if isinstance(value, bool):
        return value
    f.build.branch(value, yes, no)
    return None


def _short_circuit(f: Context, node: ast.BoolOp, yes: Block, no: Block) -> bool | None:
    is_and = isinstance(node.op, ast.And)
    has_branched = False
    last = len(node.values) - 1
    for index, operand in enumerate(node.values):
        following = f.build.new_block("and" if is_and else "or")
        targets = (following, no) if is_and else (yes, following)
        known = condition(f, operand, *((yes, no) if index == last else targets))
        if known is None:
            has_branched = True
            if index < last:
                f.build.enter(following)
        elif known is not is_and:
            if not has_branched:
                return known
            f.build.jump(no if is_and else yes)
            return None
        elif index == last:
            if not has_branched:
                return known
            f.build.jump(yes if is_and else no)
    return None


def boolean_operation(f: Context, node: ast.BoolOp) -> Value:
    """Lower `and`/`or` as a value.

    In Python `a or b` gives an operand, not a truth value; for bools it is the same, so at run
    time only bools are accepted. Leading compile-time operands are folded as Python folds them.
    """
    is_and = isinstance(node.op, ast.And)
    operands = list(node.values)
    value = f.expression(operand := operands.pop(0))
    while isinstance(value, Known) and operands:
        if bool(value.object) is not is_and:
            return value
        value = f.expression(operand := operands.pop(0))
    if not operands:
        return value
    slot, end = f.build.temporary(Type(bool)), f.build.new_block("end")
    while True:
        if not is_bool(value):
            f.refuse(
                operand,
                f"`{f.text(operand)}` is {value.describe()}: `and`/`or` as a value takes "
                "bools only",
            )
        truth = boolean(f, operand, value)
        f.build.set(slot, truth)
        if not operands:
            break
        following = f.build.new_block("and" if is_and else "or")
        f.build.branch(truth, *((following, end) if is_and else (end, following)))
        f.build.enter(following)
        value = f.expression(operand := operands.pop(0))
    f.build.jump(end)
    f.build.enter(end)
    return Bool(f.build.get(slot))


def conditional(f: Context, node: ast.IfExp) -> Value:
    """Lower `a if b else c`."""
    yes, no = f.build.new_block("then"), f.build.new_block("else")
    known = condition(f, node.test, yes, no)
    if known is not None:
        return f.expression(node.body if known else node.orelse)
    f.build.enter(yes)
    first = f.expression(node.body)
    first_end = f.build.block
    f.build.enter(no)
    second = f.expression(node.orelse)
    type_ = _joined_type(f, node, first, second)
    slot = f.build.temporary(type_)
    end = f.build.new_block("end")
    found = _store_arm(f, node.orelse, second, slot, type_, end)
    f.build.block = first_end
    other = _store_arm(f, node.body, first, slot, type_, end)
    f.build.enter(end)
    merged = found.union(other) if found and other else None
    return type_.value(f.build.get(slot), merged)


def _store_arm(
    f: Context, node: ast.expr, value: Value, slot: Local, type_: Type, end: Block
) -> Range | None:
    """Put one arm's value in the slot; integers keep their range, wide ones too."""
    if type_.kind is Kind.INT:
        integer = any_integer(f, node, value)
        f.build.set(slot, integer.operand)
        f.build.jump(end)
        return integer.range
    f.build.set(slot, convert(f, node, value, type_, "used"))
    f.build.jump(end)
    return None


def _joined_type(f: Context, node: ast.IfExp, first: Value, second: Value) -> Type:
    a, b = type_of(first), type_of(second)
    if isinstance(first, Known) and isinstance(second, Int):
        a = b if a is not None and a.kind is Kind.INT else a
    if isinstance(second, Known) and isinstance(first, Int):
        b = a if b is not None and b.kind is Kind.INT else b
    if a is None or b is None or (a != b):
        f.refuse(
            node,
            f"`{f.text(node)}` is {first.describe()} or {second.describe()}: both arms must "
            "have one type",
        )
    return a

"""Comparisons, chained ones too, and membership of a constant group."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from vel2.lang.ir import Immediate, Kind, Operand
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import boolean, compute, integer, is_bool, is_known
from vel2.lang.lower.values import (
    Bool,
    Int,
    Known,
    Type,
    Value,
)
from vel2.lang.types import WORD_MASK

_COMPARE: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("eq", operator.eq),
    ast.NotEq: ("ne", operator.ne),
    ast.Lt: ("lt", operator.lt),
    ast.LtE: ("le", operator.le),
    ast.Gt: ("gt", operator.gt),
    ast.GtE: ("ge", operator.ge),
}

_CONSTANT_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, group: item in group,
    ast.NotIn: lambda item, group: item not in group,
}


def comparison(f: Context, node: ast.Compare) -> Value:
    """Lower a comparison; in a chain, what stands in the middle is evaluated once."""
    left = f.expression(node.left)
    if len(node.ops) == 1:
        right = f.expression(node.comparators[0])
        return _compare(f, node, node.ops[0], left, right, node.left, node.comparators[0])
    slot, end = f.build.temporary(Type(bool)), f.build.new_block("end")
    left_node = node.left
    truth: Operand = Immediate(1, Kind.BOOL)
    for index, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
        if index:
            following = f.build.new_block("and")
            f.build.branch(truth, following, end)
            f.build.enter(following)
        right = f.expression(right_node)
        found = _compare(f, node, op, left, right, left_node, right_node)
        truth = boolean(f, node, found)
        f.build.set(slot, truth)
        left, left_node = right, right_node
    f.build.jump(end)
    f.build.enter(end)
    return Bool(f.build.get(slot))


def _compare(
    f: Context,
    node: ast.Compare,
    op: ast.cmpop,
    left: Value,
    right: Value,
    left_node: ast.expr,
    right_node: ast.expr,
) -> Value:
    if isinstance(left, Known) and isinstance(right, Known):
        python = _CONSTANT_COMPARE.get(type(op)) or _COMPARE[type(op)][1]
        return compute(f, node, lambda: python(left.object, right.object))
    if isinstance(op, ast.In | ast.NotIn):
        return _membership(f, node, isinstance(op, ast.In), left, right, left_node, right_node)
    if type(op) not in _COMPARE:
        f.refuse(node, f"`{f.text(node)}` is for compile-time values only: use == or !=")
    name, _ = _COMPARE[type(op)]
    if is_bool(left) and is_bool(right) and name in ("eq", "ne"):
        operands = boolean(f, left_node, left), boolean(f, right_node, right)
        equal = f.build.emit("beq", *operands)
        return Bool(equal if name == "eq" else f.build.emit("not", equal))
    a = _comparable(f, left_node, left)
    b = _comparable(f, right_node, right)
    has_constant = isinstance(left, Known) or isinstance(right, Known)
    if a.address is not b.address and not has_constant:
        f.refuse(
            node,
            f"{a.describe()} and {b.describe()} cannot be compared: convert one of them on purpose",
        )
    return Bool(f.build.emit(name, a.operand, b.operand))


def _comparable(f: Context, node: ast.expr, value: Value) -> Int:
    return integer(f, node, value, "compared")


def _membership(
    f: Context,
    node: ast.Compare,
    is_in: bool,
    left: Value,
    right: Value,
    left_node: ast.expr,
    right_node: ast.expr,
) -> Value:
    if not is_known(right, (tuple, frozenset, set, list, range, Mapping)):
        f.refuse(right_node, f"`{f.text(right_node)}` is not a compile-time tuple of integers")
    assert isinstance(right, Known)
    found = integer(f, left_node, left, "compared")
    result: Operand = Immediate(0, Kind.BOOL)
    for index, item in enumerate(right.object):
        if not isinstance(item, int) or not 0 <= item <= WORD_MASK:
            f.refuse(right_node, f"`{f.text(right_node)}` holds {item!r}, not a u64")
        equal = f.build.emit("eq", found.operand, Immediate(int(item)))
        result = equal if index == 0 else f.build.emit("bor", result, equal)
    if isinstance(result, Immediate):
        return Known(not is_in)
    return Bool(result if is_in else f.build.emit("not", result))

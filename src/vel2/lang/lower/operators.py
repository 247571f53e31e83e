"""Arithmetic and logic, with the range of each result."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from vel2.lang.ir import Immediate
from vel2.lang.lower import values
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import any_integer, boolean, compute, integer, is_bool
from vel2.lang.lower.truth import truth
from vel2.lang.lower.values import (
    Bool,
    Int,
    Known,
    Range,
    Value,
)
from vel2.lang.types import WORD_BITS, WORD_MASK

RangeRule = Callable[[Range, Range], Range]

_ARITHMETIC: dict[type[ast.operator], tuple[str, RangeRule, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", values.add_range, operator.add),
    ast.Sub: ("sub", values.sub_range, operator.sub),
    ast.Mult: ("mul", values.mul_range, operator.mul),
    ast.FloorDiv: ("div", values.div_range, operator.floordiv),
    ast.Mod: ("mod", values.mod_range, operator.mod),
    ast.BitAnd: ("and", values.and_range, operator.and_),
    ast.BitOr: ("or", values.or_range, operator.or_),
    ast.BitXor: ("xor", values.xor_range, operator.xor),
    ast.LShift: ("shl", values.shl_range, operator.lshift),
    ast.RShift: ("shr", values.shr_range, operator.rshift),
}

_LOGIC = {ast.BitAnd: "band", ast.BitOr: "bor", ast.BitXor: "bxor"}

_OPERATOR_HINTS = {
    ast.Div: "write // for the whole part",
    ast.Pow: "write the products out",
    ast.MatMult: "write the products out",
}

_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Invert: operator.invert,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

MAX_CONSTANT_SHIFT = 1 << 16


def binary_operation(f: Context, node: ast.BinOp) -> Value:
    """Lower `a + b` and the like."""
    left = f.expression(node.left)
    return binary(f, node, node.op, left, node.left, node.right)


def binary(
    f: Context,
    node: ast.expr,
    op: ast.operator,
    left: Value,
    left_node: ast.expr,
    right_node: ast.expr,
) -> Value:
    """Lower a binary operation whose left operand is already lowered."""
    right = f.expression(right_node)
    if type(op) not in _ARITHMETIC:
        hint = _OPERATOR_HINTS[type(op)]
        f.refuse(node, f"`{f.text(node)}` is not in the subset: {hint}")
    name, rule, python = _ARITHMETIC[type(op)]
    if isinstance(left, Known) and isinstance(right, Known):
        amount = right.object
        if name == "shl" and isinstance(amount, int) and amount > MAX_CONSTANT_SHIFT:
            f.refuse(node, f"a shift by {right.object} gives a number of absurd size")
        return compute(f, node, lambda: python(left.object, right.object))
    if is_bool(left) and is_bool(right) and type(op) in _LOGIC:
        operands = boolean(f, left_node, left), boolean(f, right_node, right)
        return Bool(f.build.emit(_LOGIC[type(op)], *operands))
    a = any_integer(f, left_node, left)
    b = any_integer(f, right_node, right)
    if name in ("shr", "div", "mod"):
        a = integer(f, left_node, a, "shifted right" if name == "shr" else "divided")
    if name in ("shl", "shr"):
        b = integer(f, right_node, b, "used as a shift amount")
        if isinstance(b.operand, Immediate) and b.operand.value >= WORD_BITS:
            f.refuse(right_node, f"a shift by {b.operand.value} leaves nothing: give 0 to 63")
    if name in ("div", "mod"):
        b = integer(f, right_node, b, "used as a divisor")
        if b.range.high == 0:
            f.refuse(right_node, "a division by 0 has no result: give another divisor")
    return Int(f.build.emit(name, a.operand, b.operand), rule(a.range, b.range))


def unary_operation(f: Context, node: ast.UnaryOp) -> Value:
    """Lower `not`, `-`, `+` and `~`."""
    if isinstance(node.op, ast.Not):
        tested = truth(f, node.operand, f.expression(node.operand))
        if isinstance(tested, bool):
            return Known(not tested)
        return Bool(f.build.emit("not", tested))
    value = f.expression(node.operand)
    if isinstance(value, Known):
        return compute(f, node, lambda: _UNARY[type(node.op)](value.object))
    found = any_integer(f, node.operand, value)
    if isinstance(node.op, ast.Invert):
        inverted = f.build.emit("xor", found.operand, Immediate(WORD_MASK))
        return Int(inverted, Range(-found.range.high - 1, -found.range.low - 1))
    if isinstance(node.op, ast.USub):
        negated = f.build.emit("sub", Immediate(0), found.operand)
        return Int(negated, Range(-found.range.high, -found.range.low))
    return Int(found.operand, found.range)

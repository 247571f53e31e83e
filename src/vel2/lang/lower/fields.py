"""`get`, `put` and `set` of a field of a register, with values of run time."""

from __future__ import annotations

import ast

from vel2.arch import bits
from vel2.lang.lower.arguments import arguments
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import compute, integer
from vel2.lang.lower.values import (
    Int,
    Known,
    Range,
    Value,
    immediate,
    or_range,
)
from vel2.lang.types import U64


def field_method(f: Context, node: ast.Call, field: bits.Field, name: str) -> Value | None:
    """Lower get, put and set with a run-time argument; None leaves the call to Python."""
    if name not in ("get", "put", "set"):
        return None
    given = arguments(f, node, 2 if name == "set" else 1)
    found = [f.expression(argument) for argument in given]
    if all(isinstance(value, Known) for value in found):
        method = getattr(field, name)
        known = [value.object for value in found if isinstance(value, Known)]
        return compute(f, node, lambda: method(*known))
    first = integer(f, given[0], found[0], "taken apart")
    if name == "get":
        return _extract(f, first, field)
    if name == "put":
        return _insert(f, first, field)
    second = _insert(f, integer(f, given[1], found[1], "put in a field"), field)
    rest = f.build.emit("and", first.operand, immediate(~field.mask))
    merged = f.build.emit("or", rest, second.operand)
    rest_range = Range(0, min(first.range.high, ~field.mask & U64.mask))
    return Int(merged, or_range(rest_range, second.range))


def _extract(f: Context, value: Int, field: bits.Field) -> Int:
    operand = value.operand
    if field.lsb:
        operand = f.build.emit("shr", operand, immediate(field.lsb))
    high = value.range.high >> field.lsb
    if high > field.ones:
        operand = f.build.emit("and", operand, immediate(field.ones))
    return Int(operand, Range(0, min(high, field.ones)))


def _insert(f: Context, value: Int, field: bits.Field) -> Int:
    operand, high = value.operand, min(value.range.high, field.ones)
    if value.range.high > field.ones:
        operand = f.build.emit("and", operand, immediate(field.ones))
    if field.lsb:
        operand = f.build.emit("shl", operand, immediate(field.lsb))
    return Int(operand, Range(0, high << field.lsb))

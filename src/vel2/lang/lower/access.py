"""Fields and elements: of structures, of arrays, and of what is known at compile time."""

from __future__ import annotations

import ast

from vel2.lang.ir import Immediate, Operand
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import compute, integer, load_place
from vel2.lang.lower.values import (
    ArrayRef,
    Int,
    Known,
    Place,
    Range,
    Ref,
    Value,
)
from vel2.lang.structs import Field, StructMeta
from vel2.lang.types import WORD_MASK


def attribute(f: Context, node: ast.Attribute) -> Value:
    """Lower `a.b`."""
    base = f.expression(node.value)
    if isinstance(base, Known):
        return compute(f, node, lambda: getattr(base.object, node.attr))
    found = member(f, node, base)
    return load_place(f, found) if isinstance(found, Place) else found


def subscript(f: Context, node: ast.Subscript) -> Value:
    """Lower `a[b]`."""
    base = f.expression(node.value)
    if isinstance(base, Known):
        return _constant_subscript(f, node, base)
    found = element(f, node, base)
    return load_place(f, found) if isinstance(found, Place) else found


def place(f: Context, node: ast.expr) -> Place:
    """Lower a target of assignment."""
    if not isinstance(node, ast.Attribute | ast.Subscript):
        f.refuse(node, f"`{f.text(node)}` cannot be assigned in the subset")
    base = f.expression(node.value)
    if isinstance(base, Known):
        f.refuse(node, f"`{f.text(node.value)}` is a compile-time value: it cannot be changed")
    found = member(f, node, base) if isinstance(node, ast.Attribute) else element(f, node, base)
    if not isinstance(found, Place):
        f.refuse(node, f"`{f.text(node)}` is {found.describe()}: assign its fields or elements")
    return found


def member(f: Context, node: ast.Attribute, base: Value) -> Place | Value:
    """Find a field of a structure."""
    if not isinstance(base, Ref):
        f.refuse(node, f"`{f.text(node.value)}` is {base.describe()}: it has no field {node.attr}")
    return field(f, node, base, node.attr)


def field(f: Context, node: ast.AST, base: Ref, name: str) -> Place | Value:
    """Find a field of a structure by name."""
    field = base.struct.fields.get(name)
    if field is None:
        f.refuse(
            node,
            f"{base.struct.__name__} has no field {name}: it has {', '.join(base.struct.fields)}",
        )
    operand = base.operand
    if field.offset:
        operand = f.build.emit("member", operand, attributes=(field.offset,))
    return _inside(f, operand, field, f"{base.struct.__name__}.{name}")


def _inside(f: Context, operand: Operand, field: Field, what: str) -> Place | Value:
    if field.count is not None:
        return ArrayRef(operand, field.element, field.stride, field.count)
    if isinstance(field.element, StructMeta):
        return Ref(operand, field.element)
    return Place(operand, field.element, what)


def element(f: Context, node: ast.Subscript, base: Value) -> Place | Value:
    """Find an element of an array field."""
    if not isinstance(base, ArrayRef):
        f.refuse(node, f"`{f.text(node.value)}` is {base.describe()}: it has no elements")
    return array_element(f, node.slice, base, f.expression(node.slice))


def array_element(f: Context, node: ast.expr, base: ArrayRef, index: Value) -> Place | Value:
    """Find an element by an index already lowered."""
    found = integer(f, node, index, "used as an index")
    operand = base.operand
    if isinstance(found.operand, Immediate):
        number = found.operand.value
        if number >= base.count:
            f.refuse(
                node,
                f"index {number} is outside an array of {base.count}: give 0 to {base.count - 1}",
            )
        if number:
            operand = f.build.emit("member", operand, attributes=(number * base.stride,))
    else:
        count = 0 if found.range.high < base.count else base.count
        operand = f.build.emit("element", operand, found.operand, attributes=(base.stride, count))
    if isinstance(base.element, StructMeta):
        return Ref(operand, base.element)
    return Place(operand, base.element, "element")


def _constant_subscript(f: Context, node: ast.Subscript, base: Known) -> Value:
    index = f.expression(node.slice)
    if isinstance(index, Known):
        return compute(f, node, lambda: base.object[index.object])
    table = base.object
    if not isinstance(table, tuple) or not all(isinstance(item, int) for item in table):
        f.refuse(
            node,
            f"`{f.text(node.value)}` is not a tuple of integers: only that can be indexed "
            "at run time",
        )
    if any(not 0 <= item <= WORD_MASK for item in table):
        f.refuse(node, f"`{f.text(node.value)}` has a value that does not fit u64")
    found = integer(f, node.slice, index, "used as an index")
    numbers = tuple(int(item) for item in table)
    operand = f.build.emit("lookup", found.operand, attributes=(f.module.table(numbers),))
    return Int(operand, Range(min(numbers), max(numbers)))

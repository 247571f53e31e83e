"""What a construct requires of a value: an integer in range, a bool, something that fits a place.

What Python can compute from constants is computed by Python itself (`compute`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import NoReturn

from vel2.lang.ir import Immediate, Kind, Operand
from vel2.lang.lower.context import Context
from vel2.lang.lower.values import (
    ArrayRef,
    Bool,
    Int,
    Known,
    Place,
    Range,
    Ref,
    Type,
    Value,
    immediate,
)
from vel2.lang.types import U64, Scalar


def integer(f: Context, node: ast.expr, value: Value, use: str) -> Int:
    """Require an integer that fits 64 bits; `use` completes "... before it is ..."."""
    found = any_integer(f, node, value)
    if found.is_wide:
        if isinstance(found.operand, Immediate):
            refuse_constant(f, node, found.range.low, U64)
        refuse_wide(f, node, use)
    return found


def refuse_constant(f: Context, node: ast.expr, number: int, scalar: Scalar) -> NoReturn:
    """Tell that a constant is too big, or negative."""
    f.refuse(node, f"{number:#x} does not fit {scalar.name}: write {scalar.name}(...)")


def refuse_wide(f: Context, node: ast.expr, use: str) -> NoReturn:
    """Tell that a value must be wrapped."""
    f.refuse(
        node,
        f"`{f.text(node)}` may leave 64 bits: write u64(...) around it, or mask it with &, "
        f"before it is {use}",
    )


def any_integer(f: Context, node: ast.expr, value: Value) -> Int:
    """Require an integer of any range."""
    if isinstance(value, Int):
        return value
    if isinstance(value, Known) and isinstance(value.object, int):
        number = value.object
        if not isinstance(number, bool):
            number = int(number)
            return Int(immediate(number), Range(number, number))
    if isinstance(value, Bool) or (isinstance(value, Known) and isinstance(value.object, bool)):
        f.refuse(node, f"an integer is wanted, `{f.text(node)}` is bool: write u64(...)")
    f.refuse(node, f"an integer is wanted, `{f.text(node)}` is {value.describe()}")


def boolean(f: Context, node: ast.expr, value: Value) -> Operand:
    """Require a bool."""
    if isinstance(value, Bool):
        return value.operand
    if isinstance(value, Known) and isinstance(value.object, bool):
        return immediate(value.object)
    f.refuse(
        node,
        f"a bool is wanted, `{f.text(node)}` is {value.describe()}: write a comparison",
    )


def convert(f: Context, node: ast.expr, value: Value, type_: Type, use: str) -> Operand:
    """Require a value that a place of a type can take, and give its operand.

    :param use: completes "before it is ..." in messages: stored, passed, returned.
    """
    wanted = type_.of
    if isinstance(wanted, Scalar):
        return _convert_scalar(f, node, value, wanted, use)
    if wanted is bool:
        return boolean(f, node, value)
    if isinstance(wanted, ArrayRef):
        if isinstance(value, ArrayRef) and (value.element, value.count) == (
            wanted.element,
            wanted.count,
        ):
            return value.operand
    elif isinstance(value, Ref) and value.struct is wanted:
        return value.operand
    f.refuse(node, f"{type_.name} is wanted, `{f.text(node)}` is {value.describe()}")


def _convert_scalar(f: Context, node: ast.expr, value: Value, wanted: Scalar, use: str) -> Operand:
    is_constant = isinstance(value, Known)
    found = any_integer(f, node, value)
    if is_constant:
        if not 0 <= found.range.low <= wanted.mask:
            refuse_constant(f, node, found.range.low, wanted)
        return found.operand
    wanted_address = wanted if wanted.is_address else None
    if found.address is not wanted_address:
        f.refuse(
            node,
            f"{wanted.name} is wanted, `{f.text(node)}` is {found.describe()}: convert it "
            f"on purpose with {wanted.name}(...)",
        )
    if found.is_wide:
        refuse_wide(f, node, use)
    if found.range.high > wanted.mask:
        f.refuse(
            node,
            f"`{f.text(node)}` may not fit {wanted.name}: write {wanted.name}(...)",
        )
    return found.operand


def load_place(f: Context, place: Place, order: str = "plain") -> Value:
    """Read a scalar field or element."""
    operand = f.build.emit("load", place.operand, attributes=(place.bits, order))
    if not isinstance(place.element, Scalar):
        return Bool(f.build.emit("ne", operand, Immediate(0)))
    return Type(place.element).value(operand)


def store_place(
    f: Context, node: ast.expr, place: Place, value: Value, order: str = "plain"
) -> None:
    """Write a scalar field or element."""
    type_ = Type(place.element)
    operand = convert(f, node, value, type_, "stored")
    if type_.kind is Kind.BOOL:
        operand = f.build.emit("int", operand)
    f.build.emit("store", place.operand, operand, attributes=(place.bits, order))


def compute(f: Context, node: ast.expr, action: Callable[[], object]) -> Known:
    """Compute with compile-time values in Python; what Python raises becomes a refusal."""
    try:
        return Known(action())
    except Exception as error:
        f.refuse(node, f"`{f.text(node)}` fails at compile time: {type(error).__name__}: {error}")


def is_known(value: Value, wanted: type | tuple[type, ...] = object) -> bool:
    """Tell whether a value is a compile-time object of a Python type."""
    return isinstance(value, Known) and isinstance(value.object, wanted)


def is_bool(value: Value) -> bool:
    """Tell whether a value is a bool."""
    return isinstance(value, Bool) or is_known(value, bool)

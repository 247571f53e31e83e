"""Calls: conversions, intrinsics, methods of fields, resident functions, compile-time calls."""

from __future__ import annotations

import ast
import enum
import inspect
from collections.abc import Callable
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from vel2.arch import bits
from vel2.lang.lower.arguments import arguments
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import any_integer, compute, convert
from vel2.lang.lower.fields import field_method
from vel2.lang.lower.machine import HANDLERS
from vel2.lang.lower.truth import truth
from vel2.lang.lower.values import (
    ArrayRef,
    Bool,
    Int,
    Known,
    Nothing,
    Range,
    Ref,
    Value,
    immediate,
)
from vel2.lang.placed import Placed
from vel2.lang.structs import StructMeta
from vel2.lang.subset import mark_of
from vel2.lang.types import U64, WORD_BITS, Scalar

_PURE_BUILTINS: frozenset[object] = frozenset(
    (
        *(abs, all, any, bool, dict, divmod, enumerate, getattr, hasattr, int, isinstance, len),
        *(max, min, range, reversed, set, sorted, str, sum, tuple, zip),
    )
)

_PURE_OWNERS = (bits.Field, bits.Encoding, enum.Enum, int, str, bytes, tuple, frozenset, dict)


def call(f: Context, node: ast.Call) -> Value:
    """Lower a call."""
    callee = f.expression(node.func)
    if not isinstance(callee, Known):
        f.refuse(node, f"`{f.text(node.func)}` is {callee.describe()}: it cannot be called")
    target: Any = callee.object
    if isinstance(target, Scalar):
        return _wrap(f, node, target)
    handler = HANDLERS.get(target) if isinstance(target, FunctionType) else None
    if handler is not None:
        if node.keywords:
            f.refuse(node, f"{target.__name__}() takes no keyword arguments here")
        return handler(f, node, node.args)
    if isinstance(target, MethodType) and isinstance(target.__self__, bits.Field):
        found = field_method(f, node, target.__self__, target.__name__)
        if found is not None:
            return found
    if isinstance(target, MethodType) and isinstance(target.__self__, Placed):
        return _method(f, node, target.__self__, target.__name__)
    if _is_pure(target):
        return _compile_time(f, node, target)
    if isinstance(target, FunctionType):
        return _resident(f, node, target)
    f.refuse(
        node,
        f"`{f.text(node.func)}` cannot be called from resident code: call a resident "
        "function, an intrinsic or a @constexpr function",
    )


def _wrap(f: Context, node: ast.Call, scalar: Scalar) -> Value:
    (argument,) = arguments(f, node, 1)
    value = f.expression(argument)
    if isinstance(value, Known) and isinstance(value.object, int):
        return Known(int(value.object) & scalar.mask)
    address = scalar if scalar.is_address else None
    if isinstance(value, Bool):
        return Int(f.build.emit("int", value.operand), Range(0, 1), address)
    found = any_integer(f, argument, value)
    if scalar.bits < WORD_BITS and (found.is_wide or found.range.high > scalar.mask):
        operand = f.build.emit("and", found.operand, immediate(scalar.mask))
        return Int(operand, Range(0, scalar.mask))
    return Int(found.operand, Range(0, U64.mask) if found.is_wide else found.range, address)


def _compile_time(f: Context, node: ast.Call, target: Callable[..., object]) -> Value:
    arguments: list[object] = []
    for argument in node.args:
        starred = isinstance(argument, ast.Starred)
        value = f.expression(argument.value if isinstance(argument, ast.Starred) else argument)
        if target is len and isinstance(value, ArrayRef):
            return Known(value.count)
        if target is bool and not isinstance(value, Known):
            return _known_or_bool(f, argument, value)
        known = _known_argument(f, node, argument, value)
        if starred:
            arguments.extend(known)
        else:
            arguments.append(known)
    keywords: dict[str, Any] = {}
    for keyword in node.keywords:
        value = _known_argument(f, node, keyword.value, f.expression(keyword.value))
        if keyword.arg is None:
            keywords.update(value)
        else:
            keywords[keyword.arg] = value
    return compute(f, node, lambda: target(*arguments, **keywords))


def _known_or_bool(f: Context, node: ast.expr, value: Value) -> Value:
    found = truth(f, node, value)
    return Known(found) if isinstance(found, bool) else Bool(found)


def _known_argument(f: Context, node: ast.Call, argument: ast.expr, value: Value) -> Any:
    if not isinstance(value, Known):
        f.refuse(
            argument,
            f"`{f.text(node.func)}` runs at compile time: `{f.text(argument)}` is not known then",
        )
    return value.object


def _method(f: Context, node: ast.Call, placed: Placed, name: str) -> Value:
    """Lower a call of a method of what lies at a symbol."""
    target = placed.methods.get(name)
    if target is None:
        f.refuse(
            node,
            f"`{f.text(node.func)}` is for CPython: resident code may call"
            f" {', '.join(placed.methods)}",
        )
    address = f.build.emit("symbol", attributes=(placed.symbol,))
    place = f.build.emit("at", address, attributes=(placed.struct.size,))
    return _resident(f, node, target, Ref(place, placed.struct))


def _resident(f: Context, node: ast.Call, target: FunctionType, owner: Ref | None = None) -> Value:
    """Lower a call of a resident function.

    :param owner: its first argument, which the call does not write out.
    """
    signature = f.module.signature(target)
    given: list[Any] = [*([] if owner is None else [owner]), *node.args]
    try:
        bound = inspect.signature(target).bind(
            *given, **{keyword.arg or "**": keyword.value for keyword in node.keywords}
        )
    except TypeError as error:
        f.refuse(node, f"{target.__name__}() cannot take these arguments: {error}")
    operands = []
    for name, type_ in signature.parameters:
        if name in bound.arguments:
            argument = bound.arguments[name]
            value = argument if isinstance(argument, Ref) else f.expression(argument)
        else:
            argument = node
            value = Known(inspect.signature(target).parameters[name].default)
        where = node if isinstance(argument, Ref) else argument
        operands.append(convert(f, where, value, type_, "passed"))
    f.build.here = f.location(node)
    result = signature.result
    kind = None if result is None else result.kind
    call = f.build.emit("call", *operands, kind=kind, attributes=(signature.function,))
    if signature.never_returns:
        f.build.emit("unreachable")
    return Nothing() if result is None else result.value(call)


def _is_pure(target: object) -> bool:
    """Tell whether a callable is one that the compiler may run itself."""
    if isinstance(target, FunctionType):
        return mark_of(target)[0] == "constexpr"
    if isinstance(target, MethodType):
        owner = target.__self__
        if mark_of(target.__func__)[0] == "constexpr":
            return True
        if isinstance(owner, type):
            return issubclass(owner, bits.Layout | enum.Enum) or isinstance(owner, StructMeta)
        parameters = getattr(owner, "__dataclass_params__", None)
        is_frozen = parameters is not None and parameters.frozen
        return isinstance(owner, _PURE_OWNERS) or hasattr(owner, "encoding") or is_frozen
    if isinstance(target, BuiltinMethodType) and isinstance(target.__self__, _PURE_OWNERS):
        return True
    if isinstance(target, type) and issubclass(target, enum.Enum):
        return True
    try:
        return target in _PURE_BUILTINS
    except TypeError:
        return False

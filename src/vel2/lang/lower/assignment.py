"""Assignments: to variables, to fields and elements, of several at once, and annotated ones."""

from __future__ import annotations

import ast
import copy
import enum

from vel2.lang.ir import Kind
from vel2.lang.lower.access import place
from vel2.lang.lower.context import Context, Variable
from vel2.lang.lower.convert import convert, load_place, store_place
from vel2.lang.lower.names import lookup
from vel2.lang.lower.operators import binary
from vel2.lang.lower.values import (
    Int,
    Known,
    Range,
    Type,
    Value,
    type_of,
)
from vel2.lang.structs import StructMeta
from vel2.lang.types import U64, Scalar


def assign(f: Context, node: ast.Assign) -> None:
    """Lower `target = value`."""
    if len(node.targets) != 1:
        f.refuse(node, "a statement assigns one target: write two statements")
    target = node.targets[0]
    if isinstance(target, ast.Tuple):
        _assign_tuple(f, node, target)
    else:
        _assign(f, target, f.expression(node.value), node.value)


def _assign_tuple(f: Context, node: ast.Assign, target: ast.Tuple) -> None:
    """Lower `a, b = x, y`: all values first, then the targets from left to right."""
    _refuse_repeated(f, target)
    if isinstance(node.value, ast.Tuple):
        nodes = node.value.elts
        found = [f.expression(item) for item in nodes]
    else:
        value = f.expression(node.value)
        items = value.object if isinstance(value, Known) else None
        if not isinstance(items, tuple):
            f.refuse(node.value, f"`{f.text(node.value)}` cannot be unpacked")
        found = [Known(item) for item in items]
        nodes = [node.value] * len(found)
    if len(found) != len(target.elts):
        f.refuse(node, f"{len(found)} values cannot be assigned to {len(target.elts)} targets")
    for inner, value, source in zip(target.elts, found, nodes, strict=True):
        _assign(f, inner, value, source)


def _refuse_repeated(f: Context, target: ast.Tuple) -> None:
    """Refuse a target named twice: CPython 3.11.2 would keep its first value."""
    seen = set()
    for inner in target.elts:
        text = ast.unparse(inner)
        if text in seen:
            f.refuse(inner, f"`{text}` is assigned twice here: only the last value counts")
        seen.add(text)


def _assign(f: Context, target: ast.expr, value: Value, source: ast.expr) -> None:
    if isinstance(target, ast.Name):
        assign_name(f, target, value, source, None)
    else:
        store_place(f, source, place(f, target), value)


def assign_name(
    f: Context, target: ast.Name, value: Value, source: ast.expr, declared: Type | None
) -> None:
    """Give a variable a value, or bind a name to an object that is known at compile time."""
    name = target.id
    variable = f.variables.get(name)
    if variable is None:
        type_ = declared or type_of(value)
        if type_ is None:
            _bind(f, source, name, value)
            return
        if name in f.build.bound and declared is None and f.assignments[name] > 1:
            _refuse_rebinding(f, target)
        variable = _declare(f, name, type_)
    if isinstance(value, Known) and type_of(value) is None:
        f.refuse(
            source,
            f"`{name}` is a {variable.type.name}: `{f.text(source)}` is {value.describe()}",
        )
    operand = convert(f, source, value, variable.type, "stored")
    _narrow(f, name, variable, value)
    f.build.set(variable.local, operand)
    _remember_constant(f, name, variable, value)


def _remember_constant(f: Context, name: str, variable: Variable, value: Value) -> None:
    """Let a name assigned once stand for its constant, for as long as that is sure."""
    wanted = variable.type.of
    is_address = isinstance(wanted, Scalar) and wanted.is_address
    if isinstance(value, Known) and f.assignments[name] == 1 and not is_address:
        f.build.bound[name] = value.object


def _refuse_rebinding(f: Context, target: ast.Name) -> None:
    f.refuse(
        target,
        f"`{target.id}` stands for a compile-time value here: use another name",
    )


def _declare(f: Context, name: str, type_: Type) -> Variable:
    variable = Variable(f.build.new_local(name, type_), type_)
    f.variables[name] = variable
    return variable


def _narrow(f: Context, name: str, variable: Variable, value: Value) -> None:
    """Remember the range of a variable that is assigned in one place only."""
    if f.assignments[name] != 1 or variable.type.kind is not Kind.INT:
        return
    if isinstance(value, Int):
        found = value.range
    elif isinstance(value, Known) and isinstance(value.object, int):
        found = Range(int(value.object), int(value.object))
    else:
        return
    variable.range = found if variable.range is None else variable.range.union(found)


def _bind(f: Context, source: ast.expr, name: str, value: Value) -> None:
    """Let a name stand for a compile-time object."""
    if not isinstance(value, Known):
        f.refuse(source, f"`{f.text(source)}` is {value.describe()}: it cannot be stored")
    f.build.bound[name] = value.object
    f.was_bound.add(name)


def assign_annotated(f: Context, node: ast.AnnAssign) -> None:
    """Lower `name: type = value`, and `name: type`."""
    if not isinstance(node.target, ast.Name):
        f.refuse(node, "only a local variable can be annotated here")
    name = node.target.id
    declared = _annotation(f, node.annotation)
    variable = f.variables.get(name)
    if variable is not None and variable.type != declared:
        f.refuse(node, f"`{name}` is already a {variable.type.name}")
    if node.value is not None:
        assign_name(f, node.target, f.expression(node.value), node.value, declared)
    elif variable is None:
        _declare(f, name, declared)


def _annotation(f: Context, node: ast.expr) -> Type:
    value = f.expression(node)
    found = value.object if isinstance(value, Known) else None
    if isinstance(found, str):
        return _annotation(f, ast.copy_location(ast.parse(found, mode="eval").body, node))
    if isinstance(found, Scalar | StructMeta) or found is bool:
        return Type(found)
    if isinstance(found, type) and issubclass(found, enum.IntEnum):
        return Type(U64)
    f.refuse(
        node,
        f"`{f.text(node)}` is not a type of the subset: use u8..u64, bool, VA, IPA, L2IPA, "
        "L1IPA, PA or a Struct",
    )


def assign_augmented(f: Context, node: ast.AugAssign) -> None:
    """Lower `target op= value`; the target's own operands are evaluated once."""
    current = copy.copy(node.target)
    current.ctx = ast.Load()
    result = ast.copy_location(ast.BinOp(current, node.op, node.value), node)
    if isinstance(node.target, ast.Name) and isinstance(current, ast.Name):
        value = binary(f, result, node.op, lookup(f, current), current, node.value)
        _refuse_wide_augmented(f, node, value)
        assign_name(f, node.target, value, result, None)
        return
    target = place(f, node.target)
    value = binary(f, result, node.op, load_place(f, target), current, node.value)
    _refuse_wide_augmented(f, node, value)
    store_place(f, result, target, value)


def _refuse_wide_augmented(f: Context, node: ast.AugAssign, value: Value) -> None:
    if isinstance(value, Int) and value.is_wide:
        op = ast.unparse(ast.BinOp(ast.Name("a"), node.op, ast.Name("b"))).split()[1]
        target, source = f.text(node.target), f.text(node.value)
        if isinstance(node.value, ast.BinOp | ast.IfExp | ast.BoolOp | ast.Compare):
            source = f"({source})"
        f.refuse(
            node,
            f"`{f.text(node)}` may leave 64 bits: write `{target} = u64({target} {op} {source})`",
        )

"""Constants, names, and tuples and strings made of constants."""

from __future__ import annotations

import ast

from vel2.lang.lower.context import Context
from vel2.lang.lower.names import lookup
from vel2.lang.lower.values import (
    Known,
    Value,
)


def constant(f: Context, node: ast.Constant) -> Value:
    """Lower a literal."""
    return Known(node.value)


def name(f: Context, node: ast.Name) -> Value:
    """Lower a name."""
    return lookup(f, node)


def tuple_of_constants(f: Context, node: ast.Tuple) -> Value:
    """Lower a tuple, which holds compile-time values only."""
    items = [f.expression(item) for item in node.elts]
    for item, value in zip(node.elts, items, strict=True):
        if not isinstance(value, Known):
            f.refuse(item, f"a tuple holds compile-time values only, not `{f.text(item)}`")
    return Known(tuple(item.object for item in items if isinstance(item, Known)))


def joined_string(f: Context, node: ast.JoinedStr) -> Value:
    """Lower an f-string, which holds compile-time values only."""
    parts: list[str] = []
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        value = f.expression(inner)
        if not isinstance(value, Known):
            f.refuse(node, "an f-string holds compile-time values only")
        parts.append(str(value.object))
    return Known("".join(parts))

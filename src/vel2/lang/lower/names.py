"""What a name stands for: a variable, or an object that is known at compile time."""

from __future__ import annotations

import ast
import builtins

from vel2.lang.lower.context import Context, targets
from vel2.lang.lower.values import (
    Known,
    Value,
)


def lookup(f: Context, node: ast.Name) -> Value:
    """Find what a name stands for."""
    name = node.id
    if name in f.build.bound:
        return Known(f.build.bound[name])
    if name in f.variables:
        variable = f.variables[name]
        f.build.here = f.location(node)
        return variable.type.value(f.build.get(variable.local), variable.range)
    if name in f.was_bound:
        f.refuse(
            node,
            f"`{name}` has a compile-time value only inside the branch or loop that sets it: "
            "use it there",
        )
    if name in f.assignments:
        f.refuse(node, f"`{name}` is used where it may have no value: assign it first")
    environment = f.source.environment
    if name in environment:
        return Known(environment[name])
    if hasattr(builtins, name):
        return Known(getattr(builtins, name))
    f.refuse(node, f"`{name}` is not defined: define or import it (outside TYPE_CHECKING)")


def forget_assigned(f: Context, body: list[ast.stmt]) -> None:
    """Unbind the names a loop's body assigns, since its end leads back to its head."""
    for statement in body:
        for name in targets(statement):
            f.build.bound.pop(name, None)

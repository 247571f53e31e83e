"""One function: the table of constructs, and the lowering of a whole body."""

from __future__ import annotations

import ast

from vel2.lang import ir
from vel2.lang.lower import (
    access,
    assignment,
    calls,
    comparison,
    control,
    literals,
    loops,
    matching,
    operators,
    truth,
)
from vel2.lang.lower.context import Constructs, Context, Surroundings, Variable
from vel2.lang.lower.source import Source

CONSTRUCTS = Constructs(
    expressions={
        ast.Attribute: access.attribute,
        ast.BinOp: operators.binary_operation,
        ast.BoolOp: truth.boolean_operation,
        ast.Call: calls.call,
        ast.Compare: comparison.comparison,
        ast.Constant: literals.constant,
        ast.IfExp: truth.conditional,
        ast.JoinedStr: literals.joined_string,
        ast.Name: literals.name,
        ast.Subscript: access.subscript,
        ast.Tuple: literals.tuple_of_constants,
        ast.UnaryOp: operators.unary_operation,
    },
    statements={
        ast.AnnAssign: assignment.assign_annotated,
        ast.Assign: assignment.assign,
        ast.AugAssign: assignment.assign_augmented,
        ast.Break: control.break_,
        ast.Continue: control.continue_,
        ast.Expr: control.standing_alone,
        ast.For: loops.for_,
        ast.If: control.if_,
        ast.Match: matching.match_,
        ast.Pass: control.pass_,
        ast.Return: control.return_,
        ast.While: control.while_,
    },
)


def lower_function(module: Surroundings, source: Source, function: ir.Function) -> None:
    """Lower the body of a function whose head has been declared."""
    f = Context(module, source, function, CONSTRUCTS)
    for (name, type_), local in zip(source.parameters, function.parameters, strict=True):
        f.variables[name] = Variable(local, type_)
    f.body(source.node.body)
    if not f.build.is_open:
        return
    if source.result is not None:
        f.refuse(
            source.node.body[-1],
            f"{source.name}() can end without a value: return a {source.result.name} on every path",
        )
    if source.never_returns:
        f.refuse(
            source.node.body[-1],
            f"{source.name}() is declared NoReturn but can end: end it with a loop or "
            "unreachable()",
        )
    f.build.emit("return")

"""Statements that choose, repeat, return or stand alone."""

from __future__ import annotations

import ast

from vel2.lang.lower.context import Context, Loop
from vel2.lang.lower.convert import convert
from vel2.lang.lower.loops import loop_body, refuse_else
from vel2.lang.lower.names import forget_assigned
from vel2.lang.lower.truth import condition
from vel2.lang.lower.values import (
    Nothing,
)


def pass_(f: Context, node: ast.Pass) -> None:
    """Lower `pass`: nothing."""


def standing_alone(f: Context, node: ast.Expr) -> None:
    """Lower an expression that stands alone: a call, or a docstring."""
    if isinstance(node.value, ast.Constant):
        return
    if not isinstance(node.value, ast.Call):
        f.refuse(node, f"`{f.text(node)}` has no effect: only a call can stand alone")
    f.expression(node.value)


def return_(f: Context, node: ast.Return) -> None:
    """Lower `return`."""
    wanted = f.source.result
    if f.source.never_returns:
        f.refuse(node, f"{f.source.name}() is declared NoReturn: it cannot return")
    is_none = node.value is None or (
        isinstance(node.value, ast.Constant) and node.value.value is None
    )
    if wanted is None:
        if node.value is not None and not is_none:
            value = f.expression(node.value)
            if not isinstance(value, Nothing):
                f.refuse(node, f"{f.source.name}() returns None, not {value.describe()}")
        if f.build.is_open:
            f.build.emit("return")
        return
    if node.value is None or is_none:
        f.refuse(node, f"{f.source.name}() must return a {wanted.name}")
    f.build.emit("return", convert(f, node.value, f.expression(node.value), wanted, "returned"))


def if_(f: Context, node: ast.If) -> None:
    """Lower `if`; of a known condition, only the arm that counts."""
    yes, no = f.build.new_block("then"), f.build.new_block("else")
    known = condition(f, node.test, yes, no)
    if known is not None:
        f.body(node.body if known else node.orelse)
        return
    end = f.build.new_block("end") if node.orelse else no
    f.build.enter(yes)
    f.body(node.body)
    f.build.jump(end)
    if node.orelse:
        f.build.enter(no)
        f.body(node.orelse)
        f.build.jump(end)
    f.build.enter(end)


def while_(f: Context, node: ast.While) -> None:
    """Lower `while`."""
    refuse_else(f, node)
    head, body, end = (f.build.new_block(name) for name in ("while", "body", "end"))
    forget_assigned(f, node.body)
    f.build.jump(head)
    f.build.enter(head)
    known = condition(f, node.test, body, end)
    if known is not None:
        f.build.jump(body if known else end)
    f.build.enter(body)
    loop_body(f, Loop(head, end), node.body)
    f.build.jump(head)
    f.build.enter(end)


def break_(f: Context, node: ast.Break) -> None:
    """Lower `break`."""
    f.build.jump(f.loops[-1].end)


def continue_(f: Context, node: ast.Continue) -> None:
    """Lower `continue`."""
    f.build.jump(f.loops[-1].again)

"""`match` on integers."""

from __future__ import annotations

import ast

from vel2.lang.ir import Block
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import integer
from vel2.lang.lower.values import (
    Int,
    Known,
)
from vel2.lang.types import WORD_MASK


def match_(f: Context, node: ast.Match) -> None:
    """Lower `match`."""
    subject = f.expression(node.subject)
    rows: list[tuple[frozenset[int] | None, ast.match_case]] = []
    seen: set[int] = set()
    for case in node.cases:
        if case.guard is not None:
            f.refuse(case.guard, "a case takes no guard in the subset: use if inside it")
        rows.append((_pattern(f, case.pattern, seen), case))
    if isinstance(subject, Known):
        for found, case in rows:
            if found is None or subject.object in found:
                f.body(case.body)
                return
        return
    value = integer(f, node.subject, subject, "compared")
    _switch(f, value, rows)


def _switch(
    f: Context, value: Int, rows: list[tuple[frozenset[int] | None, ast.match_case]]
) -> None:
    end = f.build.new_block("end")
    default = end
    cases: list[tuple[int, Block]] = []
    blocks = []
    for found, case in rows:
        block = f.build.new_block("case")
        blocks.append((block, case))
        if found is None:
            default = block
        else:
            cases += [(number, block) for number in sorted(found)]
    f.build.switch(value.operand, cases, default)
    for block, case in blocks:
        f.build.enter(block)
        f.body(case.body)
        f.build.jump(end)
    f.build.enter(end)


def _pattern(f: Context, node: ast.pattern, seen: set[int]) -> frozenset[int] | None:
    """Give the numbers that a pattern matches; None for all."""
    if isinstance(node, ast.MatchAs) and node.pattern is None and node.name is None:
        return None
    if isinstance(node, ast.MatchOr):
        parts = [_pattern(f, part, seen) for part in node.patterns]
        if any(part is None for part in parts):
            return None
        return frozenset(number for part in parts if part is not None for number in part)
    if isinstance(node, ast.MatchValue):
        value = f.expression(node.value)
        number = value.object if isinstance(value, Known) else None
        if not isinstance(number, int) or not 0 <= number <= WORD_MASK:
            f.refuse(node, f"`{f.text(node)}` is not a compile-time u64")
        if number in seen:
            f.refuse(node, f"`{f.text(node)}` = {int(number):#x} is in an earlier case")
        seen.add(int(number))
        return frozenset((int(number),))
    f.refuse(
        node,
        f"the pattern `{f.text(node)}` is not in the subset: use constants, `|` and `_`",
    )

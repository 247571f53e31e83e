"""The arguments of a call to something that takes a fixed number of them."""

from __future__ import annotations

import ast

from vel2.lang.lower.context import Context


def arguments(f: Context, node: ast.Call, *counts: int) -> list[ast.expr]:
    """Require one of some numbers of arguments, without keywords."""
    if node.keywords or len(node.args) not in counts:
        wanted = " or ".join(map(str, counts))
        plural = "" if counts[-1] == 1 else "s"
        f.refuse(node, f"{f.text(node.func)}() takes {wanted} argument{plural} here")
    return node.args

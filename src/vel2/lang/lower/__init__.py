"""From the AST of resident functions to the IR.

`values` holds what an expression can be, `scope` the function being built, `expressions`, `calls`
and `statements` one method per construct, `module` the work list. Only `lower_module` is for
others.
"""

from vel2.lang.lower.module import lower_module

__all__ = ("lower_module",)

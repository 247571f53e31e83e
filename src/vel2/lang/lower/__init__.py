"""From the AST of resident functions to the IR.

`source` is a Python function as written, `values` what an expression can be, `builder` the IR that
is being made. A `context` joins them for one function and knows which function lowers which node;
each kind of construct has a file of its own. `module` is the work list. Only `lower_module` is for
others.
"""

from vel2.lang.lower.module import lower_module

__all__ = ("lower_module",)

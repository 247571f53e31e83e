"""Shows of code that somebody brings along that it keeps to what it was given, before it runs.

`confine` takes a module of the IR and says what it may touch: regions of memory, registers, symbols
and a number of operations. It refuses with the sentence and the place of the first operation for
which it cannot show that. What it accepts stores to no byte outside the regions that may be
written, whatever it is called with, and ends within the number of operations.

`values` says what is known of a value, `transfer` what an operation makes of that, `state` what
holds at a point of a function, `loops` how often a loop turns, and `check` walks the functions.
`code` looks once more at the machine code that LLVM has made of them. The subset and its IR are all
that this knows; who owns the regions is the caller's to say.
"""

from vel2.lang.confined.check import Finding, confine
from vel2.lang.confined.code import check_code
from vel2.lang.confined.rules import Region, Rules

__all__ = ("Finding", "Region", "Rules", "check_code", "confine")

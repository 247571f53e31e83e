"""A Linux program that uses the PMU and the debug registers, as `perf` and `gdb` do.

It prints its findings as markers: counts of cycles and instructions, samples by overflow
interrupts, a breakpoint in the kernel, and a child traced by single steps, a hardware breakpoint
and a watchpoint. The same program runs in L1 and in L2.
"""

from vel2.guests.observe.build import build_observe

__all__ = ("build_observe",)

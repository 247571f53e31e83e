"""A Linux program whose threads, one pinned to each CPU, work together on results that are known.

It is there to show that CPUs of a guest find each other: by wake-ups through pipes and futexes
(each hop wakes a sleeping CPU by an inter-processor interrupt), by atomic accesses and a lock, and
by broadcast TLB maintenance. It prints what came out as markers, and `expected` computes the same
on the host.
"""

from vel2.guests.parallel.build import build_parallel
from vel2.guests.parallel.expected import differences, expected

__all__ = ("build_parallel", "differences", "expected")

"""Show how long exits of L2 take, as a histogram by powers of two.

Its argument is a trace, such as `vel2 demo --trace demo.trace` makes.
"""

import sys
from collections import Counter

import vel2

with vel2.Trace(sys.argv[1]) as trace:
    bins: Counter[int] = Counter()
    for found in trace.exits():
        if found.entry:
            bins[trace.nanoseconds(found.ticks).bit_length()] += 1
    widest = max(bins.values())
    for bits in range(min(bins), max(bins) + 1):
        bar = "#" * round(50 * bins[bits] / widest)
        print(f"{1 << bits >> 1:>13,} ns {bins[bits]:>7,} {bar}")

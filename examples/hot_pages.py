"""Show which pages of L2 fault most, and which function of L2 touches them.

Its argument is a trace, such as `vel2 demo --trace demo.trace` makes.
"""

import sys
from collections import Counter

import vel2

PAGE = ~0xFFF

with vel2.Trace(sys.argv[1]) as trace:
    pages: Counter[int] = Counter()
    functions: dict[int, Counter[str]] = {}
    for found in trace.exits():
        if found.trap.ipa:
            page = found.trap.ipa & PAGE
            pages[page] += 1
            name = trace.function(found.trap) or "user space"
            functions.setdefault(page, Counter())[name] += 1
    for page, count in pages.most_common(5):
        name, most = functions[page].most_common(1)[0]
        print(f"ipa={page:#x}: {count:,} exits, {most:,} of them in {name}")

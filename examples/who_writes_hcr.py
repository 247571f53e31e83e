"""Show who writes HCR_EL2, and what.

With FEAT_NV2 the register is memory, and no write traps: only --nv nv shows it.

Its argument is a trace, such as `vel2 demo --nv nv --trace demo.trace` makes.
"""

import sys

import vel2
from vel2.arch.sysregs import HCR_EL2

with vel2.Trace(sys.argv[1]) as trace:
    rows = trace.query(
        """
        select function, value, count(*) as times from events
        where register = 'HCR_EL2' and direction = 'write' group by all order by times desc, value
        """
    )
    for function, value, times in rows:
        assert isinstance(value, int)
        print(f"{function}: {times:,} times {value:#x}")
        print("   ", vel2.Value(HCR_EL2, value))

"""Show how often each guest of L1 exits, why, and how long it is away.

Its argument is a trace, such as `vel2 demo --trace demo.trace` makes.
"""

import sys

import vel2

with vel2.Trace(sys.argv[1]) as trace:
    rows = trace.query(
        """
        select vmid, cause, count(*) as exits, sum(duration) / 1e6 as ms,
               sum(l0) / sum(duration) as l0_share
        from exits where ended is not null group by vmid, cause order by vmid, ms desc
        """
    )
    print(f"{'VMID':>5} {'exits':>7} {'ms':>9} {'L0':>5}  cause")
    for vmid, cause, exits, ms, share in rows:
        print(f"{vmid:>5} {exits:>7,} {ms:>9,.2f} {share:>5.0%}  {cause}")
    if trace.caveat:
        print(f"note: {trace.caveat}")

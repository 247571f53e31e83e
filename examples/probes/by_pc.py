"""Where does L1 trap? Count the traps of vEL2 by the address they come from.

Run it: vel2 demo --probe examples/probes/by_pc.py
"""

from vel2.hyp.records import Trap
from vel2.probes import Hash, probe

by_pc = Hash(8192, shows="pc")


@probe(level="vel2")
def count(trap: Trap) -> None:
    """Count one trap."""
    by_pc.add(trap.pc)

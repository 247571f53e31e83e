"""Which system registers trap, and how: count by register, and reads apart from writes.

Run it: vel2 demo --nv nv --probe examples/probes/by_register.py
"""

from vel2.hyp.records import Trap
from vel2.probes import Hash, is_read, probe, register_of

reads = Hash(1024, shows="sysreg")
writes = Hash(1024, shows="sysreg")


@probe(trap="SYS64")
def count(trap: Trap) -> None:
    """Count one access."""
    if is_read(trap):
        reads.add(register_of(trap))
    else:
        writes.add(register_of(trap))

"""The NEVE question in ten lines: keep which registers in memory, and how many traps fall.

Under FEAT_NV each access of vEL2 to one of its registers traps. FEAT_NV2 makes loads and stores of
those that have a place in the VNCR page. Which registers are these here, what does each one save,
and which ones would still trap?

Run it: vel2 demo --nv nv --probe examples/probes/neve.py
"""

from vel2.arch.vncr import redirected
from vel2.hyp.records import Trap
from vel2.probes import Hash, probe, register_of

IN_MEMORY = tuple(redirected(NV1=False))
saved_by_nv2 = Hash(1024, shows="sysreg")
trapping_still = Hash(1024, shows="sysreg")


@probe(trap="SYS64", level="vel2")
def count(trap: Trap) -> None:
    """Count an access where it belongs."""
    if register_of(trap) in IN_MEMORY:
        saved_by_nv2.add(register_of(trap))
    else:
        trapping_still.add(register_of(trap))

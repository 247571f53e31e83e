"""How long does L0 take for a trap? A histogram for each exception class, in ticks of CNTPCT_EL0.

With --deterministic a tick is one instruction. Two probes share a note: the time at the beginning.

Run it: vel2 demo --deterministic --probe examples/probes/latency.py
"""

from vel2.arch.sysregs import CNTPCT_EL0
from vel2.hyp.records import Trap
from vel2.hyp.state import Vcpu
from vel2.lang import mrs, u64
from vel2.probes import Histogram, Scratch, class_of, probe

by_class = Histogram(64, shows="ec")
began = Scratch(1)


@probe()
def begin(trap: Trap, vcpu: Vcpu) -> None:
    """Note when it began."""
    began.put(vcpu, 0, mrs(CNTPCT_EL0))


@probe(at="end")
def end(trap: Trap, vcpu: Vcpu) -> None:
    """Record how long it took."""
    start = began.get(vcpu, 0)
    if start != 0:
        by_class.record(u64(mrs(CNTPCT_EL0) - start), class_of(trap))

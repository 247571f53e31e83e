"""What L0 keeps for one pcpu beside the state of its virtual CPU: the parts of `state.Vcpu`.

Each part says who writes it and for how long it stands.
"""

from vel2.lang import Struct, array, scalar, u64

__all__ = (
    "OFF",
    "ON",
    "PENDING",
    "UNPROFITABLE",
    "Guesses",
    "Pcpu",
    "Power",
)

UNPROFITABLE = 256


class Pcpu(Struct):
    """What hardware of this pcpu holds for L1, beside the context's registers.

    Its pcpu alone reads and writes it, and makes it anew when it starts.
    """

    timer_traps = scalar(u64)
    """Bits of CNTHCTL_EL2 for vEL2, by which its accesses to vEL1's timers trap."""
    timer_traps_kept = scalar(u64)
    """Those of them that are set whatever the timers do: L1 has never entered vEL1."""
    loaded = scalar(u64)
    """What must not stay while vEL2 runs (bits `*_LOADED`)."""
    hcrx = scalar(u64)
    """HCRX_EL2, without `Probed.hcrx_of_l0`."""
    mdscr = scalar(u64)
    """MDSCR_EL1."""
    mdscr_traps = scalar(u64)
    """HDFGWTR_EL2.MDSCR_EL1 if it is set (`finegrained`), or 0."""
    mdcr_vel2 = scalar(u64)
    """MDCR_EL2 while vEL2 runs."""
    moving_selectors = scalar(u64)
    """Which of `Vcpu.selectors` it holds otherwise in vEL2 than in vEL1, as a mask."""
    debug_is_l1s = scalar(u64)
    """Its breakpoint and watchpoint controls are L1's, which reaches them without a trap."""


class Guesses(Struct):
    """What L0 remembers to save work. To forget it costs time, and nothing else.

    Its pcpu alone reads and writes it.
    """

    quiet_mdscr = scalar(u64)
    """Writes of MDSCR_EL1 in a row that trapped and debugged nothing."""
    tlbis_of_own_regime = scalar(u64)
    """TLBIs of L1's own regime that trapped since vEL1 ran (`tlbi.stop_trapping`)."""
    refaults = scalar(u64)
    """How often the same access has faulted although all it needs was mapped (`abort`)."""
    refault_pc = scalar(u64)
    refault_far = scalar(u64)
    unprofitable = array(u64, UNPROFITABLE)
    """Addresses behind a trapped access from which `ahead.run` won nothing."""


OFF = 0
PENDING = 1
"""Another CPU has asked for it, and it has not come to L1's first instruction yet."""
ON = 2


class Power(Struct):
    """What PSCI knows of a vCPU (`power`).

    Any pcpu writes it, by a compare-exchange of `state`; the host writes the first vCPU's.
    """

    state = scalar(u64)
    """`OFF`, `PENDING` or `ON`."""
    entry_pc = scalar(u64)
    entry_x0 = scalar(u64)

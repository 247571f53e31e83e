"""MDSCR_EL1 of vEL2, where a write of it traps (`finegrained` says when, and why)."""

from vel2.hyp import finegrained, selectors
from vel2.hyp.context import DEBUGS, MDSCR_SLOT, sync_mdscr
from vel2.hyp.state import Vcpu, page_of
from vel2.lang import resident, u64

__all__ = ("write_mdscr",)

QUIET_WRITES = 16
"""So many writes in a row that debug nothing, and it need not trap."""


@resident
def write_mdscr(vcpu: Vcpu, value: u64) -> None:
    """Write MDSCR_EL1: at once, so that clearing PSTATE.D finds it in effect."""
    page_of(vcpu).slot[MDSCR_SLOT] = value
    sync_mdscr(vcpu)
    if value & DEBUGS != 0 or selectors.debugs(vcpu):
        vcpu.guesses.quiet_mdscr = 0
    else:
        vcpu.guesses.quiet_mdscr = u64(vcpu.guesses.quiet_mdscr + 1)
        if vcpu.guesses.quiet_mdscr >= QUIET_WRITES:
            finegrained.stop_trapping_mdscr(vcpu)

"""Breakpoint and watchpoint controls that L1 reaches without a trap, while none of them can match.

They match nowhere while MDSCR_EL1.MDE is 0, whatever they say. A KVM whose guest is a hypervisor
with KVM of its own saves and loads all of them at each exit in this state: forty accesses, each of
which would trap (`selectors`). So at the first one from vEL2 hardware gets what L1 has written, and
L1 the registers themselves: that and its end cost no more than another trap.

That ends with the next change of context, and before MDE becomes 1. With FEAT_NV2 the MDSCR_EL1 of
vEL2 is memory: hardware's changes by L0 alone, in `context.load_mdscr`. Writes of it trap as long
as this lasts, so that one is in effect at once, as `finegrained` has it. Then `Vcpu.selectors`
takes over what hardware has, and is all that counts again.
"""

from vel2.arch import sysregs as sr
from vel2.hyp import finegrained, selectors
from vel2.hyp.homes import slot
from vel2.hyp.selectors import ALL_COUNTERS, DEBUG, FIRST_BREAKPOINT
from vel2.hyp.state import CONTEXT_VEL2, LEVEL_NV2, Vcpu, page_of, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = ("load_for_context", "note_access", "withdraw")

MDSCR_SLOT = slot(sr.MDSCR_EL1)
MDE = sr.MDSCR_EL1.MDE.mask
ENABLE = sr.DBGBCR_EL1.E.mask


@inline
def can_match(vcpu: Vcpu) -> bool:
    """Whether one might match, or come to match in vEL2 without L0 being told."""
    if vcpu.context != CONTEXT_VEL2 or vm_of(vcpu).config.nv_level != LEVEL_NV2:
        return True
    return (page_of(vcpu).slot[MDSCR_SLOT] | vcpu.pcpu.mdscr) & MDE != 0


@resident
def note_access(vcpu: Vcpu, index: u64) -> None:
    """Let vEL2 reach the controls, after an access to one of the selectors trapped and was done."""
    if index >= FIRST_BREAKPOINT and not can_match(vcpu):
        give(vcpu)


@resident
def give(vcpu: Vcpu) -> None:
    """Let vEL2 reach the controls in hardware."""
    there = selectors.debug_there(vcpu)
    for row in DEBUG:
        if there >> row.index & 1 != 0:
            msr(row.register, vcpu.selectors[row.index])
    vcpu.pcpu.debug_is_l1s = 1
    vcpu.pcpu.moving_selectors = vcpu.pcpu.moving_selectors | there
    finegrained.let_debug_through()
    finegrained.trap_mdscr(vcpu)


@resident
def withdraw(vcpu: Vcpu) -> None:
    """Take over what L1 has written without a trap, if it can, and see all it does from here on."""
    if vcpu.pcpu.debug_is_l1s == 0:
        return
    there = selectors.debug_there(vcpu)
    enabled = u64(0)
    for row in DEBUG:
        if there >> row.index & 1 != 0:
            control = mrs(row.register)
            vcpu.selectors[row.index] = control
            enabled = enabled | control
    vcpu.pcpu.debug_is_l1s = 0
    vcpu.pcpu.moving_selectors = vcpu.pcpu.moving_selectors & ALL_COUNTERS
    finegrained.trap_debug()
    if enabled & ENABLE != 0:
        selectors.refresh(vcpu)


@inline
def load_for_context(vcpu: Vcpu) -> None:
    """Give hardware the selectors that differ from the context before."""
    if vcpu.pcpu.moving_selectors != 0:
        change_context(vcpu)


@resident
def change_context(vcpu: Vcpu) -> None:
    """Give hardware what differs, of what L1 has written last."""
    withdraw(vcpu)
    if vcpu.pcpu.moving_selectors != 0:
        selectors.load(vcpu, vcpu.pcpu.moving_selectors)

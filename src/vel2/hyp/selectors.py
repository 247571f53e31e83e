"""Selectors: registers that say at which Exception level a counter counts or a breakpoint matches.

PMEVTYPER<n>_EL0 and PMCCFILTR_EL0 filter by Exception level (P, U, NSH), and so do DBGBCR<n>_EL1
and DBGWCR<n>_EL1 (HMC, SSC, PMC or PAC). L1 writes them for a machine with an EL2; hardware runs
vEL2 and vEL1 both at EL1. So `vcpu.selectors` holds what L1 (or L2, if L1 lets it) wrote, and
hardware what that means for the context that runs: while vEL2 runs, "at EL2" becomes "at EL1";
while vEL1 runs, EL1 is EL1. Nothing ever counts or matches at hardware's EL2: L0 is invisible.

Accesses trap by fine-grained bits of L0's own (`finegrained.OWN`), and so do writes that can turn a
counter on (PMCR_EL0, PMCNTENSET_EL0). Each of them leads to `refresh`, which gives hardware the
values of all that is enabled, and notes in `Pcpu.moving_selectors` which of them differ between the
two contexts: only those are written at a change of context, so a VM that does not use them pays
for one test. Without FEAT_FGT, MDCR_EL2.TPM traps all of the PMU instead, and the debug registers
are L1's as they are.

While L1 reaches breakpoints and watchpoints without a trap, `breakpoints` has them, and not this.

What can not be had: a breakpoint that compares VMIDs or CONTEXTIDR_EL2 never matches; hardware's
are L0's. (While vEL2 runs hardware's CONTEXTIDR_EL1 is L1's CONTEXTIDR_EL2, but the two are
compared with different halves of DBGBVR<n>_EL1.)
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import finegrained
from vel2.hyp.homes import in_memory
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, Vm, vm_of
from vel2.lang import U32_MAX, inline, mrs, msr, resident, u64

__all__ = (
    "ALL_COUNTERS",
    "CYCLE",
    "CYCLE_BIT",
    "DEBUG",
    "FILTERS",
    "FIRST_BREAKPOINT",
    "FIRST_WATCHPOINT",
    "MDCR",
    "SELECTORS",
    "TYPER",
    "debug_there",
    "debugs",
    "guest_counters",
    "index_of",
    "l1_mdcr",
    "load",
    "refresh",
    "reset",
    "write",
)

MDCR = sr.MDCR_EL2
MDCR_INDEX = in_memory(MDCR)
TYPER = sr.PMEVTYPER_EL0
BCR = sr.DBGBCR_EL1

CYCLE = 31
FIRST_BREAKPOINT = 32
FIRST_WATCHPOINT = 48
SELECTORS = 64
ALL_COUNTERS = U32_MAX
CYCLE_BIT = 1 << CYCLE


@dataclass(frozen=True)
class Selector:
    """One selector."""

    index: int
    """In `Vcpu.selectors`, and its bit in `Vcpu.pcpu.moving_selectors` and `Probed.selectors`."""
    register: type[Register]
    active: int
    """The bit without which nothing happens while L0 runs: NSH of a filter, E of the others."""


ALL = (
    *(Selector(n, register, TYPER.NSH.mask) for n, register in enumerate(sr.PMEVTYPERn_EL0)),
    Selector(CYCLE, sr.PMCCFILTR_EL0, sr.PMCCFILTR_EL0.NSH.mask),
    *(
        Selector(first + n, register, BCR.E.mask)
        for first, family in (
            (FIRST_BREAKPOINT, sr.DBGBCRn_EL1),
            (FIRST_WATCHPOINT, sr.DBGWCRn_EL1),
        )
        for n, register in enumerate(family)
    ),
)
FILTERS = ALL[:FIRST_BREAKPOINT]
DEBUG = ALL[FIRST_BREAKPOINT:]

EL1_BITS = TYPER.P.mask | TYPER.NSK.mask
WHERE = BCR.HMC.mask | BCR.SSC.mask | BCR.PMC.mask
"""The same bits in DBGWCR<n>_EL1, where PMC is called PAC."""
SSC_SECURE = 2
AT_EL0 = BCR.PMC.put(0b10)
AT_EL1 = BCR.PMC.put(0b01)
NEVER = 16
BT_VEL1 = (0, 1, 2, 3, 4, 5, 6, 7, *(NEVER,) * 8)
BT_VEL2_E2H = (0, 1, 2, 3, 4, 5, *(NEVER,) * 10)
BT_VEL2 = (0, 1, NEVER, NEVER, 4, 5, *(NEVER,) * 10)
"""DBGBCR<n>_EL1.BT that does in each context what L1's does. The context of BT 2 and 3 is EL2's own
at EL2, which has none with E2H=0; that of 6 and 7 is EL1's alone."""
BT_LINKED_CONTEXTS = (3, 7)
"""These are matched for the breakpoint that links to them: their own Exception level is ignored."""


@inline
def l1_mdcr(vcpu: Vcpu) -> u64:
    """Give L1's MDCR_EL2."""
    return vcpu.vel2.memory[MDCR_INDEX]


@inline
def guest_counters(vcpu: Vcpu) -> u64:
    """Mask the counters that EL1 may use: those below L1's MDCR_EL2.HPMN, and the cycle counter."""
    return u64((1 << MDCR.HPMN.get(l1_mdcr(vcpu))) - 1) | CYCLE_BIT


@resident
def counts_at_vel2(vcpu: Vcpu, index: u64) -> bool:
    """Whether a counter's filter, HPMD and HCCD let it count at EL2."""
    if vcpu.selectors[index] & TYPER.NSH.mask == 0:
        return False
    mdcr = l1_mdcr(vcpu)
    if mdcr & MDCR.HPMD.mask == 0:
        return index != CYCLE or mdcr & MDCR.HCCD.mask == 0
    if index == CYCLE:
        return mdcr & MDCR.HCCD.mask == 0 and mrs(sr.PMCR_EL0) & sr.PMCR_EL0.DP.mask == 0
    return index >= MDCR.HPMN.get(mdcr)


@inline
def filter_in(vcpu: Vcpu, index: u64, context: u64) -> u64:
    """Give the filter of a counter that hardware needs in a context."""
    value = vcpu.selectors[index] & ~TYPER.NSH.mask
    if context == CONTEXT_VEL2:
        value = value & ~EL1_BITS
        if not counts_at_vel2(vcpu, index):
            value = value | TYPER.P.mask
    return value


@inline
def debug_type_in(vcpu: Vcpu, value: u64, context: u64) -> u64:
    """Give DBGBCR<n>_EL1.BT that hardware needs in a context, or NEVER."""
    kind = BCR.BT.get(value)
    if context == CONTEXT_VEL1:
        return BT_VEL1[kind]
    if vcpu.e2h != 0:
        return BT_VEL2_E2H[kind]
    return BT_VEL2[kind]


@inline
def debugs_vel2(vcpu: Vcpu) -> bool:
    """Whether debug exceptions of vEL2 have EL2 as their target.

    With E2H=1 always: HCR_EL2.TGE, which L1 changes unseen, makes it so for a host.
    """
    return vcpu.e2h != 0 or l1_mdcr(vcpu) & MDCR.TDE.mask != 0


@resident
def debug_in(vcpu: Vcpu, index: u64, context: u64) -> u64:
    """Give the breakpoint or watchpoint control that hardware needs in a context."""
    value = vcpu.selectors[index]
    if index < FIRST_WATCHPOINT:
        kind = debug_type_in(vcpu, value, context)
        if kind == NEVER:
            return value & ~BCR.E.mask
        value = BCR.BT.set(value, kind)
        if kind in BT_LINKED_CONTEXTS:
            return value
    el0 = value & AT_EL0
    el1 = value & AT_EL1
    if context == CONTEXT_VEL2:
        el1 = 0
        if value & BCR.HMC.mask != 0 and debugs_vel2(vcpu):
            el1 = AT_EL1
    if BCR.SSC.get(value) == SSC_SECURE or el0 | el1 == 0:
        return value & ~(WHERE | BCR.E.mask)
    return value & ~WHERE | el0 | el1


@resident
def load(vcpu: Vcpu, which: u64) -> None:
    """Give hardware the selectors in a mask, as the context that runs needs them."""
    if which & ALL_COUNTERS != 0:
        for row in FILTERS:
            if which >> row.index & 1 != 0:
                msr(row.register, filter_in(vcpu, row.index, vcpu.context))
    if which & ~ALL_COUNTERS != 0:
        for row in DEBUG:
            if which >> row.index & 1 != 0:
                msr(row.register, debug_in(vcpu, row.index, vcpu.context))


@resident
def enabled(vcpu: Vcpu) -> u64:
    """Mask the selectors of counters, breakpoints and watchpoints that are enabled.

    While L1 reaches the last two without a trap, no change of theirs matters.
    """
    found = u64(0)
    exists = vm_of(vcpu).probed.selectors
    if exists & ALL_COUNTERS != 0:
        counters = mrs(sr.PMCNTENSET_EL0) & exists & ALL_COUNTERS
        of_guest = guest_counters(vcpu)
        if mrs(sr.PMCR_EL0) & sr.PMCR_EL0.E.mask != 0:
            found = counters & of_guest
        if l1_mdcr(vcpu) & MDCR.HPME.mask != 0:
            found = found | counters & ~of_guest
    if vcpu.pcpu.debug_is_l1s != 0:
        return found
    for index in range(FIRST_BREAKPOINT, SELECTORS):
        if exists >> index & 1 != 0 and vcpu.selectors[index] & BCR.E.mask != 0:
            found = found | u64(1 << index)
    return found


@resident
def debugs(vcpu: Vcpu) -> bool:
    """Whether a breakpoint or watchpoint is enabled, or may be."""
    return vcpu.pcpu.debug_is_l1s != 0 or enabled(vcpu) & ~ALL_COUNTERS != 0


@inline
def differs(vcpu: Vcpu, index: u64) -> bool:
    """Whether hardware needs another value in vEL2 than in vEL1."""
    if index < FIRST_BREAKPOINT:
        return filter_in(vcpu, index, CONTEXT_VEL2) != filter_in(vcpu, index, CONTEXT_VEL1)
    return debug_in(vcpu, index, CONTEXT_VEL2) != debug_in(vcpu, index, CONTEXT_VEL1)


@resident
def refresh(vcpu: Vcpu) -> None:
    """Bring hardware and `moving_selectors` up to date after a change of what they depend on."""
    active = enabled(vcpu)
    moving = u64(0)
    if active != 0:
        for index in range(SELECTORS):
            if active >> index & 1 != 0 and differs(vcpu, index):
                moving = moving | u64(1 << index)
    if vcpu.pcpu.debug_is_l1s != 0:
        moving = moving | debug_there(vcpu)
    vcpu.pcpu.moving_selectors = moving
    load(vcpu, active)
    if active & ~ALL_COUNTERS != 0:
        finegrained.trap_mdscr(vcpu)


@resident
def write(vcpu: Vcpu, index: u64, value: u64) -> None:
    """Write a selector that exists. Hardware says which bits stick."""
    for row in ALL:
        if index == row.index:
            msr(row.register, value & ~row.active)
            vcpu.selectors[index] = mrs(row.register) & ~row.active | value & row.active
    load(vcpu, u64(1 << index))
    refresh(vcpu)


@inline
def debug_there(vcpu: Vcpu) -> u64:
    """Mask the breakpoints and watchpoints that there are."""
    return vm_of(vcpu).probed.selectors & ~ALL_COUNTERS


@resident
def index_of(key: u64) -> u64:
    """Give the index of the selector with a trap key, or SELECTORS."""
    for row in ALL:
        if key == row.register.trap_key:
            return row.index
    return SELECTORS


@resident
def reset(vcpu: Vcpu, vm: Vm) -> None:
    """Begin with every counter, breakpoint and watchpoint off."""
    for row in ALL:
        vcpu.selectors[row.index] = 0
    load(vcpu, vm.probed.selectors)

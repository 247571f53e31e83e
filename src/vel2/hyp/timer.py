"""Timers.

vEL2's own timers are hardware's CNTHP and CNTHV, with the PPIs L1 expects, and run in every
context: a VHE L1's CNTP_* and CNTV_* accesses trap and are answered by them (`sysreg`). L2's timers
are hardware's CNTP and CNTV, and go on while vEL2 runs, as at real EL2: they interrupt L1 when they
fire. Firmware at vEL2 even uses them as its own.

An nVHE L1 (E2H=0) sees hardware: all its accesses trap, and those to the virtual count as well.
Only CNTVOFF_EL2, which L1 writes in the page unseen, reaches hardware late: at the next of these
accesses or change to vEL1.

A VHE L1 (E2H=1) names them CNTV_*_EL02 and CNTP_*_EL02, and under FEAT_NV2 these names are memory
(the VNCR page), unless CNTHCTL_EL2.{EL1NVVCT,EL1NVPCT} make them trap. So each timer is, while vEL2
runs, in one of three states (`settle_vtimer`, `settle_ptimer`), and the page has its registers in
all of them:

    to come   enabled, not masked, not there yet: it runs in hardware, and accesses trap, so that
              L1, interrupted, finds ISTATUS set, and what it writes reaches hardware;
    fired     enabled, not masked, and there: hardware asserts it, the page has ISTATUS set, and
              accesses need not trap. Each ERET inside vEL2 and each write of a timer that traps
              looks whether L1 has masked, stopped or moved it (`SLOW_VTIMER`, `SLOW_PTIMER`);
    quiet     hardware's is off, accesses need not trap.

At each change to vEL1 the page is loaded, at each change to vEL2 it is filled and the timer
settled; so it is after each access that traps. What L1 writes unseen to a quiet timer takes effect
when vEL1 is entered, which is when a hypervisor means it to; an L1 that has never entered vEL1
has its accesses trap in all states (`timer_traps_kept`), because to it these are timers of its own.

CNTVOFF_EL2 is 0 while a VHE vEL2 runs, whose virtual count has no offset: CNTV_CVAL in hardware has
it added instead.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.homes import slot
from vel2.hyp.state import SLOW_PTIMER, SLOW_VTIMER, Vcpu, VncrPage, page_of
from vel2.lang import U64_MAX, inline, isb, mrs, msr, resident, u64

__all__ = (
    "CNTP_CTL_SLOT",
    "CNTP_CVAL_SLOT",
    "CNTV_CTL_SLOT",
    "CNTV_CVAL_SLOT",
    "TRAPS_ALWAYS",
    "TRAPS_WITHOUT_E2H",
    "WRITABLE",
    "counter_of",
    "load_offset",
    "load_timer_traps",
    "load_vel1_timers",
    "read_ctl",
    "save_vel1_timers",
    "settle",
    "start_timers",
    "stop_timers",
    "sync_live_timers",
    "virtual_count",
)

CTL = sr.CNTV_CTL_EL0
ENABLE = CTL.ENABLE.mask
ISTATUS = CTL.ISTATUS.mask
WRITABLE = CTL.ENABLE.mask | CTL.IMASK.mask
ASSERTED = CTL.ENABLE.mask | CTL.ISTATUS.mask

STOPPED = 0
FIRED = 0
"""A CVAL that keeps a timer asserted whatever becomes of its offset."""
NEVER = U64_MAX
NEGATIVE = 1 << 63

VIRTUAL = sr.CNTHCTL_EL2.EL1NVVCT.mask
PHYSICAL = sr.CNTHCTL_EL2.EL1NVPCT.mask
TRAPS_ALWAYS = VIRTUAL | PHYSICAL
"""CNTHCTL_EL2 bits that make vEL2's accesses to vEL1's timers trap under FEAT_NV2."""

CNTHCTL_VEL2 = sr.CNTHCTL_EL2.compose(EL1PCTEN=1, EL1TVT=1)
"""vEL2's CNTP_* and CNTV_* mean its hypervisor timers: both trap. The counters do not."""

TRAPS_WITHOUT_E2H = sr.CNTHCTL_EL2.EL1TVCT.mask
"""With E2H=0 EL2's virtual count has the offset, which L1 writes in the page unseen: CNTVCT_EL0 and
CNTVCTSS_EL0 are read here."""

CNTVOFF_SLOT = slot(sr.CNTVOFF_EL2)
CNTV_CTL_SLOT = slot(sr.CNTV_CTL_EL0)
CNTV_CVAL_SLOT = slot(sr.CNTV_CVAL_EL0)
CNTP_CTL_SLOT = slot(sr.CNTP_CTL_EL0)
CNTP_CVAL_SLOT = slot(sr.CNTP_CVAL_EL0)


@inline
def load_vel1_timers(vcpu: Vcpu) -> None:
    """Let vEL1's timers run in hardware."""
    msr(sr.CNTVOFF_EL2, page_of(vcpu).slot[CNTVOFF_SLOT])
    if vcpu.e2h != 0:
        start_timers(vcpu)


@inline
def save_vel1_timers(vcpu: Vcpu) -> None:
    """Make vEL1's timers what they are while vEL2 runs."""
    if vcpu.e2h != 0:
        stop_timers(vcpu)


@inline
def load_offset(vcpu: Vcpu) -> None:
    """Give hardware the CNTVOFF_EL2 that L1 may have written since it was last loaded."""
    msr(sr.CNTVOFF_EL2, page_of(vcpu).slot[CNTVOFF_SLOT])
    isb()


@resident
def virtual_count(vcpu: Vcpu) -> u64:
    """Read CNTVCT_EL0 or CNTVCTSS_EL0 of a vEL2 with E2H=0."""
    load_offset(vcpu)
    return mrs(sr.CNTVCT_EL0)


@resident
def start_timers(vcpu: Vcpu) -> None:
    """Let vEL1's timers run in hardware, from the VNCR page."""
    page = page_of(vcpu)
    msr(sr.CNTV_CVAL_EL0, page.slot[CNTV_CVAL_SLOT])
    msr(sr.CNTV_CTL_EL0, page.slot[CNTV_CTL_SLOT])
    msr(sr.CNTP_CVAL_EL0, page.slot[CNTP_CVAL_SLOT])
    msr(sr.CNTP_CTL_EL0, page.slot[CNTP_CTL_SLOT])
    vcpu.slow_eret = vcpu.slow_eret & ~(SLOW_VTIMER | SLOW_PTIMER)
    vcpu.pcpu.timer_traps_kept = 0


@resident
def stop_timers(vcpu: Vcpu) -> None:
    """Take vEL1's timers back into the VNCR page and settle them, the virtual offset being L1's."""
    page = page_of(vcpu)
    traps = vcpu.pcpu.timer_traps_kept
    ctl = mrs(sr.CNTV_CTL_EL0)
    page.slot[CNTV_CTL_SLOT] = ctl
    page.slot[CNTV_CVAL_SLOT] = mrs(sr.CNTV_CVAL_EL0)
    if ctl & ENABLE:
        if ctl == ASSERTED:
            vcpu.slow_eret = vcpu.slow_eret | SLOW_VTIMER
            msr(sr.CNTV_CVAL_EL0, FIRED)
        elif ctl == ENABLE:
            traps = traps | VIRTUAL
            msr(sr.CNTV_CVAL_EL0, physical_cval(page))
        else:
            msr(sr.CNTV_CTL_EL0, STOPPED)
    ctl = mrs(sr.CNTP_CTL_EL0)
    page.slot[CNTP_CTL_SLOT] = ctl
    page.slot[CNTP_CVAL_SLOT] = mrs(sr.CNTP_CVAL_EL0)
    if ctl & ENABLE:
        if ctl == ASSERTED:
            vcpu.slow_eret = vcpu.slow_eret | SLOW_PTIMER
        elif ctl == ENABLE:
            traps = traps | PHYSICAL
        else:
            msr(sr.CNTP_CTL_EL0, STOPPED)
    vcpu.pcpu.timer_traps = traps


@inline
def physical_cval(page: VncrPage) -> u64:
    """Give the physical count at which vEL1's virtual timer, not there yet, will be."""
    offset = page.slot[CNTVOFF_SLOT]
    cval = u64(page.slot[CNTV_CVAL_SLOT] + offset)
    # An offset below 0 wraps as it should; a sum beyond the end of time must not.
    if cval < offset and offset < NEGATIVE:
        cval = NEVER
    return cval


@resident
def settle_vtimer(vcpu: Vcpu) -> None:
    """Make hardware's virtual timer what vEL1's has to be while a vEL2 with E2H=1 runs."""
    page = page_of(vcpu)
    ctl = read_ctl(page, True)
    page.slot[CNTV_CTL_SLOT] = ctl
    vcpu.slow_eret = vcpu.slow_eret & ~SLOW_VTIMER
    vcpu.pcpu.timer_traps = vcpu.pcpu.timer_traps & ~VIRTUAL | vcpu.pcpu.timer_traps_kept & VIRTUAL
    if ctl == ASSERTED:
        vcpu.slow_eret = vcpu.slow_eret | SLOW_VTIMER
        msr(sr.CNTV_CVAL_EL0, FIRED)
        msr(sr.CNTV_CTL_EL0, ENABLE)
    elif ctl == ENABLE:
        vcpu.pcpu.timer_traps = vcpu.pcpu.timer_traps | VIRTUAL
        msr(sr.CNTV_CVAL_EL0, physical_cval(page))
        msr(sr.CNTV_CTL_EL0, ENABLE)
    else:
        msr(sr.CNTV_CTL_EL0, STOPPED)


@resident
def settle_ptimer(vcpu: Vcpu) -> None:
    """Make hardware's physical timer what vEL1's has to be while a vEL2 with E2H=1 runs."""
    page = page_of(vcpu)
    ctl = read_ctl(page, False)
    page.slot[CNTP_CTL_SLOT] = ctl
    vcpu.slow_eret = vcpu.slow_eret & ~SLOW_PTIMER
    vcpu.pcpu.timer_traps = (
        vcpu.pcpu.timer_traps & ~PHYSICAL | vcpu.pcpu.timer_traps_kept & PHYSICAL
    )
    if ctl == ASSERTED:
        vcpu.slow_eret = vcpu.slow_eret | SLOW_PTIMER
    elif ctl == ENABLE:
        vcpu.pcpu.timer_traps = vcpu.pcpu.timer_traps | PHYSICAL
    if ctl & WRITABLE == ENABLE:
        msr(sr.CNTP_CVAL_EL0, page.slot[CNTP_CVAL_SLOT])
        msr(sr.CNTP_CTL_EL0, ENABLE)
    else:
        msr(sr.CNTP_CTL_EL0, STOPPED)


@resident
def sync_live_timers(vcpu: Vcpu) -> None:
    """Settle timers left asserted that what L1 has written to the page since would not assert."""
    page = page_of(vcpu)
    traps = vcpu.pcpu.timer_traps
    if vcpu.slow_eret & SLOW_VTIMER and read_ctl(page, True) != ASSERTED:
        settle_vtimer(vcpu)
    if vcpu.slow_eret & SLOW_PTIMER and read_ctl(page, False) != ASSERTED:
        settle_ptimer(vcpu)
    if vcpu.pcpu.timer_traps != traps:
        load_timer_traps(vcpu)


@resident
def settle(vcpu: Vcpu, is_virtual: bool) -> None:
    """Settle a timer that vEL2 has accessed by an `_EL02` name (`el02`)."""
    if is_virtual:
        settle_vtimer(vcpu)
    else:
        settle_ptimer(vcpu)
    load_timer_traps(vcpu)


@inline
def load_timer_traps(vcpu: Vcpu) -> None:
    """Make vEL2's accesses to vEL1's timers trap as far as they have to."""
    msr(sr.CNTHCTL_EL2, CNTHCTL_VEL2 | vcpu.pcpu.timer_traps)


@inline
def counter_of(page: VncrPage, is_virtual: bool) -> u64:
    """Give the count that a timer of vEL1 compares with."""
    count = mrs(sr.CNTPCT_EL0)
    if is_virtual:
        count = u64(count - page.slot[CNTVOFF_SLOT])
    return count


@resident
def read_ctl(page: VncrPage, is_virtual: bool) -> u64:
    """Read CNTV_CTL or CNTP_CTL of vEL1 from the page, with ISTATUS as it would be now."""
    ctl = page.slot[CNTP_CTL_SLOT]
    cval = page.slot[CNTP_CVAL_SLOT]
    if is_virtual:
        ctl = page.slot[CNTV_CTL_SLOT]
        cval = page.slot[CNTV_CVAL_SLOT]
    ctl = ctl & WRITABLE
    if ctl & ENABLE and counter_of(page, is_virtual) >= cval:
        ctl = ctl | ISTATUS
    return ctl

"""Timers.

vEL2's own timers are hardware's CNTHP and CNTHV, with the PPIs L1 expects, and run in every
context: a VHE L1's CNTP_* and CNTV_* accesses trap and are answered by them (`sysreg`). L2's timers
are hardware's CNTP and CNTV. While vEL2 runs with E2H=1, their registers are memory (VNCR page):
L1 reads and writes them unseen.

A VHE L1 (E2H=1): at each change to vEL1 the page is loaded, at each change to vEL2 it is filled. A
timer that has not fired is then stopped, so that L1 is not interrupted by something it cannot see
in the page. A timer that has fired and is not masked is left as it is: its interrupt is
level-triggered, and L1 is about to acknowledge it. (A CVAL of 0 keeps it asserted whatever happens
to the virtual offset.) From then on each ERET inside vEL2, and each write of a timer that traps,
compares the page with hardware (`SLOW_VTIMER`, `SLOW_PTIMER`), so that L1's masking, stopping or
moving the timer takes effect.

An nVHE L1 (E2H=0) sees hardware: all its accesses trap, and vEL1's timers run on while vEL2 runs,
as they do at real EL2. Firmware at vEL2 uses them as its own. Only CNTVOFF_EL2, which L1 writes in
the page unseen, reaches hardware late: at the next access or change to vEL1.
"""

from vel2.arch import sysregs as sr
from vel2.arch.homes import slot
from vel2.hyp.state import SLOW_PTIMER, SLOW_VTIMER, Vcpu, VncrPage, page_of
from vel2.lang import inline, isb, mrs, msr, resident, u64

CTL = sr.CNTV_CTL_EL0
ENABLE = CTL.ENABLE.mask
ISTATUS = CTL.ISTATUS.mask
STATE = CTL.ENABLE.mask | CTL.IMASK.mask | CTL.ISTATUS.mask
WRITABLE = CTL.ENABLE.mask | CTL.IMASK.mask
ASSERTED = CTL.ENABLE.mask | CTL.ISTATUS.mask

TVAL_MASK = 0xFFFF_FFFF
TVAL_SIGN = 1 << 31

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
def start_timers(vcpu: Vcpu) -> None:
    """Let vEL1's timers run in hardware, from the VNCR page."""
    page = page_of(vcpu)
    msr(sr.CNTV_CVAL_EL0, page.slot[CNTV_CVAL_SLOT])
    msr(sr.CNTV_CTL_EL0, page.slot[CNTV_CTL_SLOT])
    msr(sr.CNTP_CVAL_EL0, page.slot[CNTP_CVAL_SLOT])
    msr(sr.CNTP_CTL_EL0, page.slot[CNTP_CTL_SLOT])
    vcpu.slow_eret = vcpu.slow_eret & ~(SLOW_VTIMER | SLOW_PTIMER)


@resident
def stop_timers(vcpu: Vcpu) -> None:
    """Take vEL1's timers back into the VNCR page and stop those that have not fired."""
    page = page_of(vcpu)
    ctl = mrs(sr.CNTV_CTL_EL0)
    page.slot[CNTV_CTL_SLOT] = ctl
    page.slot[CNTV_CVAL_SLOT] = mrs(sr.CNTV_CVAL_EL0)
    if ctl & STATE == ASSERTED:
        vcpu.slow_eret = vcpu.slow_eret | SLOW_VTIMER
        msr(sr.CNTV_CVAL_EL0, 0)
    elif ctl & ENABLE:
        msr(sr.CNTV_CTL_EL0, 0)
    ctl = mrs(sr.CNTP_CTL_EL0)
    page.slot[CNTP_CTL_SLOT] = ctl
    page.slot[CNTP_CVAL_SLOT] = mrs(sr.CNTP_CVAL_EL0)
    if ctl & STATE == ASSERTED:
        vcpu.slow_eret = vcpu.slow_eret | SLOW_PTIMER
    elif ctl & ENABLE:
        msr(sr.CNTP_CTL_EL0, 0)


@resident
def sync_live_timers(vcpu: Vcpu) -> None:
    """Stop timers left asserted that what L1 has written to the page since would not assert."""
    page = page_of(vcpu)
    if vcpu.slow_eret & SLOW_VTIMER:
        if read_ctl(page, True) != ASSERTED:
            msr(sr.CNTV_CTL_EL0, 0)
            vcpu.slow_eret = vcpu.slow_eret & ~SLOW_VTIMER
    if vcpu.slow_eret & SLOW_PTIMER:
        if read_ctl(page, False) != ASSERTED:
            msr(sr.CNTP_CTL_EL0, 0)
            vcpu.slow_eret = vcpu.slow_eret & ~SLOW_PTIMER


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


@resident
def write_ctl(page: VncrPage, value: u64, is_virtual: bool) -> None:
    """Write CNTV_CTL or CNTP_CTL of vEL1 in the page."""
    if is_virtual:
        page.slot[CNTV_CTL_SLOT] = value & WRITABLE
    else:
        page.slot[CNTP_CTL_SLOT] = value & WRITABLE


@resident
def read_tval(page: VncrPage, is_virtual: bool) -> u64:
    """Read CNTV_TVAL or CNTP_TVAL of vEL1: 32 bits of what is left."""
    cval = page.slot[CNTP_CVAL_SLOT]
    if is_virtual:
        cval = page.slot[CNTV_CVAL_SLOT]
    return u64(cval - counter_of(page, is_virtual)) & TVAL_MASK


@resident
def write_tval(page: VncrPage, value: u64, is_virtual: bool) -> None:
    """Write CNTV_TVAL or CNTP_TVAL of vEL1: a signed distance from now."""
    distance = value & TVAL_MASK
    if distance & TVAL_SIGN:
        distance = distance | ~TVAL_MASK & (1 << 64) - 1
    cval = u64(counter_of(page, is_virtual) + distance)
    if is_virtual:
        page.slot[CNTV_CVAL_SLOT] = cval
    else:
        page.slot[CNTP_CVAL_SLOT] = cval

"""vEL1's timers as a vEL2 with E2H=1 names them: CNTP_*_EL02 and CNTV_*_EL02.

Their registers are in the VNCR page (CVAL as it is). An access that traps and changes something
settles the timer, so that hardware's is what the page says (`timer`).
"""

from vel2.arch import sysregs as sr
from vel2.hyp import timer
from vel2.hyp.state import Vcpu, page_of
from vel2.lang import U64_MAX, inline, resident, u64

__all__ = (
    "read_cntp_ctl",
    "read_cntp_tval",
    "read_cntv_ctl",
    "read_cntv_tval",
    "write_cntp_ctl",
    "write_cntp_cval",
    "write_cntp_tval",
    "write_cntv_ctl",
    "write_cntv_cval",
    "write_cntv_tval",
)

TVAL_MASK = sr.CNTV_TVAL_EL0.TimerValue.mask
TVAL_SIGN = 1 << sr.CNTV_TVAL_EL0.TimerValue.msb


@inline
def read_ctl(vcpu: Vcpu, is_virtual: bool) -> u64:
    """Read CTL; once its timer has fired it need not trap."""
    if vcpu.pcpu.timer_traps & ~vcpu.pcpu.timer_traps_kept != 0:
        timer.settle(vcpu, is_virtual)
    return timer.read_ctl(page_of(vcpu), is_virtual)


@inline
def write_ctl(vcpu: Vcpu, value: u64, slot: u64, is_virtual: bool) -> None:
    """Write CTL."""
    page_of(vcpu).slot[slot] = value & timer.WRITABLE
    timer.settle(vcpu, is_virtual)


@inline
def write_cval(vcpu: Vcpu, value: u64, slot: u64, is_virtual: bool) -> None:
    """Write CVAL."""
    page_of(vcpu).slot[slot] = value
    timer.settle(vcpu, is_virtual)


@inline
def read_tval(vcpu: Vcpu, slot: u64, is_virtual: bool) -> u64:
    """Read TVAL: 32 bits of what is left."""
    page = page_of(vcpu)
    return u64(page.slot[slot] - timer.counter_of(page, is_virtual)) & TVAL_MASK


@inline
def write_tval(vcpu: Vcpu, value: u64, slot: u64, is_virtual: bool) -> None:
    """Write TVAL: a signed distance from now."""
    distance = value & TVAL_MASK
    if distance & TVAL_SIGN:
        distance = distance | U64_MAX & ~TVAL_MASK
    count = timer.counter_of(page_of(vcpu), is_virtual)
    write_cval(vcpu, u64(count + distance), slot, is_virtual)


@resident
def read_cntv_ctl(vcpu: Vcpu) -> u64:
    """Read CNTV_CTL_EL02."""
    return read_ctl(vcpu, True)


@resident
def write_cntv_ctl(vcpu: Vcpu, value: u64) -> None:
    """Write CNTV_CTL_EL02."""
    write_ctl(vcpu, value, timer.CNTV_CTL_SLOT, True)


@resident
def write_cntv_cval(vcpu: Vcpu, value: u64) -> None:
    """Write CNTV_CVAL_EL02."""
    write_cval(vcpu, value, timer.CNTV_CVAL_SLOT, True)


@resident
def read_cntv_tval(vcpu: Vcpu) -> u64:
    """Read CNTV_TVAL_EL02."""
    return read_tval(vcpu, timer.CNTV_CVAL_SLOT, True)


@resident
def write_cntv_tval(vcpu: Vcpu, value: u64) -> None:
    """Write CNTV_TVAL_EL02."""
    write_tval(vcpu, value, timer.CNTV_CVAL_SLOT, True)


@resident
def read_cntp_ctl(vcpu: Vcpu) -> u64:
    """Read CNTP_CTL_EL02."""
    return read_ctl(vcpu, False)


@resident
def write_cntp_ctl(vcpu: Vcpu, value: u64) -> None:
    """Write CNTP_CTL_EL02."""
    write_ctl(vcpu, value, timer.CNTP_CTL_SLOT, False)


@resident
def write_cntp_cval(vcpu: Vcpu, value: u64) -> None:
    """Write CNTP_CVAL_EL02."""
    write_cval(vcpu, value, timer.CNTP_CVAL_SLOT, False)


@resident
def read_cntp_tval(vcpu: Vcpu) -> u64:
    """Read CNTP_TVAL_EL02."""
    return read_tval(vcpu, timer.CNTP_CVAL_SLOT, False)


@resident
def write_cntp_tval(vcpu: Vcpu, value: u64) -> None:
    """Write CNTP_TVAL_EL02."""
    write_tval(vcpu, value, timer.CNTP_CVAL_SLOT, False)

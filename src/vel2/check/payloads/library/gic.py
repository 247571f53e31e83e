"""The board's GICv3, as far as the payloads need it."""

from vel2.arch import sysregs as sr
from vel2.arch.gicv3 import FRAME_BYTES, GICR_ISACTIVER0
from vel2.arch.pstate import PSTATE_DAIF, M_EL2h
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.assembly import LOWER_AARCH64_IRQ
from vel2.check.payloads.library.checks import expect
from vel2.check.payloads.library.controls import HCR_GUEST
from vel2.check.payloads.library.guest import enter_guest, run_guest
from vel2.lang import (
    bytes_address,
    isb,
    mrs,
    msr,
    resident,
    symbol_address,
    u64,
)
from vel2.runtime.device import read_word
from vel2.runtime.gic import open_cpu_interface, start_gic

GICD = 0x0800_0000
GICR = 0x080A_0000
ALL_INTIDS = 0xFFFF_FFFF
PPI_MAINTENANCE = 25
PPI_HPTIMER = 26
PPI_VTIMER = 27
PPI_HVTIMER = 28
PPI_PTIMER = 30
SPURIOUS = 1023
DELAY_SHIFT = 10
"""A timer fires after this fraction of a second: as a rule, L2 runs by then."""
LATER_SHIFT = 6
"""A timer that must not fire before L2 has exited again is this fraction of a second ahead."""
HCR_IRQ = HCR_GUEST | sr.HCR_EL2.compose(IMO=1, FMO=1, AMO=1)
ENABLE = 1
"""CNT*_CTL.ENABLE."""
EOI_MODE = sr.ICC_CTLR_EL1.EOImode.mask


@resident
def gic_init() -> None:
    """Enable the SGIs and PPIs as Group 1 interrupts of this PE."""
    msr(sr.ICC_SRE_EL2, sr.ICC_SRE_EL2.compose(SRE=1, DFB=1, DIB=1, Enable=1))
    isb()
    start_gic(GICD, GICR, ALL_INTIDS)
    open_cpu_interface()


@resident
def soon() -> u64:
    """Give a physical count a little ahead."""
    isb()
    return u64(mrs(sr.CNTPCT_EL0) + (mrs(sr.CNTFRQ_EL0) >> DELAY_SHIFT))


@resident
def later() -> u64:
    """Give a physical count that L2's few instructions do not reach."""
    isb()
    return u64(mrs(sr.CNTPCT_EL0) + (mrs(sr.CNTFRQ_EL0) >> LATER_SHIFT))


@resident
def acknowledge(state: State, intid: u64) -> None:
    """Acknowledge an interrupt that its source still asserts, and require this INTID."""
    expect(state, bytes_address(b"intid\0"), mrs(sr.ICC_IAR1_EL1), intid)


@resident
def end_interrupt(intid: u64) -> None:
    """End an interrupt whose source is silent."""
    isb()
    msr(sr.ICC_EOIR1_EL1, intid)
    isb()


@resident
def is_active(intid: u64) -> u64:
    """Give 1 if an SGI or PPI is active."""
    return read_word(GICR + FRAME_BYTES + GICR_ISACTIVER0) >> intid & 1


@resident
def return_to_el2(state: State) -> u64:
    """Make an exception return to EL2 itself, and come back.

    Under FEAT_NV2 L0 cannot see that L1 writes a guest's timer or ICH_* (the write goes to memory).
    An asserted one is silenced at L1's next exception return, so a payload looks after one.
    """
    state.guest_pc = symbol_address("guest_hvc")
    state.guest_pstate = PSTATE_DAIF | M_EL2h
    return run_guest()


@resident
def start_hptimer(when: u64) -> None:
    """Let EL2's physical timer fire at a count."""
    msr(sr.CNTHP_CVAL_EL2, when)
    msr(sr.CNTHP_CTL_EL2, ENABLE)
    isb()


@resident
def take_hptimer(state: State) -> None:
    """Acknowledge the interrupt of EL2's physical timer, silence it and end it."""
    acknowledge(state, PPI_HPTIMER)
    msr(sr.CNTHP_CTL_EL2, 0)
    end_interrupt(PPI_HPTIMER)


@resident
def interrupt_l2(state: State) -> None:
    """Let L2 loop with interrupts masked until one comes to EL2."""
    state.vector = enter_guest(state, symbol_address("l2_loop"), 0, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_IRQ)

"""The board's GICv3, as far as the payloads need it.

Registers that a hypervisor may emulate are accessed as drivers do it, by a load or store of one
register without writeback. A compiler might choose another instruction.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF, M_EL2h
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.assembly import LOWER_AARCH64_IRQ
from vel2.check.payloads.library.checks import expect
from vel2.check.payloads.library.controls import HCR_GUEST
from vel2.check.payloads.library.guest import enter_guest, run_guest
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    extern,
    isb,
    load_u32,
    mrs,
    msr,
    resident,
    store_u32,
    symbol_address,
    u64,
)

GICD_CTLR = 0x0800_0000
GICR = 0x080A_0000
GICR_WAKER = GICR + 0x14
GICR_SGI = GICR + 0x1_0000
GICR_IGROUPR0 = GICR_SGI + 0x80
GICR_ISENABLER0 = GICR_SGI + 0x100
GICR_ISACTIVER0 = GICR_SGI + 0x300
PROCESSOR_SLEEP = 1 << 1
CHILDREN_ASLEEP = 1 << 2
ENABLE_GROUP1_ARE = 1 << 4 | 1 << 1
RWP = 1 << 31
ALL_PRIORITIES = 0xFF
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


@extern("read_long")
def read_long(address: u64) -> u64:
    """Load eight bytes."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("write_long")
def write_long(address: u64, value: u64) -> None:
    """Store eight bytes."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("read_word")
def read_word(address: u64) -> u64:
    """Load four bytes."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("write_word")
def write_word(address: u64, value: u64) -> None:
    """Store four bytes."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("read_byte")
def read_byte(address: u64) -> u64:
    """Load one byte."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("write_byte")
def write_byte(address: u64, value: u64) -> None:
    """Store one byte."""
    raise NotImplementedError("a payload runs on AArch64")


@resident
def gic_init() -> None:
    """Enable the SGIs and PPIs as Group 1 interrupts of this PE."""
    msr(sr.ICC_SRE_EL2, sr.ICC_SRE_EL2.compose(SRE=1, DFB=1, DIB=1, Enable=1))
    isb()
    store_u32(PA(GICD_CTLR), ENABLE_GROUP1_ARE)
    while load_u32(PA(GICD_CTLR)) & RWP:
        pass
    write_word(GICR_WAKER, read_word(GICR_WAKER) & ~PROCESSOR_SLEEP)
    while read_word(GICR_WAKER) & CHILDREN_ASLEEP:
        pass
    store_u32(PA(GICR_IGROUPR0), 0xFFFF_FFFF)
    store_u32(PA(GICR_ISENABLER0), 0xFFFF_FFFF)
    dsb_sy()
    msr(sr.ICC_PMR_EL1, ALL_PRIORITIES)
    msr(sr.ICC_CTLR_EL1, 0)
    msr(sr.ICC_IGRPEN1_EL1, 1)
    isb()


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
    return load_u32(PA(GICR_ISACTIVER0)) >> intid & 1


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

"""The operations that the payload repeats: one function in the subset for each.

Each is expanded inside the timed loop, which adds three instructions of its own. The operation
`null` shows what those cost.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.arch.psci import PSCI_VERSION
from vel2.bench.layout import BLOCK_BYTES, MAX_BLOCKS, MAX_COUNT, PAGE_BYTES, State
from vel2.bench.masks import mask_interrupts, unmask_interrupts
from vel2.bench.others import call
from vel2.guests.l2tree import L2_GICD_BASE, L2_GICR_BASE, L2_UART_BASE
from vel2.lang import (
    PA,
    dsb_ish,
    inline,
    isb,
    load_u32,
    load_u64,
    mrs,
    msr,
    store_u32,
    store_u64,
    sysop,
    u64,
    vload,
    wfi,
    yield_,
)
from vel2.runtime.psci import firmware_call

__all__ = ("OPERATIONS", "Operation", "operation_names", "unavailable")

UNKNOWN_FUNCTION = 0x8600_FF01
NO_DEVICE = L2_UART_BASE + 0x800
"""An address in the UART's page without a register: reads give zero, writes do nothing."""
GICD_IIDR = L2_GICD_BASE + 0x8
GICR_TYPER = L2_GICR_BASE + 0x8
SGI = 0
TO_SELF = 1 << SGI
"""ICC_SGI1R_EL1: SGI 0 to the PE with affinity 0.0.0.0."""
ENABLE = 1
FAR_AHEAD = 1 << 40
WFI_TICKS = 20_000

EL1_CONTEXT = (
    sr.TTBR0_EL1,
    sr.TTBR1_EL1,
    sr.TCR_EL1,
    sr.MAIR_EL1,
    sr.AMAIR_EL1,
    sr.VBAR_EL1,
    sr.CONTEXTIDR_EL1,
    sr.TPIDR_EL0,
    sr.TPIDRRO_EL0,
    sr.TPIDR_EL1,
    sr.SP_EL0,
    sr.ELR_EL1,
    sr.SPSR_EL1,
    sr.ESR_EL1,
    sr.FAR_EL1,
    sr.AFSR0_EL1,
    sr.AFSR1_EL1,
    sr.PAR_EL1,
    sr.CNTKCTL_EL1,
)


@inline
def await_interrupt(state: State, before: u64) -> None:
    """Wait until the handler has taken one more interrupt than `before`."""
    while vload(state, "interrupts") == before:
        pass


@inline
def null(state: State) -> None:
    """Do nothing: what an ISB and the loop cost."""
    isb()


@inline
def hypercall_known(state: State) -> None:
    """Ask for PSCI's version, which L1's kernel answers."""
    firmware_call(PSCI_VERSION)


@inline
def hypercall_unknown(state: State) -> None:
    """Make a call to an unknown function."""
    firmware_call(UNKNOWN_FUNCTION)


@inline
def mmio_read(state: State) -> None:
    """Read where L1's user space answers."""
    load_u32(PA(NO_DEVICE))


@inline
def mmio_write(state: State) -> None:
    """Write where L1's user space answers."""
    store_u32(PA(NO_DEVICE), 1)


@inline
def gicd_read(state: State) -> None:
    """Read GICD_IIDR, which L1's kernel emulates."""
    load_u32(PA(GICD_IIDR))


@inline
def gicr_read(state: State) -> None:
    """Read GICR_TYPER, which L1's kernel emulates."""
    load_u32(PA(GICR_TYPER))


@inline
def id_register(state: State) -> None:
    """Read an ID register of group 3, which L1 traps by HCR_EL2.TID3."""
    mrs(sr.ID_AA64PFR0_EL1)


@inline
def sctlr(state: State) -> None:
    """Read and write SCTLR_EL1, which need not trap."""
    msr(sr.SCTLR_EL1, mrs(sr.SCTLR_EL1))
    isb()


@inline
def el1_context(state: State) -> None:
    """Read and write what a kernel switches between processes, which need not trap."""
    for register in EL1_CONTEXT:
        msr(register, mrs(register))
    isb()


@inline
def self_sgi(state: State) -> None:
    """Send an SGI to this PE and take it."""
    before = vload(state, "interrupts")
    msr(sr.ICC_SGI1R_EL1, TO_SELF)
    isb()
    await_interrupt(state, before)


@inline
def acknowledge_sgi(state: State) -> None:
    """Make an SGI active: send it to this PE, with interrupts masked, and acknowledge it."""
    mask_interrupts()
    msr(sr.ICC_SGI1R_EL1, TO_SELF)
    isb()
    while mrs(sr.ICC_IAR1_EL1) != SGI:
        pass


@inline
def eoi(state: State) -> None:
    """End an active interrupt, which need not trap."""
    msr(sr.ICC_EOIR1_EL1, SGI)
    isb()


@inline
def vtimer_program(state: State) -> None:
    """Set the virtual timer and stop it again."""
    msr(sr.CNTV_CVAL_EL0, u64(mrs(sr.CNTVCT_EL0) + FAR_AHEAD))
    msr(sr.CNTV_CTL_EL0, ENABLE)
    isb()
    msr(sr.CNTV_CTL_EL0, 0)


@inline
def ptimer_program(state: State) -> None:
    """Set the physical timer and stop it again."""
    msr(sr.CNTP_CVAL_EL0, u64(mrs(sr.CNTVCT_EL0) + FAR_AHEAD))
    msr(sr.CNTP_CTL_EL0, ENABLE)
    isb()
    msr(sr.CNTP_CTL_EL0, 0)


@inline
def vtimer_interrupt(state: State) -> None:
    """Let the virtual timer fire at once and take its interrupt."""
    before = vload(state, "interrupts")
    msr(sr.CNTV_TVAL_EL0, 0)
    msr(sr.CNTV_CTL_EL0, ENABLE)
    isb()
    await_interrupt(state, before)


@inline
def ptimer_interrupt(state: State) -> None:
    """Let the physical timer fire at once and take its interrupt."""
    before = vload(state, "interrupts")
    msr(sr.CNTP_TVAL_EL0, 0)
    msr(sr.CNTP_CTL_EL0, ENABLE)
    isb()
    await_interrupt(state, before)


@inline
def wfi_timer(state: State) -> None:
    """Sleep in WFI until the virtual timer, 20,000 ticks ahead, and take its interrupt."""
    before = vload(state, "interrupts")
    mask_interrupts()
    msr(sr.CNTV_TVAL_EL0, WFI_TICKS)
    msr(sr.CNTV_CTL_EL0, ENABLE)
    isb()
    wfi()
    unmask_interrupts()
    await_interrupt(state, before)


@inline
def remote_sgi(state: State) -> None:
    """Send an SGI to the second vCPU, which runs, and take the SGI that it answers by."""
    before = vload(state, "interrupts")
    call()
    while vload(state, "interrupts") == before:
        yield_()


@inline
def remote_wake(state: State) -> None:
    """Do the same while the second vCPU sleeps in WFI, and sleep in WFI until it answers."""
    before = vload(state, "interrupts")
    mask_interrupts()
    call()
    wfi()
    unmask_interrupts()
    await_interrupt(state, before)


@inline
def tlbi(state: State) -> None:
    """Drop all TLB entries of EL1 and EL0, which need not trap."""
    dsb_ish()
    sysop(TLBI.VMALLE1IS)
    dsb_ish()
    isb()


@inline
def stage2_fault(state: State) -> None:
    """Read, then write, a page that L1 has not given yet: Linux takes several exits for it."""
    page = state.fresh
    load_u64(PA(page))
    store_u64(PA(page), 1)
    state.fresh = u64(page + PAGE_BYTES)


@inline
def stage2_fault_2m(state: State) -> None:
    """Read, then write, 2 MiB that L1 has as one huge page and stage 2 does not map yet."""
    block = state.fresh_block
    load_u64(PA(block))
    store_u64(PA(block), 1)
    state.fresh_block = u64(block + BLOCK_BYTES)


@inline
def nothing(state: State) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Operation:
    """One row.

    :ivar divisor: it is done this many times less often than others.
    :ivar most: it is done at most this often.
    :ivar prepare: done before each one, and not measured. Traps and exits are then those of single
        operations, and each is timed by itself.
    :ivar sleeps: time passes in it while no level executes anything.
    :ivar vcpus: how many it takes. :ivar others_spin: the others wait without WFI meanwhile.
    :ivar together: all vCPUs do it at once, and what one costs is the time by all they did.
    """

    name: str
    run: Callable[[State], None]
    divisor: int = 1
    most: int = MAX_COUNT
    prepare: Callable[[State], None] = nothing
    sleeps: bool = False
    vcpus: int = 1
    others_spin: bool = False
    together: bool = False

    @property
    def is_prepared(self) -> bool:
        """Whether there is something to prepare."""
        return self.prepare is not nothing

    @property
    def text(self) -> bytes:
        """The name as the payload prints it."""
        return self.name.encode() + b"\0"


OPERATIONS = (
    Operation("null", null),
    Operation("hypercall", hypercall_known),
    Operation("hypercall_unknown", hypercall_unknown),
    Operation("mmio_read", mmio_read),
    Operation("mmio_write", mmio_write),
    Operation("gicd_read", gicd_read),
    Operation("gicr_read", gicr_read),
    Operation("id_register", id_register),
    Operation("sctlr", sctlr),
    Operation("el1_context", el1_context),
    Operation("self_sgi", self_sgi),
    Operation("eoi", eoi, prepare=acknowledge_sgi),
    Operation("vtimer_program", vtimer_program),
    Operation("ptimer_program", ptimer_program),
    Operation("vtimer_interrupt", vtimer_interrupt),
    Operation("ptimer_interrupt", ptimer_interrupt),
    Operation("wfi_timer", wfi_timer, divisor=4, sleeps=True),
    Operation("remote_sgi", remote_sgi, vcpus=2, others_spin=True),
    Operation("remote_wake", remote_wake, vcpus=2, sleeps=True),
    Operation("hypercall_all", hypercall_known, vcpus=2, together=True),
    Operation("tlbi", tlbi),
    Operation("stage2_fault", stage2_fault),
    Operation("stage2_fault_2m", stage2_fault_2m, divisor=10, most=MAX_BLOCKS),
)
"""The order is that of the payload, the columns of the result and the table."""


def unavailable(vcpus: int) -> dict[str, str]:
    """Say which operations cannot be measured with so many vCPUs, and why."""
    return {
        operation.name: f"it takes {operation.vcpus} vCPUs; give --smp {operation.vcpus} or more."
        for operation in OPERATIONS
        if operation.vcpus > vcpus
    }


def operation_names() -> tuple[str, ...]:
    """Give the names, in order."""
    return tuple(operation.name for operation in OPERATIONS)

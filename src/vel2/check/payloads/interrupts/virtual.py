"""The part of `interrupts` about virtual interrupts: list registers, maintenance, HCR_EL2.VI."""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import M_EL1h
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.assembly import HVC_DONE, LOWER_AARCH64_IRQ
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import set_hcr
from vel2.check.payloads.library.gic import (
    EOI_MODE,
    HCR_IRQ,
    PPI_HPTIMER,
    PPI_MAINTENANCE,
    PPI_VTIMER,
    SPURIOUS,
    acknowledge,
    end_interrupt,
    interrupt_l2,
    is_active,
    soon,
    start_hptimer,
)
from vel2.check.payloads.library.guest import enter_at, enter_guest, is_hvc
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64
from vel2.runtime.gic import ALL_PRIORITIES

LR = sr.ICH_LR0_EL2
ICH = sr.ICH_HCR_EL2
MISR = sr.ICH_MISR_EL2
VMCR = sr.ICH_VMCR_EL2
PENDING, ACTIVE = 1, 2
LR_EOI = 1 << 41
VIRQ = 42
PENDING_VIRQ = LR.compose(State=PENDING, Group=1, Priority=0x80, vINTID=VIRQ)
VMCR_OPEN = VMCR.compose(VPMR=ALL_PRIORITIES, VENG1=1)
EL1_IRQ, EL1_FIQ, EL1_SERROR = 0x85, 0x86, 0x87
"""What L2's vectors report: an exception from EL1 with SP_EL1."""


@resident
def expect_hvc(state: State, what: u64, immediate: u64) -> None:
    """Require that L2 exited by this HVC."""
    got = u64(state.vector << 16 | state.esr & 0xFFFF)
    if not is_hvc(state, immediate):
        expect(state, what, got, immediate)


@resident
def run_unmasked(state: State, code: u64) -> None:
    """Run L2's code at EL1h with all interrupts enabled."""
    state.vector = enter_at(state, M_EL1h, code, 0, 0)


@resident
def interrupted_l2(state: State) -> None:
    """Let L2 loop with interrupts enabled until its EL1 takes one."""
    run_unmasked(state, symbol_address("l2_loop"))
    expect_hvc(state, bytes_address(b"irq\0"), EL1_IRQ)


@resident
def l2_acknowledge(state: State) -> u64:
    """Let L2 read ICC_IAR1_EL1."""
    state.vector = enter_guest(state, symbol_address("l2_ack"), 0, 0)
    expect_hvc(state, bytes_address(b"ack\0"), HVC_DONE)
    return state.x[1]


@resident
def l2_end(state: State, intid: u64) -> None:
    """Let L2 write ICC_EOIR1_EL1."""
    state.vector = enter_guest(state, symbol_address("l2_eoi"), intid, 0)
    expect_hvc(state, bytes_address(b"eoi\0"), HVC_DONE)


@resident
def list_registers(state: State) -> None:
    """Check a virtual interrupt from pending to ended, and the ways of masking it."""
    begin(state, bytes_address(b"lr\0"), NO_SUBJECT)
    msr(sr.ICH_VMCR_EL2, VMCR_OPEN)
    msr(sr.ICH_LR0_EL2, PENDING_VIRQ)
    msr(sr.ICH_HCR_EL2, ICH.En.mask)
    isb()
    expect(state, bytes_address(b"elrsr\0"), mrs(sr.ICH_ELRSR_EL2) & 1, 0)
    interrupted_l2(state)
    elr = mrs(sr.ELR_EL12)
    expect(state, bytes_address(b"elr_el1\0"), elr, symbol_address("l2_loop"))
    expect(state, bytes_address(b"iar\0"), l2_acknowledge(state), VIRQ)
    lr = mrs(sr.ICH_LR0_EL2)
    expect(state, bytes_address(b"active\0"), LR.State.get(lr), ACTIVE)
    expect(state, bytes_address(b"again\0"), l2_acknowledge(state), SPURIOUS)
    l2_end(state, VIRQ)
    expect(state, bytes_address(b"ended\0"), LR.State.get(mrs(sr.ICH_LR0_EL2)), 0)
    expect(state, bytes_address(b"free\0"), mrs(sr.ICH_ELRSR_EL2) & 1, 1)
    end(state)
    quiet()


MASKED = (
    (b"lr-masked-by-pmr\0", VMCR.compose(VPMR=0x80, VENG1=1), ICH.En.mask, PENDING_VIRQ),
    (b"lr-group-disabled\0", VMCR.compose(VPMR=ALL_PRIORITIES), ICH.En.mask, PENDING_VIRQ),
    (b"lr-interface-disabled\0", VMCR_OPEN, 0, PENDING_VIRQ),
    (b"lr-empty\0", VMCR_OPEN, ICH.En.mask, 0),
)


@resident
def masked(state: State) -> None:
    """Check the ways in which a virtual interrupt is not delivered."""
    for name, vmcr, hcr, lr in MASKED:
        begin(state, bytes_address(name), NO_SUBJECT)
        load(hcr, lr, vmcr)
        run_unmasked(state, symbol_address("guest_hvc"))
        expect_hvc(state, bytes_address(b"not-masked\0"), HVC_DONE)
        end(state)
    quiet()


@resident
def opened_by_l2(state: State) -> None:
    """Check that L2 itself can let a pending virtual interrupt in."""
    begin(state, bytes_address(b"l2-opens-its-interface\0"), NO_SUBJECT)
    msr(sr.ICH_VMCR_EL2, 0)
    msr(sr.ICH_LR0_EL2, PENDING_VIRQ)
    msr(sr.ICH_HCR_EL2, ICH.En.mask)
    isb()
    code = symbol_address("l2_enable_group1")
    state.vector = enter_guest(state, code, ALL_PRIORITIES, 0)
    expect_hvc(state, bytes_address(b"open\0"), HVC_DONE)
    vmcr = mrs(sr.ICH_VMCR_EL2)
    expect(state, bytes_address(b"vpmr\0"), VMCR.VPMR.get(vmcr), state.x[1])
    expect(state, bytes_address(b"veng1\0"), VMCR.VENG1.get(vmcr), 1)
    interrupted_l2(state)
    expect(state, bytes_address(b"iar\0"), l2_acknowledge(state), VIRQ)
    l2_end(state, VIRQ)
    end(state)
    quiet()


@resident
def load(hcr: u64, lr: u64, vmcr: u64) -> None:
    """Write ICH_HCR_EL2, ICH_LR0_EL2 and ICH_VMCR_EL2."""
    msr(sr.ICH_VMCR_EL2, vmcr)
    msr(sr.ICH_LR0_EL2, lr)
    msr(sr.ICH_HCR_EL2, hcr)
    isb()


@resident
def quiet() -> None:
    """Turn the virtual interface off."""
    load(0, 0, VMCR_OPEN)


@resident
def hardware_list_register(state: State) -> None:
    """Check that L2's EOI of a HW list register deactivates the physical interrupt."""
    begin(state, bytes_address(b"lr-hw\0"), NO_SUBJECT)
    msr(sr.ICC_CTLR_EL1, EOI_MODE)
    isb()
    msr(sr.CNTV_CVAL_EL02, 0)
    msr(sr.CNTV_CTL_EL02, 1)
    isb()
    interrupt_l2(state)
    acknowledge(state, PPI_VTIMER)
    end_interrupt(PPI_VTIMER)
    expect(state, bytes_address(b"active\0"), is_active(PPI_VTIMER), 1)
    lr = LR.compose(State=PENDING, HW=1, Group=1, Priority=0x80, pINTID=27, vINTID=27)
    msr(sr.ICH_LR0_EL2, lr)
    msr(sr.ICH_HCR_EL2, ICH.En.mask)
    isb()
    interrupted_l2(state)
    expect(state, bytes_address(b"iar\0"), l2_acknowledge(state), PPI_VTIMER)
    msr(sr.CNTV_CTL_EL02, 0)
    isb()
    l2_end(state, PPI_VTIMER)
    expect(state, bytes_address(b"ended\0"), LR.State.get(mrs(sr.ICH_LR0_EL2)), 0)
    expect(state, bytes_address(b"inactive\0"), is_active(PPI_VTIMER), 0)
    msr(sr.ICC_CTLR_EL1, 0)
    end(state)
    quiet()


MAINTENANCE = (
    (b"maintenance-uie\0", ICH.compose(En=1, UIE=1), 0, VMCR_OPEN, MISR.U.mask),
    (b"maintenance-npie\0", ICH.compose(En=1, NPIE=1), 0, VMCR_OPEN, MISR.NP.mask),
    (b"maintenance-eoi\0", ICH.compose(En=1), LR_EOI, VMCR_OPEN, MISR.EOI.mask),
    (b"maintenance-lrenp\0", ICH.compose(En=1, LRENPIE=1, EOIcount=1), 0, 0, MISR.LRENP.mask),
    (b"maintenance-vgrp1e\0", ICH.compose(En=1, VGrp1EIE=1), 0, VMCR_OPEN, MISR.VGrp1E.mask),
    (b"maintenance-vgrp1d\0", ICH.compose(En=1, VGrp1DIE=1), 0, 0, MISR.VGrp1D.mask),
)
"""ICH_HCR_EL2, ICH_LR0_EL2, ICH_VMCR_EL2, and what ICH_MISR_EL2 must then be."""


@resident
def maintenance(state: State) -> None:
    """Check each cause of the maintenance interrupt while L2 runs, and how it is silenced."""
    for name, hcr, lr, vmcr, misr in MAINTENANCE:
        begin(state, bytes_address(name), NO_SUBJECT)
        load(hcr, lr, vmcr)
        interrupt_l2(state)
        expect(state, bytes_address(b"misr\0"), mrs(sr.ICH_MISR_EL2), misr)
        expect(state, bytes_address(b"eisr\0"), mrs(sr.ICH_EISR_EL2), u64(lr >> 41 & 1))
        acknowledge_maintenance(state)
        quiet()
        expect(state, bytes_address(b"misr-off\0"), mrs(sr.ICH_MISR_EL2), 0)
        state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
        expect_hvc(state, bytes_address(b"quiet\0"), HVC_DONE)
        end(state)
    eoi_by_l2(state)


@resident
def acknowledge_maintenance(state: State) -> None:
    """Acknowledge the maintenance interrupt, which is still asserted, and end it once it is not.

    There is no ERET in between: a hypervisor may acknowledge in a loop until nothing is left.
    """
    acknowledge(state, PPI_MAINTENANCE)
    quiet()
    end_interrupt(PPI_MAINTENANCE)
    acknowledge(state, SPURIOUS)


@resident
def eoi_by_l2(state: State) -> None:
    """Check the maintenance interrupt that L2's EOI of a list register with EOI set causes."""
    begin(state, bytes_address(b"maintenance-eoi-by-l2\0"), NO_SUBJECT)
    msr(sr.ICH_LR0_EL2, PENDING_VIRQ | LR_EOI)
    msr(sr.ICH_HCR_EL2, ICH.En.mask)
    isb()
    interrupted_l2(state)
    expect(state, bytes_address(b"iar\0"), l2_acknowledge(state), VIRQ)
    state.vector = enter_guest(state, symbol_address("l2_eoi"), VIRQ, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_IRQ)
    expect(state, bytes_address(b"eisr\0"), mrs(sr.ICH_EISR_EL2), 1)
    acknowledge_maintenance(state)
    end(state)


PINNED = (
    (b"vi\0", HCR_IRQ | sr.HCR_EL2.VI.mask, EL1_IRQ),
    (b"vf\0", HCR_IRQ | sr.HCR_EL2.VF.mask, EL1_FIQ),
    (b"vse\0", HCR_IRQ | sr.HCR_EL2.VSE.mask, EL1_SERROR),
)


@resident
def without_gic(state: State) -> None:
    """Check HCR_EL2.{VI, VF, VSE}: delivered when L2 has them unmasked, and not when masked."""
    for name, hcr, hvc in PINNED:
        begin(state, bytes_address(name), NO_SUBJECT)
        set_hcr(hcr)
        isb()
        state.vector = enter_guest(state, symbol_address("guest_hvc"), 0, 0)
        expect_hvc(state, bytes_address(b"masked\0"), HVC_DONE)
        run_unmasked(state, symbol_address("l2_loop"))
        expect_hvc(state, bytes_address(b"unmasked\0"), hvc)
        vse = mrs(sr.HCR_EL2) & sr.HCR_EL2.VSE.mask
        expect(state, bytes_address(b"vse-taken\0"), vse, 0)
        set_hcr(HCR_IRQ)
        isb()
        end(state)


@resident
def physical_to_l2(state: State) -> None:
    """Check that with HCR_EL2.IMO=0 a physical interrupt is L2's: it takes and acknowledges it."""
    begin(state, bytes_address(b"l2-physical\0"), NO_SUBJECT)
    isb()
    start_hptimer(soon())
    interrupted_l2(state)
    expect(state, bytes_address(b"iar\0"), l2_acknowledge(state), PPI_HPTIMER)
    msr(sr.CNTHP_CTL_EL2, 0)
    isb()
    l2_end(state, PPI_HPTIMER)
    expect(state, bytes_address(b"inactive\0"), is_active(PPI_HPTIMER), 0)
    end(state)

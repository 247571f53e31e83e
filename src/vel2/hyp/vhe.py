"""E2H where L1 can change it, and how it reads where L1 cannot.

With FEAT_NV alone a write of HCR_EL2 traps, so L1 may turn FEAT_VHE on and off, as Linux does on
hardware; every layout changes with it, and so does which register carries what. EL2&0 and EL2 are
two translation regimes, which hardware's EL1&0 stands for in turn: what the TLB has of the one is
not the other's. Under FEAT_NV2 the write goes to the VNCR page unseen, so E2H is fixed, and the
identification registers say so.
"""

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.hyp import controls, monitors, optional, selectors, timer
from vel2.hyp.exception import held_spsr, spsr_of
from vel2.hyp.hcr import l1_hcr, set_l1_hcr
from vel2.hyp.homes import ALWAYS
from vel2.hyp.state import GUEST_NVHE, Vcpu, vm_of
from vel2.lang import dsb_ish, inline, mrs, msr, resident, sysop, u64

__all__ = ("forget_regime", "show_e2h", "write_hcr")

E2H = sr.HCR_EL2.E2H.mask


@inline
def show_e2h(vcpu: Vcpu) -> None:
    """Make HCR_EL2.E2H read as 1 where it is RES1: under FEAT_NV2 L1 writes it unseen.

    Kernels that do not know ID_AA64MMFR4_EL1.E2H0 find out by writing 0 and reading back, with
    accesses that trap in between.
    """
    if vcpu.e2h != 0:
        set_l1_hcr(vcpu, l1_hcr(vcpu) | E2H)


@resident
def write_hcr(vcpu: Vcpu, value: u64) -> None:
    """Write HCR_EL2, which traps with FEAT_NV alone."""
    allowed = value
    if vm_of(vcpu).config.guest_kind == GUEST_NVHE:
        allowed = value & ~E2H
    set_l1_hcr(vcpu, allowed)
    if allowed & E2H != 0 and vcpu.e2h == 0:
        turn_on(vcpu)
    elif allowed & E2H == 0 and vcpu.e2h != 0:
        turn_off(vcpu)


@inline
def forget_regime() -> None:
    """Empty this pcpu's TLB of vEL2's stage 1, under the canonical VMID, which is loaded."""
    sysop(TLBI.VMALLE1)
    dsb_ish()


@resident
def turn_on(vcpu: Vcpu) -> None:
    """Set E2H: the context's copies are the values of E2H=0, and hardware gets them as they are."""
    for row in ALWAYS:
        if row.traps_nvhe and not row.common_nvhe:
            msr(row.hardware, vcpu.vel2.el1[row.index])
    vcpu.vel1.el1[controls.CNTKCTL_INDEX] = mrs(sr.CNTKCTL_EL1)
    msr(sr.CNTKCTL_EL1, vcpu.vel2.memory[controls.CNTHCTL_INDEX])
    spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
    vcpu.e2h = 1
    optional.load_vel2(vcpu)
    msr(sr.SPSR_EL1, held_spsr(vcpu, spsr))
    timer.stop_timers(vcpu)
    load_controls(vcpu)
    forget_regime()


@resident
def turn_off(vcpu: Vcpu) -> None:
    """Clear E2H: what hardware has goes to the context, and hardware gets its translation."""
    for row in ALWAYS:
        if row.traps_nvhe and not row.common_nvhe:
            vcpu.vel2.el1[row.index] = mrs(row.hardware)
            msr(row.hardware, row.to_el1(vcpu.vel2.el1[row.index]))
    vcpu.vel2.memory[controls.CNTHCTL_INDEX] = controls.l1_cnthctl(vcpu, mrs(sr.CNTKCTL_EL1))
    msr(sr.CNTKCTL_EL1, vcpu.vel1.el1[controls.CNTKCTL_INDEX])
    spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
    optional.save_vel2(vcpu)
    vcpu.e2h = 0
    optional.load_vel2(vcpu)
    msr(sr.SPSR_EL1, held_spsr(vcpu, spsr))
    timer.start_timers(vcpu)
    vcpu.pcpu.timer_traps = timer.TRAPS_WITHOUT_E2H
    load_controls(vcpu)
    forget_regime()


@resident
def load_controls(vcpu: Vcpu) -> None:
    """Give hardware the controls of vEL2 under the new E2H."""
    monitors.load_mdcr(vcpu)
    controls.load_for_vel2(vcpu)
    selectors.refresh(vcpu)

"""The virtual EL2 state framework: which context hardware's EL1 holds, and moving between them.

Invariants. Hardware holds exactly one context. In the *hyp* context (vEL2 and, for a VHE L1, its
EL0) the EL1 registers carry L1's EL2 registers, stage 2 is the canonical one, HCR_EL2.{NV,NV2} are
set, and vEL1's registers are in the VNCR page, where L1 reads and writes them without a trap. In
the *vEL1* context hardware's EL1 registers are vEL1's as they are (nothing is shadow), stage 2 is
the shadow, the trap controls are L0's OR L1's, and L1's ICH_* state and timers of the VNCR page are
live.

`restore_cpu_context` takes back into memory what the guest may have changed; `setup_cpu_context`
makes hardware what the vCPU's current context needs. A change of context is one, the change of
`vcpu.context`, and the other. ERET is the only way out of vEL2 and every exception to vEL2 comes
through L0, so L0 always knows which context runs.
"""

from vel2.arch import sysregs as sr
from vel2.hyp import breakpoints, controls, finegrained, gic, hcrx, optional, stage2, sve, timer
from vel2.hyp.homes import ALWAYS, slot
from vel2.hyp.state import (
    CONTEXT_VEL1,
    CONTEXT_VEL2,
    FGT_LOADED,
    HCRX_LOADED,
    SLOW_VEL1,
    VNCR_LOADED,
    VSE_LOADED,
    Vcpu,
    page_of,
    vm_of,
)
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = ("DEBUGS", "MDSCR_SLOT", "enter_vel1", "enter_vel2", "load_vel2_registers", "sync_mdscr")

MDSCR_SLOT = slot(sr.MDSCR_EL1)
DEBUGS = sr.MDSCR_EL1.compose(SS=1, MDE=1, KDE=1)
"""Without any of these MDSCR_EL1 brings no debug exception about."""


@inline
def save_vel2_registers(vcpu: Vcpu) -> None:
    """Copy hardware's EL1 registers, which are vEL2's, into the context.

    Of an nVHE guest only those that it can write without a trap; the others are shadow values of
    what the context already holds.
    """
    if vcpu.e2h != 0:
        for row in ALWAYS:
            vcpu.vel2.el1[row.index] = mrs(row.hardware)
    else:
        for row in ALWAYS:
            if not row.traps_nvhe:
                vcpu.vel2.el1[row.index] = mrs(row.hardware)


@inline
def load_vel2_registers(vcpu: Vcpu) -> None:
    """Put vEL2's registers into hardware's EL1 registers, translated for an nVHE guest."""
    if vcpu.e2h != 0:
        for row in ALWAYS:
            value = vcpu.vel2.el1[row.index]
            if not row.costly or mrs(row.hardware) != value:
                msr(row.hardware, value)
    else:
        for row in ALWAYS:
            if not row.common_nvhe:
                value = row.to_el1(vcpu.vel2.el1[row.index])
                if not row.costly or mrs(row.hardware) != value:
                    msr(row.hardware, value)


@inline
def save_vel1_registers(vcpu: Vcpu) -> None:
    """Copy hardware's EL1 registers, which are vEL1's, to where vEL2 finds them."""
    page = page_of(vcpu)
    for row in ALWAYS:
        if row.vncr_slot >= 0:
            page.slot[row.vncr_slot] = mrs(row.hardware)
        elif vcpu.e2h != 0:
            vcpu.vel1.el1[row.index] = mrs(row.hardware)


@inline
def load_vel1_registers(vcpu: Vcpu) -> None:
    """Put vEL1's registers into hardware."""
    page = page_of(vcpu)
    for row in ALWAYS:
        if row.vncr_slot >= 0:
            value = page.slot[row.vncr_slot]
            if not row.costly or mrs(row.hardware) != value:
                msr(row.hardware, value)
        elif vcpu.e2h != 0:
            value = vcpu.vel1.el1[row.index]
            if not row.costly or mrs(row.hardware) != value:
                msr(row.hardware, value)


@resident
def load_mdscr(vcpu: Vcpu) -> None:
    """Give hardware the MDSCR_EL1 of the page, and see the next write if it may matter at once."""
    wanted = page_of(vcpu).slot[MDSCR_SLOT]
    if wanted & DEBUGS != 0:
        breakpoints.withdraw(vcpu)
        finegrained.trap_mdscr(vcpu)
    msr(sr.MDSCR_EL1, wanted)
    vcpu.pcpu.mdscr = wanted


@inline
def sync_mdscr(vcpu: Vcpu) -> None:
    """Make MDSCR_EL1 what L1 last wrote: under NV2 its write went to the page only."""
    if page_of(vcpu).slot[MDSCR_SLOT] != vcpu.pcpu.mdscr:
        load_mdscr(vcpu)


@inline
def restore_cpu_context(vcpu: Vcpu) -> None:
    """Take back from hardware what the guest may have changed in the context that runs."""
    if vcpu.context == CONTEXT_VEL2:
        save_vel2_registers(vcpu)
    else:
        save_vel1_registers(vcpu)
        mdscr = mrs(sr.MDSCR_EL1)
        page_of(vcpu).slot[MDSCR_SLOT] = mdscr
        vcpu.pcpu.mdscr = mdscr
        page_of(vcpu).slot[controls.VDISR_SLOT] = mrs(sr.VDISR_EL2)
        sve.save_vel1_length(vcpu)
        timer.save_vel1_timers(vcpu)
        gic.save_vel1_interface(vcpu)


@resident
def unload_traps(vcpu: Vcpu) -> None:
    """Take out of vEL2's way what L1 has set for vEL1."""
    if vcpu.pcpu.loaded & FGT_LOADED:
        finegrained.clear_for_vel2(vcpu)
    if vcpu.pcpu.loaded & (HCRX_LOADED | VSE_LOADED | VNCR_LOADED):
        unload_rest(vcpu)
    vcpu.pcpu.loaded = 0


@resident
def unload_rest(vcpu: Vcpu) -> None:
    """Take out what is there less often than fine-grained traps."""
    if vcpu.pcpu.loaded & HCRX_LOADED:
        hcrx.load_for_vel2(vcpu)
    if vcpu.pcpu.loaded & VSE_LOADED:
        controls.save_virtual_serror(vcpu)
    if vcpu.pcpu.loaded & VNCR_LOADED:
        msr(sr.VNCR_EL2, vcpu.vel2.vncr_page)


@inline
def setup_cpu_context(vcpu: Vcpu) -> None:
    """Make hardware what `vcpu.context` needs."""
    if vcpu.context == CONTEXT_VEL2:
        load_vel2_registers(vcpu)
        if vcpu.pcpu.loaded != 0:
            unload_traps(vcpu)
        if vm_of(vcpu).probed.optional != 0:
            optional.to_vel2(vcpu)
        stage2.load_canonical(vm_of(vcpu))
        controls.load_for_vel2(vcpu)
    else:
        load_vel1_registers(vcpu)
        if vm_of(vcpu).probed.optional != 0:
            optional.to_vel1(vcpu)
        sync_mdscr(vcpu)
        sve.load_vel1_length(vcpu)
        controls.load_for_vel1(vcpu)
        finegrained.load_for_vel1(vcpu)
        hcrx.load_for_vel1(vcpu)
        timer.load_vel1_timers(vcpu)
        gic.load_vel1_interface(vcpu)
    breakpoints.load_for_context(vcpu)


@resident
def enter_vel1(vcpu: Vcpu) -> None:
    """Change hardware from vEL2 to vEL1. The stage 2 is loaded by the caller, who knows its key."""
    vcpu.counters.to_vel1 = u64(vcpu.counters.to_vel1 + 1)
    restore_cpu_context(vcpu)
    vcpu.context = CONTEXT_VEL1
    vcpu.slow_eret = vcpu.slow_eret | SLOW_VEL1
    setup_cpu_context(vcpu)


@resident
def enter_vel2(vcpu: Vcpu) -> None:
    """Change hardware from vEL1 to vEL2."""
    vcpu.counters.to_vel2 = u64(vcpu.counters.to_vel2 + 1)
    restore_cpu_context(vcpu)
    vcpu.context = CONTEXT_VEL2
    vcpu.slow_eret = vcpu.slow_eret & ~SLOW_VEL1
    setup_cpu_context(vcpu)

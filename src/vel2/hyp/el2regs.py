"""Reading and writing the system registers of vEL2 that trap, by the register home table.

A trapped access finds its register in one of five homes: hardware's EL1 register that carries it,
the context (nVHE guests: the truth behind a shadow value), a hypervisor timer of hardware, the VNCR
page (all of it with FEAT_NV alone), or context memory. A few are computed. Whatever is not found
does not exist for L1, and the access is UNDEFINED.
"""

from vel2.arch import sysregs as sr
from vel2.arch.homes import CONTEXT_MEMORY, HYP_TIMERS, IN_PAGE, SWITCHED, slot
from vel2.hyp import controls, gic, monitors, selectors, timer
from vel2.hyp.context import sync_mdscr
from vel2.hyp.exception import held_spsr, spsr_of
from vel2.hyp.state import GUEST_NVHE, SLOW_MAINTENANCE, Vcpu, page_of, vm_of
from vel2.hyp.translate import TRANSLATIONS
from vel2.lang import inline, mrs, msr, resident, u64

HCR_SLOT = slot(sr.HCR_EL2)
ACTLR_SLOT = slot(sr.ACTLR_EL1)
E2H = sr.HCR_EL2.E2H.mask
SRE_ALWAYS = sr.ICC_SRE_EL2.compose(SRE=1, DFB=1, DIB=1, Enable=1)
VTR_HIDES = sr.ICH_VTR_EL2.compose(DVIM=1)
VTR_SETS = sr.ICH_VTR_EL2.compose(nV4=1)
EL02_TIMERS = (
    (sr.CNTP_CTL_EL02, sr.CNTP_CVAL_EL02, sr.CNTP_TVAL_EL02, False),
    (sr.CNTV_CTL_EL02, sr.CNTV_CVAL_EL02, sr.CNTV_TVAL_EL02, True),
)
"""vEL1's timers as vEL2 names them with E2H=1, whose registers are in the page."""
EL0_TIMERS = (
    *(sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0, sr.CNTP_TVAL_EL0),
    *(sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0, sr.CNTV_TVAL_EL0),
)
"""vEL1's timers as vEL2 names them with E2H=0: hardware's own."""


@inline
def carries(row_vel2_key: u64, key: u64) -> bool:
    """Whether `key` is the EL2 name of a switched register (SP_EL2, CNTHCTL_EL2 are not)."""
    return key == row_vel2_key and key != sr.SP_EL2.trap_key and key != sr.CNTHCTL_EL2.trap_key


@resident
def read(vcpu: Vcpu, key: u64) -> u64:
    """Read a register of L1 that trapped at vEL2; sets `undefined` if there is none."""
    if vcpu.e2h != 0 and vm_of(vcpu).cpacr_holds_cptr == 0 and is_cptr(key):
        return vcpu.vel2.memory[controls.CPTR_MEMORY]
    if key == sr.SPSR_EL2.trap_key:
        return spsr_of(vcpu, mrs(sr.SPSR_EL1))
    for row in SWITCHED:
        if carries(row.vel2.trap_key, key):
            if vcpu.e2h != 0 or not row.traps_nvhe:
                return mrs(row.hardware)
            return vcpu.vel2.el1[row.index]
    for timer_row in HYP_TIMERS:
        if key == timer_row.name.trap_key and (vcpu.e2h != 0 or not timer_row.e2h_only):
            return mrs(timer_row.home)
    if key == sr.HPFAR_EL2.trap_key:
        return vcpu.hpfar
    if key == sr.ZCR_EL2.trap_key and vm_of(vcpu).has_sve != 0:
        return mrs(sr.ZCR_EL1)
    if key == sr.CNTHCTL_EL2.trap_key:
        if vcpu.e2h == 0:
            return vcpu.vel2.memory[controls.CNTHCTL_INDEX]
        return controls.l1_cnthctl(vcpu, mrs(sr.CNTKCTL_EL1))
    if key == sr.CNTKCTL_EL12.trap_key and vcpu.e2h != 0:
        return vcpu.vel1.el1[controls.CNTKCTL_INDEX]
    if key == sr.ACTLR_EL1.trap_key:
        return page_of(vcpu).slot[ACTLR_SLOT]
    return read_interface_or_page(vcpu, key)


@resident
def read_interface_or_page(vcpu: Vcpu, key: u64) -> u64:
    """Read what is computed from the page, the page itself, or context memory."""
    page = page_of(vcpu)
    if key == sr.ICC_SRE_EL2.trap_key:
        return SRE_ALWAYS
    if key == sr.ICH_VTR_EL2.trap_key:
        return mrs(sr.ICH_VTR_EL2) & ~VTR_HIDES | VTR_SETS
    if key == sr.ICH_MISR_EL2.trap_key:
        return gic.maintenance_status(page, vm_of(vcpu).list_registers)
    if key == sr.ICH_EISR_EL2.trap_key:
        return gic.eoi_list_registers(page, vm_of(vcpu).list_registers)
    if key == sr.ICH_ELRSR_EL2.trap_key:
        return gic.empty_list_registers(page, vm_of(vcpu).list_registers)
    for register in EL0_TIMERS:
        if vcpu.e2h == 0 and key == register.trap_key:
            timer.load_offset(vcpu)
            return mrs(register)
    for ctl, _, tval, is_virtual in EL02_TIMERS:
        if vcpu.e2h != 0 and key == ctl.trap_key:
            return timer.read_trapped_ctl(vcpu, is_virtual)
        if vcpu.e2h != 0 and key == tval.trap_key:
            return timer.read_tval(page, is_virtual)
    for row in IN_PAGE:
        if key == row.name.trap_key and in_use(vcpu, row.with_e2h, row.without_e2h):
            return page.slot[row.slot]
    for memory in CONTEXT_MEMORY:
        if key == memory.register.trap_key:
            return vcpu.vel2.memory[memory.index]
    return monitors.read(vcpu, key)


@inline
def in_use(vcpu: Vcpu, with_e2h: bool, without_e2h: bool) -> bool:
    """Whether a name of the page exists with L1's E2H."""
    if vcpu.e2h != 0:
        return with_e2h
    return without_e2h


@inline
def is_cptr(key: u64) -> bool:
    """Whether `key` is a name of a VHE guest's CPTR_EL2."""
    return key == sr.CPACR_EL1.trap_key or key == sr.CPTR_EL2.trap_key


@resident
def write(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write a register of L1 that trapped at vEL2; sets `undefined` if none can be written."""
    if vcpu.e2h != 0 and vm_of(vcpu).cpacr_holds_cptr == 0 and is_cptr(key):
        vcpu.vel2.memory[controls.CPTR_MEMORY] = value
        msr(sr.CPACR_EL1, value)
        return
    if key == sr.SPSR_EL2.trap_key:
        msr(sr.SPSR_EL1, held_spsr(vcpu, value))
        return
    for row in SWITCHED:
        if carries(row.vel2.trap_key, key):
            if vcpu.e2h != 0 or not row.traps_nvhe:
                msr(row.hardware, value)
            else:
                vcpu.vel2.el1[row.index] = value
                msr(row.hardware, TRANSLATIONS[row.index](value))
            return
    for timer_row in HYP_TIMERS:
        if key == timer_row.name.trap_key and (vcpu.e2h != 0 or not timer_row.e2h_only):
            msr(timer_row.home, value)
            return
    if key == sr.HPFAR_EL2.trap_key:
        vcpu.hpfar = value & sr.HPFAR_EL2.FIPA.mask
    elif key == sr.ZCR_EL2.trap_key and vm_of(vcpu).has_sve != 0:
        msr(sr.ZCR_EL1, value)
    elif key == sr.CNTHCTL_EL2.trap_key:
        vcpu.vel2.memory[controls.CNTHCTL_INDEX] = value
        if vcpu.e2h != 0:
            msr(sr.CNTKCTL_EL1, value)
    elif key == sr.CNTKCTL_EL12.trap_key and vcpu.e2h != 0:
        vcpu.vel1.el1[controls.CNTKCTL_INDEX] = value & controls.CNTKCTL_BITS
    elif key == sr.HCR_EL2.trap_key:
        write_hcr(vcpu, value)
    elif key != sr.ICC_SRE_EL2.trap_key and key != sr.ACTLR_EL1.trap_key:
        write_page(vcpu, key, value)
        # L1 may acknowledge interrupts in a loop, with no ERET in it: what it has just masked must
        # not be there the next time it looks.
        if vcpu.slow_eret != 0:
            sync_live(vcpu)


@inline
def sync_live(vcpu: Vcpu) -> None:
    """Give hardware that was left live for L1 to see an interrupt what L1 has written."""
    timer.sync_live_timers(vcpu)
    if vcpu.slow_eret & SLOW_MAINTENANCE:
        gic.sync_live_interface(vcpu)


@resident
def write_page(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write a slot of the page or context memory."""
    if key == sr.MDCR_EL2.trap_key:
        monitors.write_mdcr(vcpu, value)
        return
    page = page_of(vcpu)
    for register in EL0_TIMERS:
        if vcpu.e2h == 0 and key == register.trap_key:
            timer.load_offset(vcpu)
            msr(register, value)
            return
    for ctl, cval, tval, is_virtual in EL02_TIMERS:
        if vcpu.e2h != 0 and key == ctl.trap_key:
            timer.write_ctl(vcpu, value, is_virtual)
            return
        if vcpu.e2h != 0 and key == cval.trap_key:
            timer.write_cval(vcpu, value, is_virtual)
            return
        if vcpu.e2h != 0 and key == tval.trap_key:
            timer.write_tval(vcpu, value, is_virtual)
            return
    for row in IN_PAGE:
        if key == row.name.trap_key and in_use(vcpu, row.with_e2h, row.without_e2h):
            page.slot[row.slot] = value
            return
    for memory in CONTEXT_MEMORY:
        if key == memory.register.trap_key:
            vcpu.vel2.memory[memory.index] = value & memory.writable
            return
    # A breakpoint or watchpoint of vEL2 itself works from here on: so must the MDSCR_EL1 that was
    # written before it.
    sync_mdscr(vcpu)
    monitors.write(vcpu, key, value)


@resident
def write_hcr(vcpu: Vcpu, value: u64) -> None:
    """Write HCR_EL2, which traps with FEAT_NV alone: E2H may change, and with it every layout.

    The context's copies are the values under E2H=0; with E2H=1 hardware has them as they are.
    """
    allowed = value
    if vm_of(vcpu).guest_kind == GUEST_NVHE:
        allowed = value & ~E2H
    page_of(vcpu).slot[HCR_SLOT] = allowed
    if allowed & E2H != 0 and vcpu.e2h == 0:
        for row in SWITCHED:
            if row.traps_nvhe and not row.common_nvhe:
                msr(row.hardware, vcpu.vel2.el1[row.index])
        vcpu.vel1.el1[controls.CNTKCTL_INDEX] = mrs(sr.CNTKCTL_EL1)
        msr(sr.CNTKCTL_EL1, 0)
        spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
        vcpu.e2h = 1
        msr(sr.SPSR_EL1, held_spsr(vcpu, spsr))
        timer.stop_timers(vcpu)
        controls.load_for_vel2(vcpu)
        selectors.refresh(vcpu)
    elif allowed & E2H == 0 and vcpu.e2h != 0:
        for row in SWITCHED:
            if row.traps_nvhe and not row.common_nvhe:
                vcpu.vel2.el1[row.index] = mrs(row.hardware)
                msr(row.hardware, TRANSLATIONS[row.index](vcpu.vel2.el1[row.index]))
        vcpu.vel2.memory[controls.CNTHCTL_INDEX] = controls.l1_cnthctl(vcpu, mrs(sr.CNTKCTL_EL1))
        msr(sr.CNTKCTL_EL1, vcpu.vel1.el1[controls.CNTKCTL_INDEX])
        spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
        vcpu.e2h = 0
        msr(sr.SPSR_EL1, held_spsr(vcpu, spsr))
        timer.start_timers(vcpu)
        controls.load_for_vel2(vcpu)
        selectors.refresh(vcpu)

"""Reading and writing the system registers of vEL2 that trap, by the register home table.

A trapped access finds its register in one of five homes: hardware's EL1 register that carries it,
the context (nVHE guests: the truth behind a shadow value), a hypervisor timer of hardware, the VNCR
page (all of it with FEAT_NV alone), or context memory. A few are computed. Whatever is not found
does not exist for L1, and the access is UNDEFINED.
"""

from vel2.arch import sysregs as sr
from vel2.hyp import controls, finegrained, gic, monitors, pagenames, selectors, sve, timer
from vel2.hyp.answer import UNDEFINED_SYNDROME
from vel2.hyp.context import DEBUGS, MDSCR_SLOT, sync_mdscr
from vel2.hyp.exception import held_spsr, spsr_of
from vel2.hyp.hcr import l1_hcr, set_l1_hcr
from vel2.hyp.homes import CONTEXT_MEMORY, HYP_TIMERS, SWITCHED, slot
from vel2.hyp.places import NUMBER, SPECIALS, Kind, kind_of, means_page, special
from vel2.hyp.state import GUEST_NVHE, SLOW_MAINTENANCE, Vcpu, page_of, vm_of
from vel2.hyp.translate import cptr_el2_to_cpacr_el1
from vel2.lang import inline, mrs, msr, resident, u64

ACTLR_SLOT = slot(sr.ACTLR_EL1)
CPACR_SLOT = slot(sr.CPACR_EL1)
E2H = sr.HCR_EL2.E2H.mask
SRE_ALWAYS = sr.ICC_SRE_EL2.compose(SRE=1, DFB=1, DIB=1, Enable=1)
VTR_HIDES = sr.ICH_VTR_EL2.compose(DVIM=1)
VTR_SETS = sr.ICH_VTR_EL2.compose(nV4=1)
QUIET_MDSCR = 16
"""So many writes in a row that debug nothing, and MDSCR_EL1 need not trap (`finegrained`)."""
EL02_TIMERS = (
    (special(sr.CNTP_CTL_EL02), special(sr.CNTP_CVAL_EL02), special(sr.CNTP_TVAL_EL02), False),
    (special(sr.CNTV_CTL_EL02), special(sr.CNTV_CVAL_EL02), special(sr.CNTV_TVAL_EL02), True),
)
"""vEL1's timers as vEL2 names them with E2H=1, whose registers are in the page."""
ALWAYS = (Kind.CARRIED, Kind.HYP_TIMER, Kind.MEMORY, Kind.SPECIAL)
"""Registers of these kinds can be read and written whatever L1 has and does."""
E2H_ONLY = (special(sr.CNTKCTL_EL12), *(number for row in EL02_TIMERS for number in row[:3]))
READ_ONLY = tuple(special(register) for register in SPECIALS if register.access == "RO")


@inline
def refusal(vcpu: Vcpu, key: u64, place: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access at vEL2 takes instead, or 0.

    What is let pass here can be read or written without further questions.

    :param place: `places.place_of(key)`.
    """
    kind = kind_of(place)
    if kind in ALWAYS or (kind == Kind.PAGE and means_page(place, vcpu.e2h)):
        return 0
    return refusal_of_conditional(vcpu, key, place, is_read)


@resident
def refusal_of_conditional(vcpu: Vcpu, key: u64, place: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access takes instead, or 0: `refusal`."""
    kind = kind_of(place)
    if kind == Kind.NONE:
        return refusal_of_rare(vcpu, key, is_read)
    if kind == Kind.CONDITIONAL:
        return refusal_of_special(vcpu, place & NUMBER, is_read)
    if kind == Kind.OPTIONAL and pagenames.exists(vcpu, key):
        return 0
    return UNDEFINED_SYNDROME


@inline
def refusal_of_special(vcpu: Vcpu, number: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access to one of `SPECIALS` takes, or 0."""
    if number == special(sr.ZCR_EL2) and vm_of(vcpu).has_sve != 0:
        return sve.trap_of_vel2(read_cptr(vcpu))
    if (
        number == special(sr.ZCR_EL2)
        or (number in E2H_ONLY and vcpu.e2h == 0)
        or (number in READ_ONLY and not is_read)
    ):
        return UNDEFINED_SYNDROME
    return 0


@resident
def refusal_of_rare(vcpu: Vcpu, key: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access of `read_rare` takes instead, or 0."""
    if vcpu.slow_eret & SLOW_MAINTENANCE == 0 or not gic.is_group1(key):
        return monitors.refusal(vcpu, key, is_read)
    if gic.has_group1(vcpu, key, is_read):
        return 0
    return UNDEFINED_SYNDROME


@resident
def read(vcpu: Vcpu, key: u64, place: u64) -> u64:
    """Read a register of L1 that trapped at vEL2, when there is no `refusal`.

    :param place: `places.place_of(key)`.
    """
    kind = kind_of(place)
    number = place & NUMBER
    if kind == Kind.PAGE or kind == Kind.OPTIONAL:
        return page_of(vcpu).slot[number]
    if kind == Kind.SPECIAL or kind == Kind.CONDITIONAL:
        return read_special(vcpu, number)
    if kind == Kind.CARRIED:
        return read_carried(vcpu, number)
    if kind == Kind.HYP_TIMER:
        return read_timer(vcpu, number)
    if kind == Kind.MEMORY:
        return vcpu.vel2.memory[number]
    return read_rare(vcpu, key)


@resident
def read_rare(vcpu: Vcpu, key: u64) -> u64:
    """Read what L0 traps for itself, and only at times, in vEL1 too."""
    if vcpu.slow_eret & SLOW_MAINTENANCE and gic.is_group1(key):
        return gic.read_group1(vcpu, key)
    return monitors.read(vcpu, key)


@resident
def read_carried(vcpu: Vcpu, number: u64) -> u64:
    """Read a register of vEL2 that hardware's EL1 register carries, or stands for."""
    for row in SWITCHED:
        if number == row.index:
            if vcpu.e2h != 0 or not row.traps_nvhe:
                return mrs(row.hardware)
    return vcpu.vel2.el1[number]


@resident
def read_timer(vcpu: Vcpu, number: u64) -> u64:
    """Read a hypervisor timer; with E2H=0 the EL0 names are vEL1's timers, hardware's own."""
    for index, row in enumerate(HYP_TIMERS):
        if number == index:
            if not row.e2h_only or vcpu.e2h != 0:
                return mrs(row.home)
            timer.load_offset(vcpu)
            return mrs(row.name)
    return 0


@resident
def read_special(vcpu: Vcpu, number: u64) -> u64:
    """Read a register with a rule of its own."""
    page = page_of(vcpu)
    vm = vm_of(vcpu)
    if number == special(sr.HPFAR_EL2):
        return vcpu.hpfar
    if number == special(sr.RMR_EL2):
        return sr.RMR_EL2.AA64.mask
    if number == special(sr.ICC_SRE_EL2):
        return SRE_ALWAYS
    if number == special(sr.ICH_VTR_EL2):
        return mrs(sr.ICH_VTR_EL2) & ~VTR_HIDES | VTR_SETS
    if number == special(sr.ICH_MISR_EL2):
        return gic.maintenance_status(page, vm.list_registers)
    if number == special(sr.ICH_EISR_EL2):
        return gic.eoi_list_registers(page, vm.list_registers)
    if number == special(sr.ICH_ELRSR_EL2):
        return gic.empty_list_registers(page, vm.list_registers)
    if number == special(sr.CNTHCTL_EL2):
        if vcpu.e2h == 0:
            return vcpu.vel2.memory[controls.CNTHCTL_INDEX]
        return controls.l1_cnthctl(vcpu, mrs(sr.CNTKCTL_EL1))
    if number == special(sr.CNTVCT_EL0) or number == special(sr.CNTVCTSS_EL0):
        return timer.virtual_count(vcpu)
    if number == special(sr.MDSCR_EL1):
        return page.slot[MDSCR_SLOT]
    if number == special(sr.MDCR_EL2):
        return vcpu.vel2.memory[controls.MDCR_INDEX]
    if number == special(sr.SPSR_EL2):
        return spsr_of(vcpu, mrs(sr.SPSR_EL1))
    if number == special(sr.CPTR_EL2):
        return read_cptr(vcpu)
    if number == special(sr.HCR_EL2):
        return l1_hcr(vcpu)
    if number == special(sr.ACTLR_EL1):
        return page.slot[ACTLR_SLOT]
    if number == special(sr.RVBAR_EL2):
        return reset_address()
    return read_conditional(vcpu, number)


@inline
def reset_address() -> u64:
    """Give RVBAR_EL2: EL2 is the highest Exception level that L1 sees, whatever the machine has."""
    if sr.ID_AA64PFR0_EL1.EL3.get(mrs(sr.ID_AA64PFR0_EL1)) != 0:
        return 0
    return mrs(sr.RVBAR_EL2)


@inline
def read_cptr(vcpu: Vcpu) -> u64:
    """Read CPTR_EL2."""
    if vcpu.e2h == 0:
        return vcpu.vel2.el1[controls.CPTR_INDEX]
    if vm_of(vcpu).cpacr_holds_cptr != 0:
        return mrs(sr.CPACR_EL1)
    return vcpu.vel2.memory[controls.CPTR_MEMORY]


@resident
def read_conditional(vcpu: Vcpu, number: u64) -> u64:
    """Read a register that exists with E2H=1 only, or with a feature, or means another then."""
    page = page_of(vcpu)
    if number == special(sr.ZCR_EL2):
        return mrs(sr.ZCR_EL1)
    if number == special(sr.CPACR_EL1):
        if vcpu.e2h == 0:
            return page.slot[CPACR_SLOT]
        return read_cptr(vcpu)
    if number == special(sr.CNTKCTL_EL12):
        return vcpu.vel1.el1[controls.CNTKCTL_INDEX]
    for ctl, cval, tval, is_virtual in EL02_TIMERS:
        if number == ctl:
            return timer.read_trapped_ctl(vcpu, is_virtual)
        if number == cval:
            return timer.read_cval(page, is_virtual)
        if number == tval:
            return timer.read_tval(page, is_virtual)
    return 0


@resident
def write(vcpu: Vcpu, key: u64, place: u64, value: u64) -> None:
    """Write a register of L1 that trapped at vEL2, when there is no `refusal`.

    :param place: `places.place_of(key)`.
    """
    kind = kind_of(place)
    number = place & NUMBER
    if kind == Kind.PAGE or kind == Kind.OPTIONAL:
        page_of(vcpu).slot[number] = value
    elif kind == Kind.SPECIAL or kind == Kind.CONDITIONAL:
        write_special(vcpu, number, value)
    elif kind == Kind.CARRIED:
        write_carried(vcpu, number, value)
        return
    elif kind == Kind.HYP_TIMER:
        write_timer(vcpu, number, value)
    elif kind == Kind.MEMORY:
        for memory in CONTEXT_MEMORY:
            if number == memory.index:
                vcpu.vel2.memory[memory.index] = value & memory.writable
    else:
        # A breakpoint or watchpoint of vEL2 itself works from here on: so must the MDSCR_EL1 that
        # was written before it.
        sync_mdscr(vcpu)
        write_rare(vcpu, key, value)
    # L1 may acknowledge interrupts in a loop, with no ERET in it: what it has just masked must
    # not be there the next time it looks.
    if vcpu.slow_eret != 0:
        sync_live(vcpu)


@resident
def write_rare(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write what L0 traps for itself, and only at times, in vEL1 too."""
    if vcpu.slow_eret & SLOW_MAINTENANCE and gic.is_group1(key):
        gic.write_group1(vcpu, key, value)
    else:
        monitors.write(vcpu, key, value)


@resident
def write_carried(vcpu: Vcpu, number: u64, value: u64) -> None:
    """Write a register of vEL2 that hardware's EL1 register carries, or stands for."""
    for row in SWITCHED:
        if number == row.index:
            if vcpu.e2h != 0 or not row.traps_nvhe:
                msr(row.hardware, value)
            else:
                vcpu.vel2.el1[row.index] = value
                msr(row.hardware, row.to_el1(value))


@resident
def write_timer(vcpu: Vcpu, number: u64, value: u64) -> None:
    """Write a hypervisor timer; with E2H=0 the EL0 names are vEL1's timers, hardware's own."""
    for index, row in enumerate(HYP_TIMERS):
        if number == index:
            if not row.e2h_only or vcpu.e2h != 0:
                msr(row.home, value)
            else:
                timer.load_offset(vcpu)
                msr(row.name, value)


@inline
def sync_live(vcpu: Vcpu) -> None:
    """Give hardware that was left live for L1 to see an interrupt what L1 has written."""
    timer.sync_live_timers(vcpu)
    if vcpu.slow_eret & SLOW_MAINTENANCE:
        gic.sync_live_interface(vcpu)


@resident
def write_special(vcpu: Vcpu, number: u64, value: u64) -> None:
    """Write a register with a rule of its own."""
    if number == special(sr.RMR_EL2):
        # A warm reset is not offered, as on the machine: AA64 is all that the register has.
        return
    if number == special(sr.HPFAR_EL2):
        vcpu.hpfar = value & sr.HPFAR_EL2.FIPA.mask
    elif number == special(sr.CNTHCTL_EL2):
        vcpu.vel2.memory[controls.CNTHCTL_INDEX] = value
        if vcpu.e2h != 0:
            msr(sr.CNTKCTL_EL1, value)
    elif number == special(sr.MDSCR_EL1):
        write_mdscr(vcpu, value)
    elif number == special(sr.MDCR_EL2):
        monitors.write_mdcr(vcpu, value)
    elif number == special(sr.SPSR_EL2):
        msr(sr.SPSR_EL1, held_spsr(vcpu, value))
    elif number == special(sr.CPTR_EL2):
        write_cptr(vcpu, value)
    elif number == special(sr.HCR_EL2):
        write_hcr(vcpu, value)
    elif number != special(sr.ICC_SRE_EL2) and number != special(sr.ACTLR_EL1):
        write_conditional(vcpu, number, value)


@resident
def write_mdscr(vcpu: Vcpu, value: u64) -> None:
    """Write MDSCR_EL1, while it traps: at once, so that clearing PSTATE.D finds it in effect."""
    page_of(vcpu).slot[MDSCR_SLOT] = value
    sync_mdscr(vcpu)
    if value & DEBUGS != 0 or selectors.debugs(vcpu):
        vcpu.quiet_mdscr = 0
    else:
        vcpu.quiet_mdscr = u64(vcpu.quiet_mdscr + 1)
        if vcpu.quiet_mdscr >= QUIET_MDSCR:
            finegrained.stop_trapping_mdscr(vcpu)


@inline
def write_cptr(vcpu: Vcpu, value: u64) -> None:
    """Write CPTR_EL2."""
    if vcpu.e2h == 0:
        vcpu.vel2.el1[controls.CPTR_INDEX] = value
        msr(sr.CPACR_EL1, cptr_el2_to_cpacr_el1(value))
    else:
        if vm_of(vcpu).cpacr_holds_cptr == 0:
            vcpu.vel2.memory[controls.CPTR_MEMORY] = value
        msr(sr.CPACR_EL1, value)


@resident
def write_conditional(vcpu: Vcpu, number: u64, value: u64) -> None:
    """Write a register that exists with E2H=1 only, or with a feature, or means another then."""
    if number == special(sr.ZCR_EL2):
        msr(sr.ZCR_EL1, value)
    elif number == special(sr.CPACR_EL1):
        if vcpu.e2h == 0:
            page_of(vcpu).slot[CPACR_SLOT] = value
        else:
            write_cptr(vcpu, value)
    elif number == special(sr.CNTKCTL_EL12):
        vcpu.vel1.el1[controls.CNTKCTL_INDEX] = value & controls.CNTKCTL_BITS
    else:
        for ctl, cval, tval, is_virtual in EL02_TIMERS:
            if number == ctl:
                timer.write_ctl(vcpu, value, is_virtual)
            elif number == cval:
                timer.write_cval(vcpu, value, is_virtual)
            elif number == tval:
                timer.write_tval(vcpu, value, is_virtual)


@resident
def write_hcr(vcpu: Vcpu, value: u64) -> None:
    """Write HCR_EL2, which traps with FEAT_NV alone: E2H may change, and with it every layout.

    The context's copies are the values under E2H=0; with E2H=1 hardware has them as they are.
    """
    allowed = value
    if vm_of(vcpu).guest_kind == GUEST_NVHE:
        allowed = value & ~E2H
    set_l1_hcr(vcpu, allowed)
    if allowed & E2H != 0 and vcpu.e2h == 0:
        for row in SWITCHED:
            if row.traps_nvhe and not row.common_nvhe:
                msr(row.hardware, vcpu.vel2.el1[row.index])
        vcpu.vel1.el1[controls.CNTKCTL_INDEX] = mrs(sr.CNTKCTL_EL1)
        msr(sr.CNTKCTL_EL1, vcpu.vel2.memory[controls.CNTHCTL_INDEX])
        spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
        vcpu.e2h = 1
        msr(sr.SPSR_EL1, held_spsr(vcpu, spsr))
        timer.stop_timers(vcpu)
        monitors.load_mdcr(vcpu)
        controls.load_for_vel2(vcpu)
        selectors.refresh(vcpu)
    elif allowed & E2H == 0 and vcpu.e2h != 0:
        for row in SWITCHED:
            if row.traps_nvhe and not row.common_nvhe:
                vcpu.vel2.el1[row.index] = mrs(row.hardware)
                msr(row.hardware, row.to_el1(vcpu.vel2.el1[row.index]))
        vcpu.vel2.memory[controls.CNTHCTL_INDEX] = controls.l1_cnthctl(vcpu, mrs(sr.CNTKCTL_EL1))
        msr(sr.CNTKCTL_EL1, vcpu.vel1.el1[controls.CNTKCTL_INDEX])
        spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
        vcpu.e2h = 0
        msr(sr.SPSR_EL1, held_spsr(vcpu, spsr))
        timer.start_timers(vcpu)
        vcpu.timer_traps = timer.TRAPS_WITHOUT_E2H
        monitors.load_mdcr(vcpu)
        controls.load_for_vel2(vcpu)
        selectors.refresh(vcpu)

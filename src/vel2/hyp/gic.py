"""The GICv3 virtual CPU interface.

While the hyp context runs, L1 drives the physical interface itself (HCR_EL2.IMO=FMO=0) and edits
the ICH_* registers of its guest in the VNCR page, where nothing traps. While vEL1 runs, those
values are in hardware's ICH_* registers: L2's virtual interrupts, EOIs and the deactivation of HW
list registers (L1's INTIDs are the machine's) need nobody.

A vEL1 without IMO and FMO (an nVHE host's own kernel) has no virtual interface: nothing is loaded.

Leaving vEL1, hardware's registers go back to the page and ICH_HCR_EL2 is cleared, except when a
maintenance interrupt is asserted: that interrupt is level-triggered and L1 is about to acknowledge
it, so the registers stay live (`SLOW_MAINTENANCE`), and each ERET inside vEL2 brings hardware's
ICH_HCR_EL2 to what L1 has written to the page since. So does each access to a Group 1 register of
the physical interface, which traps meanwhile (`LIVE_TRAPS`), by vEL2 or by an nVHE host's own
kernel: L1 may acknowledge interrupts in a loop, with no ERET in it, and must not be shown for ever
what it has put an end to.

ICH_VTR, ICH_MISR, ICH_EISR and ICH_ELRSR have no slot: reads trap and are computed from the page.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.hcr import HCR_SLOT
from vel2.hyp.homes import slot
from vel2.hyp.state import SLOW_MAINTENANCE, Vcpu, VncrPage, page_of, vm_of
from vel2.lang import inline, isb, mrs, msr, resident, u64

__all__ = (
    "has_group1",
    "is_group1",
    "load_vel1_interface",
    "read_eisr",
    "read_elrsr",
    "read_group1",
    "read_misr",
    "read_sre",
    "read_vtr",
    "save_vel1_interface",
    "sync_live_interface",
    "write_group1",
)

ICH_HCR_SLOT = slot(sr.ICH_HCR_EL2)
ICH_VMCR_SLOT = slot(sr.ICH_VMCR_EL2)
VIRTUAL_INTERRUPTS = sr.HCR_EL2.IMO.mask | sr.HCR_EL2.FMO.mask
"""With neither, ICC_* accesses of EL1 are the physical interface's; ICH_* state is unused."""
LR_SLOT = slot(sr.ICH_LR0_EL2)
VSE = sr.HCR_EL2.VSE.mask
LR = sr.ICH_LR0_EL2
ICH = sr.ICH_HCR_EL2
MISR = sr.ICH_MISR_EL2
VMCR = sr.ICH_VMCR_EL2
TRAPS = ICH.compose(TC=1, TALL0=1, TALL1=1, TSEI=1, TDIR=1)
"""These act on every access from EL1, so they must not stay set while L1 drives the interface."""

LIVE_TRAPS = ICH.TALL1.mask
"""Set while the registers are live, so that L0 sees L1 look for an interrupt."""
GROUP1 = (
    *(sr.ICC_IAR1_EL1, sr.ICC_HPPIR1_EL1, sr.ICC_EOIR1_EL1, sr.ICC_BPR1_EL1, sr.ICC_IGRPEN1_EL1),
    *(sr.ICC_AP1R0_EL1, sr.ICC_AP1R1_EL1, sr.ICC_AP1R2_EL1, sr.ICC_AP1R3_EL1),
)
FIRST_AP1R = GROUP1.index(sr.ICC_AP1R0_EL1)
READABLE = tuple((n, r) for n, r in enumerate(GROUP1) if r.access != "WO")
WRITABLE = tuple((n, r) for n, r in enumerate(GROUP1) if r.access != "RO")

LIST_REGISTERS = tuple((n, sr.by_name(f"ICH_LR{n}_EL2")) for n in range(16))
ACTIVE_PRIORITIES = tuple(
    (n, sr.by_name(f"ICH_AP0R{n}_EL2"), sr.by_name(f"ICH_AP1R{n}_EL2")) for n in range(4)
)
SRE_ALWAYS = sr.ICC_SRE_EL2.compose(SRE=1, DFB=1, DIB=1, Enable=1)
VTR_HIDES = sr.ICH_VTR_EL2.compose(DVIM=1)
VTR_SETS = sr.ICH_VTR_EL2.compose(nV4=1)
AP0R_SLOT = slot(sr.ICH_AP0R0_EL2)
AP1R_SLOT = slot(sr.ICH_AP1R0_EL2)


@inline
def load_vel1_interface(vcpu: Vcpu) -> None:
    """Load L1's ICH_* registers into hardware, if vEL1 has a virtual interface or traps of it."""
    page = page_of(vcpu)
    if page.slot[HCR_SLOT] & VIRTUAL_INTERRUPTS == 0 and page.slot[ICH_HCR_SLOT] == 0:
        if vcpu.slow_eret & SLOW_MAINTENANCE:
            sync_live_interface(vcpu)
        return
    vm = vm_of(vcpu)
    for n, group0, group1 in ACTIVE_PRIORITIES:
        if n < vm.probed.active_priorities:
            msr(group0, page.slot[AP0R_SLOT + n])
            msr(group1, page.slot[AP1R_SLOT + n])
    for n, register in LIST_REGISTERS:
        if n >= vm.probed.list_registers:
            break
        msr(register, page.slot[u64(LR_SLOT + n)])
    msr(sr.ICH_VMCR_EL2, page.slot[ICH_VMCR_SLOT])
    msr(sr.ICH_HCR_EL2, page.slot[ICH_HCR_SLOT])
    vcpu.slow_eret = vcpu.slow_eret & ~SLOW_MAINTENANCE


@inline
def save_vel1_interface(vcpu: Vcpu) -> None:
    """Take the ICH_* registers back, and quiet them unless L1 must see their interrupt."""
    page = page_of(vcpu)
    controls = mrs(sr.HCR_EL2)
    if page.slot[HCR_SLOT] & VSE != 0 and controls & VSE == 0:
        # vEL1 has taken the virtual SError, which clears the bit.
        page.slot[HCR_SLOT] = page.slot[HCR_SLOT] & ~VSE
    hcr = mrs(sr.ICH_HCR_EL2)
    if controls & VIRTUAL_INTERRUPTS == 0 and hcr == 0:
        return
    vm = vm_of(vcpu)
    for n, group0, group1 in ACTIVE_PRIORITIES:
        if n < vm.probed.active_priorities:
            page.slot[AP0R_SLOT + n] = mrs(group0)
            page.slot[AP1R_SLOT + n] = mrs(group1)
    for n, register in LIST_REGISTERS:
        if n >= vm.probed.list_registers:
            break
        page.slot[LR_SLOT + n] = mrs(register)
    page.slot[ICH_VMCR_SLOT] = mrs(sr.ICH_VMCR_EL2)
    page.slot[ICH_HCR_SLOT] = hcr
    if hcr & ICH.En.mask and mrs(sr.ICH_MISR_EL2) != 0:
        vcpu.slow_eret = vcpu.slow_eret | SLOW_MAINTENANCE
        msr(sr.ICH_HCR_EL2, hcr & ~TRAPS | LIVE_TRAPS)
    elif hcr != 0:
        # Its traps do not need En, and vEL2's own interface is EL1's.
        msr(sr.ICH_HCR_EL2, 0)


@resident
def sync_live_interface(vcpu: Vcpu) -> None:
    """Give hardware, whose maintenance interrupt was left asserted, what L1 has written since."""
    page = page_of(vcpu)
    vm = vm_of(vcpu)
    for n, register in LIST_REGISTERS:
        if n < vm.probed.list_registers:
            msr(register, page.slot[u64(LR_SLOT + n)])
    msr(sr.ICH_VMCR_EL2, page.slot[ICH_VMCR_SLOT])
    hcr = page.slot[ICH_HCR_SLOT]
    msr(sr.ICH_HCR_EL2, hcr & ~TRAPS | LIVE_TRAPS)
    # With En=0 there may be reasons, but there is no interrupt.
    if hcr & ICH.En.mask == 0 or mrs(sr.ICH_MISR_EL2) == 0:
        msr(sr.ICH_HCR_EL2, 0)
        vcpu.slow_eret = vcpu.slow_eret & ~SLOW_MAINTENANCE


@inline
def is_there(vcpu: Vcpu, number: u64) -> bool:
    """Whether a register of `GROUP1` is implemented."""
    return number < u64(FIRST_AP1R + vm_of(vcpu).probed.active_priorities)


@resident
def has_group1(vcpu: Vcpu, key: u64, is_read: bool) -> bool:
    """Whether the machine has an access to a register of `GROUP1`."""
    if is_read:
        for number, register in READABLE:
            if key == register.trap_key:
                return is_there(vcpu, number)
    else:
        for number, register in WRITABLE:
            if key == register.trap_key:
                return is_there(vcpu, number)
    return False


@resident
def read_group1(vcpu: Vcpu, key: u64) -> u64:
    """Read a register of the physical interface for L1, after what it has written to the page.

    :param key: one that `has_group1` knows.
    """
    sync_live_interface(vcpu)
    isb()
    for number, register in READABLE:
        if key == register.trap_key and is_there(vcpu, number):
            return mrs(register)
    return 0


@resident
def write_group1(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write a register of the physical interface for L1, as `read_group1`."""
    sync_live_interface(vcpu)
    isb()
    for number, register in WRITABLE:
        if key == register.trap_key and is_there(vcpu, number):
            msr(register, value)


@inline
def is_group1(key: u64) -> bool:
    """Whether a key is of a register that `LIVE_TRAPS` makes trap."""
    return key in GROUP1_KEYS


GROUP1_KEYS = tuple(register.trap_key for register in GROUP1)


@resident
def empty_list_registers(page: VncrPage, count: u64) -> u64:
    """Compute ICH_ELRSR_EL2: list registers that are free and owe no EOI maintenance interrupt."""
    bits = 0
    for n in range(count):
        value = page.slot[u64(LR_SLOT + n)]
        if value & LR.State.mask == 0 and value & (LR.HW.mask | sr.ICH_LR_EOI) != sr.ICH_LR_EOI:
            bits = bits | u64(1 << n)
    return bits


@resident
def eoi_list_registers(page: VncrPage, count: u64) -> u64:
    """Compute ICH_EISR_EL2: inactive software list registers whose EOI bit is set."""
    bits = 0
    for n in range(count):
        value = page.slot[u64(LR_SLOT + n)]
        if value & (LR.State.mask | LR.HW.mask | sr.ICH_LR_EOI) == sr.ICH_LR_EOI:
            bits = bits | u64(1 << n)
    return bits


@resident
def maintenance_status(page: VncrPage, count: u64) -> u64:
    """Compute ICH_MISR_EL2 from the page (AArch64 GICv3 MaintenanceInterruptStatus)."""
    hcr = page.slot[ICH_HCR_SLOT]
    vmcr = page.slot[ICH_VMCR_SLOT]
    valid = 0
    pending = 0
    for n in range(count):
        state = LR.State.get(page.slot[u64(LR_SLOT + n)])
        if state != 0:
            valid = u64(valid + 1)
        if state == 1:
            pending = u64(pending + 1)
    status = 0
    if eoi_list_registers(page, count) != 0:
        status = status | MISR.EOI.mask
    if hcr & ICH.UIE.mask and valid <= 1:
        status = status | MISR.U.mask
    if hcr & ICH.LRENPIE.mask and ICH.EOIcount.get(hcr) != 0:
        status = status | MISR.LRENP.mask
    if hcr & ICH.NPIE.mask and pending == 0:
        status = status | MISR.NP.mask
    return status | group_status(hcr, vmcr)


@inline
def group_status(hcr: u64, vmcr: u64) -> u64:
    """Compute the four group-enable bits of ICH_MISR_EL2."""
    status = u64(0)
    if hcr & ICH.VGrp0EIE.mask and vmcr & VMCR.VENG0.mask:
        status = status | MISR.VGrp0E.mask
    if hcr & ICH.VGrp0DIE.mask and vmcr & VMCR.VENG0.mask == 0:
        status = status | MISR.VGrp0D.mask
    if hcr & ICH.VGrp1EIE.mask and vmcr & VMCR.VENG1.mask:
        status = status | MISR.VGrp1E.mask
    if hcr & ICH.VGrp1DIE.mask and vmcr & VMCR.VENG1.mask == 0:
        status = status | MISR.VGrp1D.mask
    return status


@resident
def read_sre(vcpu: Vcpu) -> u64:
    """Read ICC_SRE_EL2: vEL2 has the system registers, and no other interface."""
    return SRE_ALWAYS


@resident
def read_vtr(vcpu: Vcpu) -> u64:
    """Read ICH_VTR_EL2, without GICv4."""
    return mrs(sr.ICH_VTR_EL2) & ~VTR_HIDES | VTR_SETS


@resident
def read_misr(vcpu: Vcpu) -> u64:
    """Read ICH_MISR_EL2."""
    return maintenance_status(page_of(vcpu), vm_of(vcpu).probed.list_registers)


@resident
def read_eisr(vcpu: Vcpu) -> u64:
    """Read ICH_EISR_EL2."""
    return eoi_list_registers(page_of(vcpu), vm_of(vcpu).probed.list_registers)


@resident
def read_elrsr(vcpu: Vcpu) -> u64:
    """Read ICH_ELRSR_EL2."""
    return empty_list_registers(page_of(vcpu), vm_of(vcpu).probed.list_registers)

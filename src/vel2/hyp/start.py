"""Start-up of a pcpu at real EL2, from reset to the first instruction of L1.

The host has put the image, the `Vm` and L1's images into memory and set PC of the first pcpu to
`entry`; EL2's MMU and caches are off. The stub in `vectors` gives us a stack and the addresses, we
do the rest: `boot` what is done once for the machine, `begin` what each pcpu needs, and first of
all every register that matters (`reset`). Nothing is taken from the first pcpu for granted on
another, nor from what reset or a life before left in its registers.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, Stage1Leaf
from vel2.arch.insn import IC, TLBI
from vel2.hyp import (
    controls,
    finegrained,
    hcrx,
    idregs,
    its,
    monitors,
    optional,
    pool,
    reset,
    smmu,
    stage2,
    sve,
    timer,
    vncr,
)
from vel2.hyp.context import load_vel2_registers
from vel2.hyp.exception import ENTRY_PSTATE
from vel2.hyp.hcr import HCR_SLOT
from vel2.hyp.homes import in_memory, slot, switched
from vel2.hyp.layout import PAGE_BYTES, PCPU_BYTES, VCPU_IN_PCPU, VNCR_IN_PCPU
from vel2.hyp.outcome import Fatal
from vel2.hyp.pcpu import ON, Power
from vel2.hyp.state import CONTEXT_VEL2, GUEST_VHE, LEVEL_NV2, Vcpu, Vm, page_of
from vel2.hyp.trap import fatal
from vel2.lang import (
    PA,
    address_of,
    dsb_ish,
    inline,
    isb,
    mrs,
    msr,
    resident,
    store_release_u64,
    store_u64,
    sysop,
    u64,
)

__all__ = (
    "NEEDS_ECV",
    "NEEDS_GIC",
    "NEEDS_GICV3",
    "NEEDS_NV2",
    "NEEDS_POOL",
    "NEEDS_SMMU",
    "NEEDS_VHE",
    "missing_feature",
    "start",
    "start_secondary",
)

SCTLR_INDEX = switched(sr.SCTLR_EL1).index
CPTR_INDEX = switched(sr.CPACR_EL1).index
CNTHCTL_INDEX = in_memory(sr.CNTHCTL_EL2)
VPIDR_SLOT = slot(sr.VPIDR_EL2)
VMPIDR_SLOT = slot(sr.VMPIDR_EL2)
SCTLR_SLOT = slot(sr.SCTLR_EL1)
ACTLR_SLOT = slot(sr.ACTLR_EL1)
VMCR_SLOT = slot(sr.ICH_VMCR_EL2)

NEEDS_NV2 = 1
NEEDS_VHE = 2
NEEDS_GICV3 = 3
NEEDS_POOL = 4
NEEDS_ECV = 5
NEEDS_GIC = 6
"""And not GICv4: `its.init` says in the detail's second byte what is wrong."""
TROUBLE_SHIFT = 8
NEEDS_SMMU = 7
NV2_IMPLEMENTED = 2
LEAST_POINT_SUM = 6
"""The least ICV_BPR0_EL1 and ICH_VTR_EL2.PREbits together."""

GIGABYTES = 512
GIGABYTE_SHIFT, BLOCK_SHIFT = GRANULE_4K.level_shift(1), GRANULE_4K.level_shift(2)
EL2_T0SZ = 25
"""39 bits of virtual address: one level-1 table of 1 GiB blocks."""
ATTR_NORMAL = 0
ATTR_DEVICE = 1
EL2_MAIR = 0x44_04_FF
"""Attr0: Normal Write-Back; Attr1: Device-nGnRE; Attr2: Normal Non-cacheable (`vncr`)."""
BLOCK = Stage1Leaf.VALID.mask | Stage1Leaf.AF.mask
EL2_RES1_AP1 = Stage1Leaf.AP.put(1)
READ_ONLY = Stage1Leaf.AP.put(3)
XN = Stage1Leaf.UXN.mask
NORMAL_BLOCK = BLOCK | EL2_RES1_AP1 | Stage1Leaf.SH.put(3) | Stage1Leaf.AttrIndx.put(ATTR_NORMAL)
DATA_BLOCK = NORMAL_BLOCK | XN
DEVICE_BLOCK = BLOCK | EL2_RES1_AP1 | Stage1Leaf.AttrIndx.put(ATTR_DEVICE) | XN
CODE_BLOCK = BLOCK | READ_ONLY | Stage1Leaf.SH.put(3) | Stage1Leaf.AttrIndx.put(ATTR_NORMAL)
TABLE = 3
SCTLR_ON = sr.SCTLR_EL2.compose(
    M=1, C=1, SA=1, CP15BEN=1, EOS=1, I=1, nTWI=1, nTWE=1, EIS=1, SPAN=1, nTLSMD=1, LSMAOE=1
)
"""EL2's own, E2H=0: bits RES1 there (5, 11, 16, 18, 22, 23, 28, 29), MMU and caches on."""
SCTLR_EL2_RESET = SCTLR_ON & ~sr.SCTLR_EL2.compose(M=1, C=1, SA=1, I=1)
SCTLR_EL1_RESET = sr.SCTLR_EL1.compose(EOS=1, TSCXT=1, EIS=1, SPAN=1, nTLSMD=1, LSMAOE=1)
"""MMU and caches off; the bits that are RES1 without the features that define them."""
CPTR_PROBE = sr.CPTR_EL2_E2H.compose(TCPAC=1, TAM=1)
CLEARED = Vcpu.offset_of("observe")
"""From there on a `Vcpu` is kept when its pcpu starts."""
CNTHCTL_PROBE = sr.CNTHCTL_EL2_E2H.compose(EL1PCTEN=1, EL1PTEN=1, EL1TVT=1, EL1TVCT=1)


@resident
def build_tables(vm: Vm) -> None:
    """Build EL2's own stage 1: identity, L0's image read-only and executable, all else data.

    Two pages at the end of the pool's block hold the tables; the pool is told so.
    """
    vm.stage2.pool_end = u64(vm.config.pool_base + vm.config.pool_size - 2 * PAGE_BYTES)
    level1 = own_tables(vm)
    level2 = u64(level1 + PAGE_BYTES)
    image_gigabyte = vm.config.l0_base >> GIGABYTE_SHIFT
    for i in range(GIGABYTES):
        entry = u64(u64(i << GIGABYTE_SHIFT) | DATA_BLOCK)
        if i == 0:
            entry = DEVICE_BLOCK
        if i == image_gigabyte:
            entry = u64(level2 | TABLE)
        store_u64(PA(level1 + i * 8), entry)
    for i in range(512):
        block = u64(u64(image_gigabyte << GIGABYTE_SHIFT) + (i << BLOCK_SHIFT))
        entry = u64(block | DATA_BLOCK)
        if block == vm.config.l0_base:
            entry = u64(block | CODE_BLOCK)
        store_u64(PA(level2 + i * 8), entry)
    store_u64(PA(level1 + vncr.GIGABYTE * 8), vncr.init(vm) | TABLE)
    dsb_ish()


@inline
def own_tables(vm: Vm) -> u64:
    """Give the address of EL2's own level-1 table, behind the pool."""
    return vm.stage2.pool_end


@resident
def enable_mmu(vm: Vm) -> None:
    """Turn on this pcpu's EL2 stage 1, by the tables of `build_tables`."""
    ps = sr.ID_AA64MMFR0_EL1.PARange.get(mrs(sr.ID_AA64MMFR0_EL1))
    if ps > 5:
        ps = 5
    msr(sr.MAIR_EL2, EL2_MAIR)
    msr(
        sr.TCR_EL2,
        sr.TCR_EL2.res1
        | sr.TCR_EL2.compose(T0SZ=EL2_T0SZ, SH0=3, ORGN0=1, IRGN0=1)
        | sr.TCR_EL2.PS.put(ps),
    )
    msr(sr.TTBR0_EL2, own_tables(vm))
    sysop(TLBI.ALLE2)
    sysop(IC.IALLU)
    dsb_ish()
    isb()
    msr(sr.SCTLR_EL2, SCTLR_ON)
    isb()


@inline
def missing_feature() -> u64:
    """Name what the machine lacks for VHE guests under FEAT_NV2, or 0."""
    if sr.ID_AA64MMFR2_EL1.NV.get(mrs(sr.ID_AA64MMFR2_EL1)) < NV2_IMPLEMENTED:
        return NEEDS_NV2
    if sr.ID_AA64MMFR1_EL1.VH.get(mrs(sr.ID_AA64MMFR1_EL1)) == 0:
        return NEEDS_VHE
    if sr.ID_AA64PFR0_EL1.GIC.get(mrs(sr.ID_AA64PFR0_EL1)) == 0:
        return NEEDS_GICV3
    if sr.ID_AA64MMFR0_EL1.ECV.get(mrs(sr.ID_AA64MMFR0_EL1)) == 0:
        return NEEDS_ECV
    return 0


@resident
def probe(vm: Vm) -> None:
    """Find out what differs between machines and no ID register tells."""
    msr(sr.CPACR_EL1, CPTR_PROBE)
    msr(sr.CNTKCTL_EL1, CNTHCTL_PROBE)
    isb()
    if mrs(sr.CPACR_EL1) & CPTR_PROBE == CPTR_PROBE:
        vm.probed.cpacr_holds_cptr = 1
    if mrs(sr.CNTKCTL_EL1) & CNTHCTL_PROBE == CNTHCTL_PROBE:
        vm.probed.cntkctl_holds_cnthctl = 1
    vm.probed.mdcr = controls.MDCR_ALWAYS
    vm.probed.cnthctl = mrs(sr.CNTHCTL_EL2)
    vm.probed.frequency = mrs(sr.CNTFRQ_EL0)
    if sr.ID_AA64MMFR0_EL1.FGT.get(mrs(sr.ID_AA64MMFR0_EL1)) != 0:
        vm.probed.has_fgt = 1
    monitors.probe(vm)
    if sve.is_offered(vm):
        vm.probed.has_sve = 1
    vtr = mrs(sr.ICH_VTR_EL2)
    vm.probed.list_registers = u64(sr.ICH_VTR_EL2.ListRegs.get(vtr) + 1)
    vm.probed.active_priorities = 1
    bits = sr.ICH_VTR_EL2.PREbits.get(vtr)
    if bits > 4:
        vm.probed.active_priorities = u64(1 << u64(bits - 4))


@inline
def reset_shadows(vcpu: Vcpu) -> None:
    """Reset the EL2 registers that an nVHE guest's hardware state is made from."""
    vcpu.vel2.el1[SCTLR_INDEX] = SCTLR_EL2_RESET
    vcpu.vel2.el1[CPTR_INDEX] = sr.CPTR_EL2.res1


@inline
def least_vmcr() -> u64:
    """Give ICH_VMCR_EL2 out of reset: all that may be 0 is, as the priority bits allow.

    Written with 0 hardware's reads like that, but not where it is a word of a VNCR page. The least
    binary points are those of GICv3 for PREbits + 1 bits of preemption; VFIQEn is RES1 where SRE is
    always 1.
    """
    least = u64(LEAST_POINT_SUM - sr.ICH_VTR_EL2.PREbits.get(mrs(sr.ICH_VTR_EL2)))
    return (
        sr.ICH_VMCR_EL2.VFIQEn.mask
        | sr.ICH_VMCR_EL2.VBPR0.put(least)
        | sr.ICH_VMCR_EL2.VBPR1.put(u64(least + 1))
    )


@inline
def reset_cnthctl(vcpu: Vcpu, value: u64) -> None:
    """Let CNTHCTL_EL2 come out of reset as the machine's own did."""
    vcpu.vel2.memory[CNTHCTL_INDEX] = value
    if vcpu.e2h != 0:
        msr(sr.CNTKCTL_EL1, value)


@inline
def reset_vcpu(vcpu: Vcpu, vm: Vm) -> None:
    """Give the vCPU the state of a PE out of reset, at EL2."""
    page = page_of(vcpu)
    page.slot[HCR_SLOT] = sr.HCR_EL2.RW.mask
    vcpu.e2h = 0
    if vm.config.guest_kind == GUEST_VHE and vm.config.nv_level == LEVEL_NV2:
        page.slot[HCR_SLOT] = sr.HCR_EL2.compose(E2H=1, RW=1)
        vcpu.e2h = 1
    reset_shadows(vcpu)
    page.slot[VPIDR_SLOT] = mrs(sr.MIDR_EL1)
    page.slot[VMPIDR_SLOT] = mrs(sr.MPIDR_EL1)
    page.slot[SCTLR_SLOT] = SCTLR_EL1_RESET
    page.slot[ACTLR_SLOT] = mrs(sr.ACTLR_EL1)
    page.slot[VMCR_SLOT] = least_vmcr()
    msr(sr.SCTLR_EL1, SCTLR_EL1_RESET)
    if vcpu.e2h == 0:
        load_vel2_registers(vcpu)
    optional.load_vel2(vcpu)
    vcpu.pcpu.timer_traps_kept = timer.TRAPS_ALWAYS
    vcpu.pcpu.timer_traps = timer.TRAPS_ALWAYS
    if vcpu.e2h == 0:
        vcpu.pcpu.timer_traps = timer.TRAPS_WITHOUT_E2H
    reset_cnthctl(vcpu, vm.probed.cnthctl)
    vcpu.context = CONTEXT_VEL2
    vcpu.pstate = ENTRY_PSTATE
    monitors.reset(vcpu, vm)


@inline
def take_interface() -> None:
    """Take this pcpu's GIC CPU interface by its system registers."""
    msr(sr.ICC_SRE_EL2, sr.ICC_SRE_EL2.compose(SRE=1, DFB=1, DIB=1, Enable=1))
    isb()
    msr(sr.ICC_SRE_EL1, sr.ICC_SRE_EL1.compose(SRE=1, DFB=1, DIB=1))


@inline
def boot(vcpu: Vcpu, vm: Vm) -> None:
    """Do once what is for the whole machine, on the pcpu that starts first."""
    lacking = missing_feature()
    if lacking != 0:
        fatal(vcpu, Fatal.BAD_MACHINE, lacking)
    build_tables(vm)
    enable_mmu(vm)
    take_interface()
    probe(vm)
    idregs.init(vm)
    optional.init(vm)
    hcrx.init(vm)
    if not stage2.init(vm, mrs(sr.ID_AA64MMFR0_EL1)):
        fatal(vcpu, Fatal.BAD_MACHINE, NEEDS_POOL)
    trouble = its.init(vm)
    if trouble != 0:
        fatal(vcpu, Fatal.BAD_MACHINE, u64(NEEDS_GIC | trouble << TROUBLE_SHIFT))
    if vm.config.smmu_base != 0 and not smmu.init(vm):
        fatal(vcpu, Fatal.BAD_MACHINE, NEEDS_SMMU)


@inline
def forget(vcpu: Vcpu, vm: Vm) -> None:
    """Clear a vCPU up to who watches it: not its counters, nor what PSCI knows; and its page."""
    for i in range(CLEARED // 8):
        store_u64(PA(address_of(vcpu) + i * 8), 0)
    vcpu.vm = address_of(vm)
    pcpu = u64(address_of(vcpu) - VCPU_IN_PCPU)
    vcpu.index = u64(pcpu - vm.config.pcpus) // PCPU_BYTES
    vcpu.vel2.vncr_page = u64(pcpu + VNCR_IN_PCPU)
    pool.zero_page(PA(vcpu.vel2.vncr_page))


@resident
def begin(vcpu: Vcpu, vm: Vm) -> None:
    """Give this pcpu's registers and its vCPU the state from which L1 starts there."""
    reset.registers(vm)
    if vm.probed.has_fgt != 0:
        finegrained.reset()
    sve.reset(vm)
    hcrx.reset(vcpu)
    msr(sr.VTCR_EL2, vm.stage2.vtcr)
    reset_vcpu(vcpu, vm)
    msr(sr.VNCR_EL2, vcpu.vel2.vncr_page)
    stage2.load_canonical(vm)
    controls.load_for_vel2(vcpu)
    sysop(TLBI.ALLE1)
    dsb_ish()
    isb()
    vcpu.x[0] = vcpu.power.entry_x0
    vcpu.pc = vcpu.power.entry_pc


@resident
def start(vcpu: Vcpu, vm: Vm) -> None:
    """Bring up the machine's first pcpu and leave its vCPU ready to run L1's first instruction."""
    forget(vcpu, vm)
    vcpu.power.state = ON
    vm.online = 1
    boot(vcpu, vm)
    begin(vcpu, vm)


@resident
def start_secondary(vcpu: Vcpu, vm: Vm) -> None:
    """Bring up a pcpu that another one has turned on (`power.turn_on`)."""
    enable_mmu(vm)
    forget(vcpu, vm)
    take_interface()
    begin(vcpu, vm)
    store_release_u64(PA(address_of(vcpu.power) + Power.offset_of("state")), ON)

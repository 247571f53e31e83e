"""The trap controls of hardware's EL2 for each context: L0's own, and in vEL1 L0's OR L1's.

L0's part hides what L1 must not see (the hidden features of `idregs`) and reserves what only L0 may
do. L1's part is read from the VNCR page or the context at each entry to vEL1, so L1 can change it
without a trap.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.hcr import HCR_SLOT, NESTED, NV2_IN_USE, STAGE2_ON, l1_hcr, set_l1_hcr
from vel2.hyp.homes import in_memory, slot, switched
from vel2.hyp.state import LEVEL_NV2, VSE_LOADED, Vcpu, page_of, vm_of
from vel2.hyp.timer import load_timer_traps
from vel2.hyp.translate import cnthctl_el2_to_e2h, cptr_el2_to_e2h
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = (
    "CNTHCTL_INDEX",
    "CNTKCTL_INDEX",
    "HCR_FROM_L1",
    "MDCR_ALWAYS",
    "MDCR_INDEX",
    "VDISR_SLOT",
    "l1_cnthctl",
    "l1_cptr",
    "load_for_vel1",
    "load_for_vel2",
    "read_cnthctl",
    "read_cntkctl_el12",
    "read_cptr",
    "save_virtual_serror",
    "write_cnthctl",
    "write_cntkctl_el12",
    "write_cptr",
)

HCR = sr.HCR_EL2

HCR_ALWAYS = HCR.compose(VM=1, RW=1, TSC=1, TID3=1, TACR=1, TIDCP=1, TLOR=1)
"""Set in every context. TSC: PSCI is L0's. TID3: L1 sees the sanitised ID registers. TACR, TIDCP,
TLOR: IMPLEMENTATION DEFINED registers and LORegions are not offered."""
HCR_VEL2 = HCR_ALWAYS | HCR.compose(API=1, APK=1, NV=1, AT=1, TTLB=1)
"""IMO=FMO=AMO=0: physical interrupts go straight to L1."""

HCR_FROM_L1 = 0
for _field in (
    HCR.SWIO, HCR.PTW, HCR.FMO, HCR.IMO, HCR.AMO, HCR.VF, HCR.VI, HCR.VSE, HCR.FB, HCR.BSU, HCR.DC,
    HCR.TWI, HCR.TWE, HCR.TID0, HCR.TID1, HCR.TID2, HCR.TID3, HCR.TSC, HCR.TIDCP, HCR.TACR, HCR.TSW,
    HCR.TPCP, HCR.TPU, HCR.TTLB, HCR.TVM, HCR.TDZ, HCR.HCD, HCR.TRVM, HCR.CD, HCR.ID, HCR.TLOR,
    HCR.TERR, HCR.TEA, HCR.APK, HCR.API, HCR.FIEN, HCR.TID4, HCR.TICAB, HCR.TOCU,
    HCR.TTLBIS, HCR.TTLBOS, HCR.TID5, HCR.FWB, HCR.NV, HCR.NV1, HCR.NV2, HCR.AT,
):  # fmt: skip
    HCR_FROM_L1 |= _field.mask
USUAL = STAGE2_ON | HCR.VSE.mask | NESTED
"""HCR_EL2 with VM alone of these needs no second look (`unusual_hcr`)."""

CPTR_ALWAYS = sr.CPTR_EL2.res1 | sr.CPTR_EL2.compose(TSM=1, TTA=1, TAM=1)
"""SME, trace and activity monitors are hidden."""
MDCR_ALWAYS = sr.MDCR_EL2.compose(TTRF=1, TPMS=1)
"""Trace filter and SPE are hidden; E2PB=E2TB=0 keep the profiling buffers out of reach."""
MDCR_FROM_L1 = sr.MDCR_EL2.compose(
    TDE=1, TDA=1, TDOSA=1, TDRA=1, TDCC=1, TPM=1, TPMCR=1, HPMN=31, HPME=1, HLP=1
)
"""HPMD and HCCD are about EL2, and are in the filters of the counters (`selectors`)."""

HCR_NVHE = HCR.compose(NV1=1)
"""EL1 names mean vEL1's registers, and stage 1 has one privilege level."""
HCR_NVHE_WITHOUT_NV2 = HCR_NVHE | HCR.compose(TVM=1, TRVM=1)
HCR_NV2 = HCR.compose(NV2=1)

E2H_CNTHCTL = sr.CNTHCTL_EL2_E2H
CNTKCTL_BITS = E2H_CNTHCTL.compose(
    EL0PCTEN=1, EL0VCTEN=1, EVNTEN=1, EVNTDIR=1, EVNTI=15, EL0VTEN=1, EL0PTEN=1, EVNTIS=1
)
"""What CNTKCTL_EL1 holds of CNTHCTL_EL2 (E2H=1)."""

CPTR_INDEX = switched(sr.CPACR_EL1).index
CNTKCTL_INDEX = switched(sr.CNTKCTL_EL1).index
CPTR_MEMORY = in_memory(sr.CPTR_EL2)
MDCR_INDEX = in_memory(sr.MDCR_EL2)
CNTHCTL_INDEX = in_memory(sr.CNTHCTL_EL2)
CNTHCTL_TRAPS = sr.CNTHCTL_EL2.compose(EL1TVT=1, EL1TVCT=1, EL1NVPCT=1, EL1NVVCT=1)
"""In the same place whatever E2H is. The last two act where L1 gives vEL1 FEAT_NV2."""
VDISR_SLOT = slot(sr.VDISR_EL2)
VSESR_SLOT = slot(sr.VSESR_EL2)
VPIDR_SLOT = slot(sr.VPIDR_EL2)
VMPIDR_SLOT = slot(sr.VMPIDR_EL2)
FPEN_LOW = 1 << sr.CPACR_EL1.FPEN.lsb
ZEN_LOW = 1 << sr.CPACR_EL1.ZEN.lsb


@inline
def l1_cptr(vcpu: Vcpu) -> u64:
    """Give L1's CPTR_EL2 in the E2H=1 layout, while vEL1 runs."""
    if vcpu.e2h == 0:
        return cptr_el2_to_e2h(vcpu.vel2.el1[CPTR_INDEX])
    if vm_of(vcpu).probed.cpacr_holds_cptr != 0:
        return vcpu.vel2.el1[CPTR_INDEX]
    return vcpu.vel2.memory[CPTR_MEMORY]


@inline
def l1_cnthctl(vcpu: Vcpu, cntkctl: u64) -> u64:
    """Give L1's CNTHCTL_EL2 in the E2H=1 layout; CNTKCTL_EL1 holds the low part then."""
    if vcpu.e2h == 0:
        return cnthctl_el2_to_e2h(vcpu.vel2.memory[CNTHCTL_INDEX])
    if vm_of(vcpu).probed.cntkctl_holds_cnthctl != 0:
        return cntkctl
    return cntkctl & CNTKCTL_BITS | vcpu.vel2.memory[CNTHCTL_INDEX] & ~CNTKCTL_BITS


@resident
def read_cptr(vcpu: Vcpu) -> u64:
    """Read CPTR_EL2 of a vEL2 with E2H=1, by CPACR_EL1 too."""
    if vm_of(vcpu).probed.cpacr_holds_cptr != 0:
        return mrs(sr.CPACR_EL1)
    return vcpu.vel2.memory[CPTR_MEMORY]


@resident
def write_cptr(vcpu: Vcpu, value: u64) -> None:
    """Write CPTR_EL2 of a vEL2 with E2H=1, by CPACR_EL1 too."""
    if vm_of(vcpu).probed.cpacr_holds_cptr == 0:
        vcpu.vel2.memory[CPTR_MEMORY] = value
    msr(sr.CPACR_EL1, value)


@resident
def read_cnthctl(vcpu: Vcpu) -> u64:
    """Read CNTHCTL_EL2 of a vEL2 with E2H=1."""
    return l1_cnthctl(vcpu, mrs(sr.CNTKCTL_EL1))


@resident
def write_cnthctl(vcpu: Vcpu, value: u64) -> None:
    """Write CNTHCTL_EL2 of a vEL2 with E2H=1."""
    vcpu.vel2.memory[CNTHCTL_INDEX] = value
    msr(sr.CNTKCTL_EL1, value)


@resident
def read_cntkctl_el12(vcpu: Vcpu) -> u64:
    """Read CNTKCTL_EL12: vEL1's CNTKCTL_EL1."""
    return vcpu.vel1.el1[CNTKCTL_INDEX]


@resident
def write_cntkctl_el12(vcpu: Vcpu, value: u64) -> None:
    """Write CNTKCTL_EL12."""
    vcpu.vel1.el1[CNTKCTL_INDEX] = value & CNTKCTL_BITS


@inline
def cptr_of_vm(vcpu: Vcpu) -> u64:
    """Give the part of CPTR_EL2 that hides features of the whole VM."""
    if vm_of(vcpu).probed.has_sve != 0:
        return CPTR_ALWAYS
    return CPTR_ALWAYS | sr.CPTR_EL2.TZ.mask


@inline
def hardware_cptr_vel1(vcpu: Vcpu) -> u64:
    """Give CPTR_EL2 (E2H=0) that traps what L1's (E2H=1, TGE=0) traps, and what L0 hides."""
    cptr = l1_cptr(vcpu)
    value = cptr_of_vm(vcpu)
    if cptr & FPEN_LOW == 0:
        value = value | sr.CPTR_EL2.TFP.mask
    if cptr & ZEN_LOW == 0:
        value = value | sr.CPTR_EL2.TZ.mask
    return value | cptr & sr.CPTR_EL2.TCPAC.mask


@inline
def hardware_cnthctl_vel1(vcpu: Vcpu) -> u64:
    """CNTHCTL_EL2 (E2H=0) for vEL1: EL1PCTEN and EL1PCEN sit ten bits lower than with E2H=1."""
    value = l1_cnthctl(vcpu, vcpu.vel2.el1[CNTKCTL_INDEX])
    shift = E2H_CNTHCTL.EL1PCTEN.lsb - sr.CNTHCTL_EL2.EL1PCTEN.lsb
    low = value >> shift & (sr.CNTHCTL_EL2.EL1PCTEN.mask | sr.CNTHCTL_EL2.EL1PCEN.mask)
    return low | value & CNTHCTL_TRAPS


@inline
def vel2_hcr(vcpu: Vcpu) -> u64:
    """Give HCR_EL2 for the hyp context."""
    has_nv2 = vm_of(vcpu).config.nv_level == LEVEL_NV2
    value = u64(HCR_VEL2)
    if has_nv2:
        value = value | HCR_NV2
    if vcpu.e2h == 0:
        if has_nv2:
            value = value | HCR_NVHE
        else:
            value = value | HCR_NVHE_WITHOUT_NV2
    return value


@inline
def vel2_cptr(vcpu: Vcpu) -> u64:
    """Give CPTR_EL2 for the hyp context.

    CPACR_EL1 is L1's CPTR_EL2 with E2H=1, and traps only where it cannot hold all of it. With E2H=0
    it is vEL1's: FEAT_NV2 sends it to the page, FEAT_NV alone has to trap it.
    """
    vm = vm_of(vcpu)
    if vcpu.e2h != 0:
        if vm.probed.cpacr_holds_cptr != 0:
            return cptr_of_vm(vcpu)
    elif vm.config.nv_level == LEVEL_NV2:
        return cptr_of_vm(vcpu)
    return cptr_of_vm(vcpu) | sr.CPTR_EL2.TCPAC.mask


@inline
def load_for_vel2(vcpu: Vcpu) -> None:
    """Set hardware's trap controls and identification registers for the hyp context."""
    msr(sr.HCR_EL2, vel2_hcr(vcpu))
    vcpu.guesses.tlbis_of_own_regime = 0
    msr(sr.CPTR_EL2, vel2_cptr(vcpu))
    msr(sr.MDCR_EL2, vcpu.pcpu.mdcr_vel2)
    load_timer_traps(vcpu)
    if vcpu.e2h != 0:
        msr(sr.CNTVOFF_EL2, 0)
    msr(sr.VPIDR_EL2, mrs(sr.MIDR_EL1))
    msr(sr.VMPIDR_EL2, mrs(sr.MPIDR_EL1))


@resident
def unusual_hcr(vcpu: Vcpu, wanted: u64) -> u64:
    """Give HCR_EL2 for vEL1 without a stage 2, with a virtual SError, or for an L2 at vEL2."""
    hcr = wanted & (HCR_FROM_L1 & ~NESTED) | HCR_ALWAYS
    if wanted & NESTED != 0:
        hcr = hcr | wanted & vm_of(vcpu).probed.nesting
        if hcr & NV2_IN_USE == NV2_IN_USE:
            # ACTLR_EL1 is memory then, and not L0's to hide.
            hcr = hcr & ~HCR.TACR.mask | wanted & HCR.TACR.mask
    if wanted & STAGE2_ON == 0:
        # The canonical stage 2 serves, whose descriptors are in the form without FEAT_S2FWB.
        hcr = hcr & ~HCR.FWB.mask
    if hcr & HCR.VSE.mask != 0:
        msr(sr.VSESR_EL2, page_of(vcpu).slot[VSESR_SLOT])
        vcpu.pcpu.loaded = vcpu.pcpu.loaded | VSE_LOADED
    return hcr


@inline
def save_virtual_serror(vcpu: Vcpu) -> None:
    """Tell L1 that vEL1 has taken or deferred its virtual SError: hardware clears HCR_EL2.VSE."""
    if mrs(sr.HCR_EL2) & HCR.VSE.mask == 0:
        set_l1_hcr(vcpu, l1_hcr(vcpu) & ~HCR.VSE.mask)


@inline
def load_for_vel1(vcpu: Vcpu) -> None:
    """Set hardware's trap controls and identification registers for vEL1."""
    page = page_of(vcpu)
    hcr = page.slot[HCR_SLOT]
    if hcr & USUAL == HCR.VM.mask:
        hcr = hcr & HCR_FROM_L1 | HCR_ALWAYS
    else:
        hcr = unusual_hcr(vcpu, hcr)
    msr(sr.VDISR_EL2, page.slot[VDISR_SLOT])
    msr(sr.HCR_EL2, hcr)
    msr(sr.CPTR_EL2, hardware_cptr_vel1(vcpu))
    msr(sr.MDCR_EL2, vm_of(vcpu).probed.mdcr | vcpu.vel2.memory[MDCR_INDEX] & MDCR_FROM_L1)
    msr(sr.CNTHCTL_EL2, hardware_cnthctl_vel1(vcpu))
    msr(sr.VPIDR_EL2, page.slot[VPIDR_SLOT])
    msr(sr.VMPIDR_EL2, page.slot[VMPIDR_SLOT])

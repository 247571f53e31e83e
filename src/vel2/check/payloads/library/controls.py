"""EL2's controls, written in the layout that HCR_EL2.E2H selects."""

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.check.payloads.library.assembly import SCTLR_OFF
from vel2.check.payloads.library.tables import INPUT_BITS
from vel2.lang import dsb_sy, inline, isb, mrs, msr, resident, sysop, u64

MAX_PS = 5
"""48 bits."""
E2H = sr.HCR_EL2.E2H.mask
HCR_HOST = sr.HCR_EL2.compose(E2H=1, RW=1)
HCR_GUEST = HCR_HOST | sr.HCR_EL2.VM.mask
SCTLR_ON = SCTLR_OFF | sr.SCTLR_EL1.compose(M=1, C=1, I=1)


@resident
def invalidate_all() -> None:
    """Invalidate every translation of EL1&0 and EL2&0."""
    dsb_sy()
    sysop(TLBI.ALLE1IS)
    sysop(TLBI.ALLE2IS)
    dsb_sy()
    isb()


@inline
def physical_size() -> u64:
    """Give ID_AA64MMFR0_EL1.PARange, at most 48 bits, as TCR_ELx and VTCR_EL2 take it."""
    size = sr.ID_AA64MMFR0_EL1.PARange.get(mrs(sr.ID_AA64MMFR0_EL1))
    if size > MAX_PS:
        size = MAX_PS
    return size


@inline
def has_e2h() -> bool:
    """Whether the payload runs with HCR_EL2.E2H=1."""
    return mrs(sr.HCR_EL2) & E2H != 0


@resident
def set_hcr(value: u64) -> None:
    """Write HCR_EL2 except for E2H, which stays as the payload was built."""
    msr(sr.HCR_EL2, value & ~E2H | mrs(sr.HCR_EL2) & E2H)


@resident
def set_cptr(value: u64) -> None:
    """Write CPTR_EL2; the value is in the layout of E2H=1."""
    if has_e2h():
        msr(sr.CPTR_EL2_E2H, value)
        return
    without_e2h = sr.CPTR_EL2.res1 | value & (sr.CPTR_EL2.TCPAC.mask | sr.CPTR_EL2.TAM.mask)
    if sr.CPTR_EL2_E2H.FPEN.get(value) == 0:
        without_e2h = without_e2h | sr.CPTR_EL2.TFP.mask
    if sr.CPTR_EL2_E2H.ZEN.get(value) == 0:
        without_e2h = without_e2h | sr.CPTR_EL2.TZ.mask
    msr(sr.CPTR_EL2, without_e2h)


@resident
def set_cnthctl(value: u64) -> None:
    """Write CNTHCTL_EL2; the value is in the layout of E2H=1."""
    if has_e2h():
        msr(sr.CNTHCTL_EL2_E2H, value)
        return
    layout = sr.CNTHCTL_EL2_E2H
    moved = layout.EL1PCTEN.mask | layout.EL1PTEN.mask
    shift = layout.EL1PCTEN.lsb - sr.CNTHCTL_EL2.EL1PCTEN.lsb
    msr(sr.CNTHCTL_EL2, value & CNTHCTL_SAME_PLACE | (value & moved) >> shift)


CNTHCTL_SAME_PLACE = sr.CNTHCTL_EL2.compose(EL1TVT=1, EL1TVCT=1)


@resident
def use_stage2(root: u64, vmid: u64) -> None:
    """Let L2 run under a stage 2 of 39 bits, from level 1."""
    msr(
        sr.VTCR_EL2,
        sr.VTCR_EL2.res1
        | sr.VTCR_EL2.compose(SH0=3, ORGN0=1, IRGN0=1, SL0=1, T0SZ=64 - INPUT_BITS)
        | sr.VTCR_EL2.PS.put(physical_size()),
    )
    msr(sr.VTTBR_EL2, root | sr.VTTBR_EL2.VMID.put(vmid))
    set_hcr(HCR_GUEST)
    isb()


HCR_BASE = HCR_GUEST | sr.HCR_EL2.compose(API=1, APK=1, EnSCXT=1)
CPTR_BASE = sr.CPTR_EL2_E2H.compose(FPEN=3, ZEN=3)
CNTHCTL_BASE = sr.CNTHCTL_EL2_E2H.compose(EL1PCTEN=1, EL1PTEN=1)
PMU_PRESENT = tuple(range(1, 15))
"""Values of PMUVer: 0 is no PMU, and 15 one of the implementation's own."""


@inline
def set_mdcr(value: u64) -> None:
    """Write MDCR_EL2."""
    msr(sr.MDCR_EL2, value)


@inline
def set_ich_hcr(value: u64) -> None:
    """Write ICH_HCR_EL2."""
    msr(sr.ICH_HCR_EL2, value)


@resident
def no_traps() -> None:
    """Set every control so that nothing traps that payloads run."""
    set_hcr(HCR_BASE)
    set_cptr(CPTR_BASE)
    msr(sr.MDCR_EL2, 0)
    set_cnthctl(CNTHCTL_BASE)
    msr(sr.ICH_HCR_EL2, 0)


@inline
def has_pmu() -> bool:
    """Whether EL2 sees PMUv3."""
    return sr.ID_AA64DFR0_EL1.PMUVer.get(mrs(sr.ID_AA64DFR0_EL1)) in PMU_PRESENT


@resident
def all_counters() -> u64:
    """Give MDCR_EL2 that traps nothing: EL1 has every event counter."""
    if has_pmu():
        return sr.PMCR_EL0.N.get(mrs(sr.PMCR_EL0))
    return 0

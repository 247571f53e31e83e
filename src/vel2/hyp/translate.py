"""What an nVHE guest's EL2 register goes through on its way to hardware's EL1 register.

With E2H=0 the EL2 registers have layouts of their own, and the EL2 regime has one privilege level
and one half of the address space. HCR_EL2.NV1 makes hardware's EL1&0 stage 1 read L1's EL2 tables
that way; these functions do the same for the registers. A *shadow* value exists only here:
everything else that hardware holds is the guest's value as it is. Each function is pure; the
register home table (`homes`) says which register goes through it. Arm ARM: SCTLR_EL2, TCR_EL2,
TTBR0_EL2 and CPTR_EL2 with E2H=0 beside their EL1 namesakes.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, GRANULE_16K, GRANULE_64K
from vel2.lang import inline, resident, u64

__all__ = (
    "cnthctl_el2_to_e2h",
    "cptr_el2_to_cpacr_el1",
    "cptr_el2_to_e2h",
    "identity",
    "sctlr2_el2_to_el1",
    "sctlr_el2_to_el1",
    "tcr2_el2_to_el1",
    "tcr_el2_to_el1",
    "ttbr0_el2_to_el1",
    "zero",
)

TCR_EL1, TCR_EL2 = sr.TCR_EL1, sr.TCR_EL2
CPACR_EL1, CPTR_EL2 = sr.CPACR_EL1, sr.CPTR_EL2

SCTLR_SHARED = sr.SCTLR_EL2.compose(
    M=1, A=1, C=1, SA=1, nAA=1, EOS=1, EnDB=1, I=1, WXN=1, IESB=1, EIS=1, EE=1,
    EnDA=1, EnIB=1, EnIA=1, ITFSB=1, BT=1, DSSBS=1,
)  # fmt: skip
"""Bits that mean the same at the same place. What is left out concerns EL0, which E2H=0 has not."""
SCTLR_FIXED = sr.SCTLR_EL1.compose(
    SA0=0, CP15BEN=1, nTWI=1, nTWE=1, UCT=1, DZE=1, UCI=1, SPAN=1, TSCXT=0, nTLSMD=1, LSMAOE=1
)
"""EL1-only bits, so set that nothing traps or differs for code that believes it is at EL2."""

SCTLR2_SHARED = sr.SCTLR2_EL1.compose(
    NMEA=1, EnADERR=1, EnANERR=1, EASE=1, EnPACM=1, CPTA=1, CPTM=1, EnDB2=1, EnDA2=1, EnIB2=1,
    EnIA2=1, BTD=1, FDIT=1, TLBOSNIS=1,
)  # fmt: skip
TCR2_SHARED = sr.TCR2_EL1.compose(PnCH=1, PIE=1, POE=1, AIE=1, D128=1, PTTWI=1, HAFT=1, DisCH0=1)
TTBR_ASID = sr.TTBR0_EL1.ASID.mask
TCR_SAME_PLACE = (
    TCR_EL1.T0SZ.mask
    | TCR_EL1.IRGN0.mask
    | TCR_EL1.ORGN0.mask
    | TCR_EL1.SH0.mask
    | TCR_EL1.TG0.mask
)
TCR_MOVED = (
    (TCR_EL2.PS, TCR_EL1.IPS),
    (TCR_EL2.TBI, TCR_EL1.TBI0),
    (TCR_EL2.HA, TCR_EL1.HA),
    (TCR_EL2.HD, TCR_EL1.HD),
    (TCR_EL2.HPD, TCR_EL1.HPD0),
    (TCR_EL2.HWU59, TCR_EL1.HWU059),
    (TCR_EL2.HWU60, TCR_EL1.HWU060),
    (TCR_EL2.HWU61, TCR_EL1.HWU061),
    (TCR_EL2.HWU62, TCR_EL1.HWU062),
    (TCR_EL2.TBID, TCR_EL1.TBID0),
    (TCR_EL2.TCMA, TCR_EL1.TCMA0),
    (TCR_EL2.DS, TCR_EL1.DS),
    (TCR_EL2.MTX, TCR_EL1.MTX0),
    (TCR_EL2.T0SZ, TCR_EL1.T1SZ),
    (TCR_EL2.TBI, TCR_EL1.TBI1),
    (TCR_EL2.TBID, TCR_EL1.TBID1),
    (TCR_EL2.TCMA, TCR_EL1.TCMA1),
    (TCR_EL2.MTX, TCR_EL1.MTX1),
)
"""Each field of TCR_EL2 and where TCR_EL1 has it.

The upper half of EL1 gets the lower one's: with E2H=0 there is one range, and an address with bit
55 set is as large, and as tagged, as any other to pointer authentication.
"""
TG1_OF_TG0 = (GRANULE_4K.TG1, GRANULE_64K.TG1, GRANULE_16K.TG1, GRANULE_4K.TG1)

TRAP_NEITHER = 0b11
"""FPEN, ZEN, SMEN: access from EL1 and EL0 is not trapped."""


@inline
def sctlr_el2_to_el1(sctlr_el2: u64) -> u64:
    """Give SCTLR_EL1 for SCTLR_EL2 (E2H=0): shared bits kept, EL0 controls out of the way."""
    return sctlr_el2 & SCTLR_SHARED | SCTLR_FIXED


@inline
def sctlr2_el2_to_el1(sctlr2_el2: u64) -> u64:
    """Give SCTLR2_EL1 for SCTLR2_EL2 (E2H=0): what is about EL0 or the Realm EL2 is not there."""
    return sctlr2_el2 & SCTLR2_SHARED


@resident
def tcr_el2_to_el1(tcr_el2: u64) -> u64:
    """Give TCR_EL1 for TCR_EL2 (E2H=0): both halves are alike, and the upper is not walked."""
    tcr_el1 = tcr_el2 & TCR_SAME_PLACE | TCR_EL1.EPD1.mask
    tcr_el1 = tcr_el1 | TCR_EL1.TG1.put(TG1_OF_TG0[TCR_EL2.TG0.get(tcr_el2)])
    for source, target in TCR_MOVED:
        tcr_el1 = tcr_el1 | target.put(source.get(tcr_el2))
    return tcr_el1


@inline
def tcr2_el2_to_el1(tcr2_el2: u64) -> u64:
    """Give TCR2_EL1 for TCR2_EL2 (E2H=0): what is about EL0, the upper half or ASIDs is not there.

    Nor has EL1 a field for AMEC0, which is about the Realm EL2.
    """
    return tcr2_el2 & TCR2_SHARED


@inline
def ttbr0_el2_to_el1(ttbr0_el2: u64) -> u64:
    """Give TTBR0_EL1 for TTBR0_EL2 (E2H=0), which has no ASID: the VMID keeps regimes apart."""
    return ttbr0_el2 & ~TTBR_ASID


@inline
def cptr_el2_to_cpacr_el1(cptr_el2: u64) -> u64:
    """Give CPACR_EL1 for CPTR_EL2 (E2H=0): a set trap bit is an enable field of 0b00."""
    cpacr = u64(0)
    if cptr_el2 & CPTR_EL2.TFP.mask == 0:
        cpacr = cpacr | CPACR_EL1.FPEN.put(TRAP_NEITHER)
    if cptr_el2 & CPTR_EL2.TZ.mask == 0:
        cpacr = cpacr | CPACR_EL1.ZEN.put(TRAP_NEITHER)
    if cptr_el2 & CPTR_EL2.TSM.mask == 0:
        cpacr = cpacr | CPACR_EL1.SMEN.put(TRAP_NEITHER)
    if cptr_el2 & CPTR_EL2.TTA.mask:
        cpacr = cpacr | CPACR_EL1.TTA.mask
    return cpacr


@inline
def cptr_el2_to_e2h(cptr_el2: u64) -> u64:
    """Give CPTR_EL2 in its E2H=1 layout, for the one question that routing asks."""
    return cptr_el2_to_cpacr_el1(cptr_el2) | cptr_el2 & (CPTR_EL2.TCPAC.mask | CPTR_EL2.TAM.mask)


@inline
def cnthctl_el2_to_e2h(cnthctl_el2: u64) -> u64:
    """Give CNTHCTL_EL2 in its E2H=1 layout: EL1PCTEN and EL1PCEN sit ten bits higher there.

    A bit that E2H=1 alone gives a meaning has none: it is RES0, but keeps what is written.
    """
    moved = u64((cnthctl_el2 & CNTHCTL_MOVED) << CNTHCTL_DISTANCE)
    return cnthctl_el2 & CNTHCTL_SAME_PLACE | moved


CNTHCTL_MOVED = sr.CNTHCTL_EL2.EL1PCTEN.mask | sr.CNTHCTL_EL2.EL1PCEN.mask
CNTHCTL_SAME_PLACE = sr.CNTHCTL_EL2.known & sr.CNTHCTL_EL2_E2H.known & ~CNTHCTL_MOVED
CNTHCTL_DISTANCE = sr.CNTHCTL_EL2_E2H.EL1PCTEN.lsb - sr.CNTHCTL_EL2.EL1PCTEN.lsb


@inline
def identity(value: u64) -> u64:
    """Give the value itself: the layouts agree."""
    return value


@inline
def zero(value: u64) -> u64:
    """Give 0: the register has no part in a regime with E2H=0."""
    return value & 0

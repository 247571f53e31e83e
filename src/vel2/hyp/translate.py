"""What an nVHE guest's EL2 register goes through on its way to hardware's EL1 register.

With E2H=0 the EL2 registers have layouts of their own, and the EL2 regime has one privilege level
and one half of the address space. HCR_EL2.NV1 makes hardware's EL1&0 stage 1 read L1's EL2 tables
that way; these functions do the same for the registers. A *shadow* value exists only here:
everything else that hardware holds is the guest's value as it is. Each function is pure and named
in the register home table (`arch.homes`). Arm ARM: SCTLR_EL2, TCR_EL2, TTBR0_EL2 and CPTR_EL2 with
E2H=0 beside their EL1 namesakes.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, GRANULE_16K, GRANULE_64K
from vel2.arch.homes import SWITCHED
from vel2.lang import inline, resident, u64

SCTLR1 = sr.SCTLR_EL1
SCTLR2 = sr.SCTLR_EL2
TCR1 = sr.TCR_EL1
TCR2 = sr.TCR_EL2

SCTLR_SHARED = 0
"""Bits that mean the same at the same place. What is left out concerns EL0, which E2H=0 has not."""
for _field in (
    SCTLR2.M, SCTLR2.A, SCTLR2.C, SCTLR2.SA, SCTLR2.nAA, SCTLR2.EOS, SCTLR2.EnDB, SCTLR2.I,
    SCTLR2.WXN, SCTLR2.IESB, SCTLR2.EIS, SCTLR2.EE, SCTLR2.EnDA, SCTLR2.EnIB, SCTLR2.EnIA,
    SCTLR2.ITFSB, SCTLR2.BT, SCTLR2.DSSBS,
):  # fmt: skip
    SCTLR_SHARED |= _field.mask
SCTLR_FIXED = SCTLR1.compose(
    SA0=0, CP15BEN=1, nTWI=1, nTWE=1, UCT=1, DZE=1, UCI=1, SPAN=1, TSCXT=0, nTLSMD=1, LSMAOE=1
)
"""EL1-only bits, so set that nothing traps or differs for code that believes it is at EL2."""

TTBR_ASID = sr.TTBR0_EL1.ASID.mask
TCR_SAME_PLACE = TCR1.T0SZ.mask | TCR1.IRGN0.mask | TCR1.ORGN0.mask | TCR1.SH0.mask | TCR1.TG0.mask
TCR_MOVED = (
    (TCR2.PS, TCR1.IPS),
    (TCR2.TBI, TCR1.TBI0),
    (TCR2.HA, TCR1.HA),
    (TCR2.HD, TCR1.HD),
    (TCR2.HPD, TCR1.HPD0),
    (TCR2.HWU59, TCR1.HWU059),
    (TCR2.HWU60, TCR1.HWU060),
    (TCR2.HWU61, TCR1.HWU061),
    (TCR2.HWU62, TCR1.HWU062),
    (TCR2.TBID, TCR1.TBID0),
    (TCR2.TCMA, TCR1.TCMA0),
    (TCR2.DS, TCR1.DS),
    (TCR2.MTX, TCR1.MTX0),
    (TCR2.T0SZ, TCR1.T1SZ),
    (TCR2.TBI, TCR1.TBI1),
    (TCR2.TBID, TCR1.TBID1),
    (TCR2.TCMA, TCR1.TCMA1),
    (TCR2.MTX, TCR1.MTX1),
)
"""Each field of TCR_EL2 and where TCR_EL1 has it.

The upper half of EL1 gets the lower one's: with E2H=0 there is one range, and an address with bit
55 set is as large, and as tagged, as any other to pointer authentication.
"""
TG1_OF_TG0 = (GRANULE_4K.TG1, GRANULE_64K.TG1, GRANULE_16K.TG1, GRANULE_4K.TG1)

CPACR1 = sr.CPACR_EL1
CPTR2 = sr.CPTR_EL2
TRAP_NEITHER = 0b11
"""FPEN, ZEN, SMEN: access from EL1 and EL0 is not trapped."""


@inline
def sctlr_el2_to_el1(sctlr_el2: u64) -> u64:
    """Give SCTLR_EL1 for SCTLR_EL2 (E2H=0): shared bits kept, EL0 controls out of the way."""
    return sctlr_el2 & SCTLR_SHARED | SCTLR_FIXED


@resident
def tcr_el2_to_el1(tcr_el2: u64) -> u64:
    """Give TCR_EL1 for TCR_EL2 (E2H=0): both halves are alike, and the upper is not walked."""
    tcr_el1 = tcr_el2 & TCR_SAME_PLACE | TCR1.EPD1.mask
    tcr_el1 = tcr_el1 | TCR1.TG1.put(TG1_OF_TG0[TCR2.TG0.get(tcr_el2)])
    for source, target in TCR_MOVED:
        tcr_el1 = tcr_el1 | target.put(source.get(tcr_el2))
    return tcr_el1


@inline
def ttbr0_el2_to_el1(ttbr0_el2: u64) -> u64:
    """Give TTBR0_EL1 for TTBR0_EL2 (E2H=0), which has no ASID: the VMID keeps regimes apart."""
    return ttbr0_el2 & ~TTBR_ASID


@inline
def cptr_el2_to_cpacr_el1(cptr_el2: u64) -> u64:
    """Give CPACR_EL1 for CPTR_EL2 (E2H=0): a set trap bit is an enable field of 0b00."""
    cpacr = u64(0)
    if cptr_el2 & CPTR2.TFP.mask == 0:
        cpacr = cpacr | CPACR1.FPEN.put(TRAP_NEITHER)
    if cptr_el2 & CPTR2.TZ.mask == 0:
        cpacr = cpacr | CPACR1.ZEN.put(TRAP_NEITHER)
    if cptr_el2 & CPTR2.TSM.mask == 0:
        cpacr = cpacr | CPACR1.SMEN.put(TRAP_NEITHER)
    if cptr_el2 & CPTR2.TTA.mask:
        cpacr = cpacr | CPACR1.TTA.mask
    return cpacr


@inline
def cptr_el2_to_e2h(cptr_el2: u64) -> u64:
    """Give CPTR_EL2 in its E2H=1 layout, for the one question that routing asks."""
    return cptr_el2_to_cpacr_el1(cptr_el2) | cptr_el2 & (CPTR2.TCPAC.mask | CPTR2.TAM.mask)


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


_BY_NAME = {
    "identity": identity,
    "zero": zero,
    "common": identity,
    "sctlr_el2_to_el1": sctlr_el2_to_el1,
    "tcr_el2_to_el1": tcr_el2_to_el1,
    "ttbr0_el2_to_el1": ttbr0_el2_to_el1,
    "cptr_el2_to_cpacr_el1": cptr_el2_to_cpacr_el1,
}
TRANSLATIONS = tuple(_BY_NAME[row.nvhe] for row in SWITCHED)
"""The function of each switched register, by its index."""

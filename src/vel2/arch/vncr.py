"""The page VNCR_EL2 points to: which EL2 and EL1 accesses FEAT_NV2 turns into memory accesses.

Class A is redirected whenever HCR_EL2.{NV,NV2} is {1,1}. Class P is a pair: with NV1 = 0 the
`_EL12` or `_EL02` name goes to memory and the plain name to the CPU; with NV1 = 1 (an nVHE guest
hypervisor) the plain name goes to memory. Offset and class also stand on the registers
(`HCR_EL2.vncr`); the two are written separately and must agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vel2.arch import sysregs
from vel2.arch.bits import Register

SOURCES = {
    "L": "Linux, the offsets KVM uses",
    "S": "the Sail model of Arm v8.5",
    "Q": "QEMU, the offsets its registers carry",
    "M": "the Arm ARM's table from memory; no second source has it",
}


class VncrRow(NamedTuple):
    """One slot of the page."""

    offset: int
    name: str
    vncr_class: str
    plain: str
    """Name redirected always (A), or while NV1 = 1 (P)."""
    el12: str | None
    """Name redirected while NV1 = 0 (P only)."""
    source: str
    """Key of SOURCES."""


VNCR_PAGE: tuple[VncrRow, ...] = (
    VncrRow(0x020, "VTTBR_EL2", "A", "VTTBR_EL2", None, "L"),
    VncrRow(0x030, "VSTTBR_EL2", "A", "VSTTBR_EL2", None, "S"),
    VncrRow(0x040, "VTCR_EL2", "A", "VTCR_EL2", None, "L"),
    VncrRow(0x048, "VSTCR_EL2", "A", "VSTCR_EL2", None, "S"),
    VncrRow(0x050, "VMPIDR_EL2", "A", "VMPIDR_EL2", None, "L"),
    VncrRow(0x060, "CNTVOFF_EL2", "A", "CNTVOFF_EL2", None, "L"),
    VncrRow(0x078, "HCR_EL2", "A", "HCR_EL2", None, "L"),
    VncrRow(0x080, "HSTR_EL2", "A", "HSTR_EL2", None, "L"),
    VncrRow(0x088, "VPIDR_EL2", "A", "VPIDR_EL2", None, "L"),
    VncrRow(0x090, "TPIDR_EL2", "A", "TPIDR_EL2", None, "L"),
    VncrRow(0x0A0, "HCRX_EL2", "A", "HCRX_EL2", None, "L"),
    VncrRow(0x0B0, "VNCR_EL2", "A", "VNCR_EL2", None, "L"),
    VncrRow(0x100, "CPACR_EL1", "P", "CPACR_EL1", "CPACR_EL12", "L"),
    VncrRow(0x108, "CONTEXTIDR_EL1", "P", "CONTEXTIDR_EL1", "CONTEXTIDR_EL12", "L"),
    VncrRow(0x110, "SCTLR_EL1", "P", "SCTLR_EL1", "SCTLR_EL12", "L"),
    VncrRow(0x118, "ACTLR_EL1", "A", "ACTLR_EL1", None, "L"),
    VncrRow(0x120, "TCR_EL1", "P", "TCR_EL1", "TCR_EL12", "L"),
    VncrRow(0x128, "AFSR0_EL1", "P", "AFSR0_EL1", "AFSR0_EL12", "L"),
    VncrRow(0x130, "AFSR1_EL1", "P", "AFSR1_EL1", "AFSR1_EL12", "L"),
    VncrRow(0x138, "ESR_EL1", "P", "ESR_EL1", "ESR_EL12", "L"),
    VncrRow(0x140, "MAIR_EL1", "P", "MAIR_EL1", "MAIR_EL12", "L"),
    VncrRow(0x148, "AMAIR_EL1", "P", "AMAIR_EL1", "AMAIR_EL12", "L"),
    VncrRow(0x158, "MDSCR_EL1", "A", "MDSCR_EL1", None, "L"),
    VncrRow(0x160, "SPSR_EL1", "P", "SPSR_EL1", "SPSR_EL12", "L"),
    VncrRow(0x168, "CNTV_CVAL_EL0", "P", "CNTV_CVAL_EL0", "CNTV_CVAL_EL02", "L"),
    VncrRow(0x170, "CNTV_CTL_EL0", "P", "CNTV_CTL_EL0", "CNTV_CTL_EL02", "L"),
    VncrRow(0x178, "CNTP_CVAL_EL0", "P", "CNTP_CVAL_EL0", "CNTP_CVAL_EL02", "L"),
    VncrRow(0x180, "CNTP_CTL_EL0", "P", "CNTP_CTL_EL0", "CNTP_CTL_EL02", "L"),
    VncrRow(0x188, "SCXTNUM_EL1", "P", "SCXTNUM_EL1", "SCXTNUM_EL12", "L"),
    VncrRow(0x190, "TFSR_EL1", "P", "TFSR_EL1", "TFSR_EL12", "L"),
    VncrRow(0x1A0, "HDFGRTR2_EL2", "A", "HDFGRTR2_EL2", None, "L"),
    VncrRow(0x1A8, "CNTPOFF_EL2", "A", "CNTPOFF_EL2", None, "Q"),
    VncrRow(0x1B0, "HDFGWTR2_EL2", "A", "HDFGWTR2_EL2", None, "L"),
    VncrRow(0x1B8, "HFGRTR_EL2", "A", "HFGRTR_EL2", None, "L"),
    VncrRow(0x1C0, "HFGWTR_EL2", "A", "HFGWTR_EL2", None, "L"),
    VncrRow(0x1C8, "HFGITR_EL2", "A", "HFGITR_EL2", None, "L"),
    VncrRow(0x1D0, "HDFGRTR_EL2", "A", "HDFGRTR_EL2", None, "L"),
    VncrRow(0x1D8, "HDFGWTR_EL2", "A", "HDFGWTR_EL2", None, "L"),
    VncrRow(0x1E0, "ZCR_EL1", "P", "ZCR_EL1", "ZCR_EL12", "L"),
    VncrRow(0x1E8, "HAFGRTR_EL2", "A", "HAFGRTR_EL2", None, "L"),
    VncrRow(0x1F0, "SMCR_EL1", "P", "SMCR_EL1", "SMCR_EL12", "Q"),
    VncrRow(0x1F8, "SMPRIMAP_EL2", "A", "SMPRIMAP_EL2", None, "M"),
    VncrRow(0x200, "TTBR0_EL1", "P", "TTBR0_EL1", "TTBR0_EL12", "L"),
    VncrRow(0x210, "TTBR1_EL1", "P", "TTBR1_EL1", "TTBR1_EL12", "L"),
    VncrRow(0x220, "FAR_EL1", "P", "FAR_EL1", "FAR_EL12", "L"),
    VncrRow(0x230, "ELR_EL1", "P", "ELR_EL1", "ELR_EL12", "L"),
    VncrRow(0x240, "SP_EL1", "A", "SP_EL1", None, "L"),
    VncrRow(0x250, "VBAR_EL1", "P", "VBAR_EL1", "VBAR_EL12", "L"),
    VncrRow(0x270, "TCR2_EL1", "P", "TCR2_EL1", "TCR2_EL12", "L"),
    VncrRow(0x278, "SCTLR2_EL1", "P", "SCTLR2_EL1", "SCTLR2_EL12", "L"),
    VncrRow(0x280, "MAIR2_EL1", "P", "MAIR2_EL1", "MAIR2_EL12", "M"),
    VncrRow(0x288, "AMAIR2_EL1", "P", "AMAIR2_EL1", "AMAIR2_EL12", "M"),
    VncrRow(0x290, "PIRE0_EL1", "P", "PIRE0_EL1", "PIRE0_EL12", "L"),
    VncrRow(0x298, "PIRE0_EL2", "A", "PIRE0_EL2", None, "M"),
    VncrRow(0x2A0, "PIR_EL1", "P", "PIR_EL1", "PIR_EL12", "L"),
    VncrRow(0x2A8, "POR_EL1", "P", "POR_EL1", "POR_EL12", "L"),
    VncrRow(0x2B0, "S2PIR_EL2", "A", "S2PIR_EL2", None, "M"),
    VncrRow(0x2B8, "S2POR_EL1", "A", "S2POR_EL1", None, "M"),
    VncrRow(0x2C0, "HFGRTR2_EL2", "A", "HFGRTR2_EL2", None, "L"),
    VncrRow(0x2C8, "HFGWTR2_EL2", "A", "HFGWTR2_EL2", None, "L"),
    VncrRow(0x310, "HFGITR2_EL2", "A", "HFGITR2_EL2", None, "L"),
    VncrRow(0x400, "ICH_LR0_EL2", "A", "ICH_LR0_EL2", None, "L"),
    VncrRow(0x408, "ICH_LR1_EL2", "A", "ICH_LR1_EL2", None, "L"),
    VncrRow(0x410, "ICH_LR2_EL2", "A", "ICH_LR2_EL2", None, "L"),
    VncrRow(0x418, "ICH_LR3_EL2", "A", "ICH_LR3_EL2", None, "L"),
    VncrRow(0x420, "ICH_LR4_EL2", "A", "ICH_LR4_EL2", None, "L"),
    VncrRow(0x428, "ICH_LR5_EL2", "A", "ICH_LR5_EL2", None, "L"),
    VncrRow(0x430, "ICH_LR6_EL2", "A", "ICH_LR6_EL2", None, "L"),
    VncrRow(0x438, "ICH_LR7_EL2", "A", "ICH_LR7_EL2", None, "L"),
    VncrRow(0x440, "ICH_LR8_EL2", "A", "ICH_LR8_EL2", None, "L"),
    VncrRow(0x448, "ICH_LR9_EL2", "A", "ICH_LR9_EL2", None, "L"),
    VncrRow(0x450, "ICH_LR10_EL2", "A", "ICH_LR10_EL2", None, "L"),
    VncrRow(0x458, "ICH_LR11_EL2", "A", "ICH_LR11_EL2", None, "L"),
    VncrRow(0x460, "ICH_LR12_EL2", "A", "ICH_LR12_EL2", None, "L"),
    VncrRow(0x468, "ICH_LR13_EL2", "A", "ICH_LR13_EL2", None, "L"),
    VncrRow(0x470, "ICH_LR14_EL2", "A", "ICH_LR14_EL2", None, "L"),
    VncrRow(0x478, "ICH_LR15_EL2", "A", "ICH_LR15_EL2", None, "L"),
    VncrRow(0x480, "ICH_AP0R0_EL2", "A", "ICH_AP0R0_EL2", None, "L"),
    VncrRow(0x488, "ICH_AP0R1_EL2", "A", "ICH_AP0R1_EL2", None, "L"),
    VncrRow(0x490, "ICH_AP0R2_EL2", "A", "ICH_AP0R2_EL2", None, "L"),
    VncrRow(0x498, "ICH_AP0R3_EL2", "A", "ICH_AP0R3_EL2", None, "L"),
    VncrRow(0x4A0, "ICH_AP1R0_EL2", "A", "ICH_AP1R0_EL2", None, "L"),
    VncrRow(0x4A8, "ICH_AP1R1_EL2", "A", "ICH_AP1R1_EL2", None, "L"),
    VncrRow(0x4B0, "ICH_AP1R2_EL2", "A", "ICH_AP1R2_EL2", None, "L"),
    VncrRow(0x4B8, "ICH_AP1R3_EL2", "A", "ICH_AP1R3_EL2", None, "L"),
    VncrRow(0x4C0, "ICH_HCR_EL2", "A", "ICH_HCR_EL2", None, "L"),
    VncrRow(0x4C8, "ICH_VMCR_EL2", "A", "ICH_VMCR_EL2", None, "L"),
    VncrRow(0x500, "VDISR_EL2", "A", "VDISR_EL2", None, "L"),
    VncrRow(0x508, "VSESR_EL2", "A", "VSESR_EL2", None, "L"),
    VncrRow(0x800, "PMBLIMITR_EL1", "A", "PMBLIMITR_EL1", None, "L"),
    VncrRow(0x810, "PMBPTR_EL1", "A", "PMBPTR_EL1", None, "L"),
    VncrRow(0x820, "PMBSR_EL1", "A", "PMBSR_EL1", None, "L"),
    VncrRow(0x828, "PMSCR_EL1", "P", "PMSCR_EL1", "PMSCR_EL12", "L"),
    VncrRow(0x830, "PMSEVFR_EL1", "A", "PMSEVFR_EL1", None, "L"),
    VncrRow(0x838, "PMSICR_EL1", "A", "PMSICR_EL1", None, "L"),
    VncrRow(0x840, "PMSIRR_EL1", "A", "PMSIRR_EL1", None, "L"),
    VncrRow(0x848, "PMSLATFR_EL1", "A", "PMSLATFR_EL1", None, "L"),
    VncrRow(0x850, "PMSNEVFR_EL1", "A", "PMSNEVFR_EL1", None, "L"),
    VncrRow(0x858, "PMSDSFR_EL1", "A", "PMSDSFR_EL1", None, "L"),
    VncrRow(0x880, "TRFCR_EL1", "P", "TRFCR_EL1", "TRFCR_EL12", "L"),
    VncrRow(0x8C0, "GCSPR_EL1", "P", "GCSPR_EL1", "GCSPR_EL12", "M"),
    VncrRow(0x8D0, "GCSCR_EL1", "P", "GCSCR_EL1", "GCSCR_EL12", "Q"),
    VncrRow(0x8E0, "BRBCR_EL1", "P", "BRBCR_EL1", "BRBCR_EL12", "M"),
    VncrRow(0x900, "MPAM1_EL1", "P", "MPAM1_EL1", "MPAM1_EL12", "L"),
    VncrRow(0x930, "MPAMHCR_EL2", "A", "MPAMHCR_EL2", None, "L"),
    VncrRow(0x938, "MPAMVPMV_EL2", "A", "MPAMVPMV_EL2", None, "L"),
    VncrRow(0x940, "MPAMVPM0_EL2", "A", "MPAMVPM0_EL2", None, "L"),
    VncrRow(0x948, "MPAMVPM1_EL2", "A", "MPAMVPM1_EL2", None, "L"),
    VncrRow(0x950, "MPAMVPM2_EL2", "A", "MPAMVPM2_EL2", None, "L"),
    VncrRow(0x958, "MPAMVPM3_EL2", "A", "MPAMVPM3_EL2", None, "L"),
    VncrRow(0x960, "MPAMVPM4_EL2", "A", "MPAMVPM4_EL2", None, "L"),
    VncrRow(0x968, "MPAMVPM5_EL2", "A", "MPAMVPM5_EL2", None, "L"),
    VncrRow(0x970, "MPAMVPM6_EL2", "A", "MPAMVPM6_EL2", None, "L"),
    VncrRow(0x978, "MPAMVPM7_EL2", "A", "MPAMVPM7_EL2", None, "L"),
    VncrRow(0xB10, "ICH_HFGITR_EL2", "A", "ICH_HFGITR_EL2", None, "L"),
    VncrRow(0xB18, "ICH_HFGRTR_EL2", "A", "ICH_HFGRTR_EL2", None, "L"),
    VncrRow(0xB20, "ICH_HFGWTR_EL2", "A", "ICH_HFGWTR_EL2", None, "L"),
)


def audit(rows: Iterable[VncrRow]) -> dict[str, VncrRow]:
    """Check the rows against each other and against the registers; map slots by register name.

    :raises TypeError: names the slot and what is wrong with it.
    """
    offsets: dict[int, str] = {}
    by_name: dict[str, VncrRow] = {}
    for row in rows:
        where = f"VNCR slot {row.offset:#05x} ({row.name})"
        if row.offset % 8 or not 0 <= row.offset < 0x1000:
            raise TypeError(f"{where}: the offset is not a multiple of 8 below 0x1000.")
        if row.offset in offsets:
            raise TypeError(f"{where}: {offsets[row.offset]} has this offset too.")
        offsets[row.offset] = row.name
        if row.name in by_name:
            raise TypeError(f"{where}: the register has slot {by_name[row.name].offset:#05x} too.")
        by_name[row.name] = row
        if row.source not in SOURCES:
            raise TypeError(f"{where}: source {row.source!r} is none of {', '.join(SOURCES)}.")
        if row.vncr_class not in ("A", "P") or (row.el12 is not None) != (row.vncr_class == "P"):
            raise TypeError(f"{where}: class A has one name, class P two; this row does not fit.")
        register = _resolve(where, row.name)
        if (register.vncr, register.vncr_class) != (row.offset, row.vncr_class):
            raise TypeError(
                f"{where}: {row.name} itself says offset"
                f" {register.vncr if register.vncr is None else hex(register.vncr)},"
                f" class {register.vncr_class}."
            )
        if _resolve(where, row.plain) is not register:
            raise TypeError(f"{where}: {row.plain} is not the plain name of {row.name}.")
        if row.el12 is not None and _resolve(where, row.el12).alias_of != row.name:
            raise TypeError(f"{where}: {row.el12} is not the alias of {row.name}.")
    for register in sysregs.ALL_REGISTERS:
        if register.vncr is not None and (register.alias_of or register.name) not in by_name:
            raise TypeError(f"{register.name} claims VNCR slot {register.vncr:#05x}: no such row.")
    return by_name


def _resolve(where: str, name: str) -> type[Register]:
    try:
        return sysregs.by_name(name)
    except KeyError as error:
        raise TypeError(f"{where}: {error.args[0]}") from None


BY_NAME: dict[str, VncrRow] = audit(VNCR_PAGE)


def redirected(*, NV1: bool) -> dict[int, int]:
    """Map the trap key of each access that goes to memory to its offset, for one value of NV1."""
    slots: dict[int, int] = {}
    for row in VNCR_PAGE:
        name = row.plain if NV1 or row.el12 is None else row.el12
        slots[sysregs.by_name(name).trap_key] = row.offset
    return slots


REDIRECTED_TO_EL1: tuple[tuple[str, str], ...] = (
    ("ELR_EL2", "ELR_EL1"),
    ("SPSR_EL2", "SPSR_EL1"),
    ("ESR_EL2", "ESR_EL1"),
    ("FAR_EL2", "FAR_EL1"),
    ("TFSR_EL2", "TFSR_EL1"),
)
"""Accesses {NV,NV2} = {1,1} turns into accesses of an EL1 register (TFSR with FEAT_MTE2)."""

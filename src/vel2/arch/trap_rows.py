"""Which control bit covers which access: the rows `controls` checks and indexes.

Names are registers, or instructions written as `TLBI.VAE1IS`. A name ending in `*` stands for
every register of a family: `DBGBVR*_EL1` is DBGBVR0_EL1 and so on.

Two EL2 registers change layout with HCR_EL2.E2H. Controls name their E2H = 1 layout; a value
written under E2H = 0 has to be brought to it first (CPTR_EL2 and CNTHCTL_EL2).
"""

from __future__ import annotations

from typing import NamedTuple

E2H1_LAYOUT = {"CPTR_EL2_E2H": "CPTR_EL2", "CNTHCTL_EL2_E2H": "CNTHCTL_EL2"}
"""Layouts controls are written in, and the register each is a layout of."""


class Control(NamedTuple):
    """One bit or field that traps: it asks for the trap while `field & mask == traps_when`."""

    name: str
    register: str
    field: str
    traps_when: int
    reads: bool = True
    writes: bool = True
    mask: int | None = None
    """Part of the field that matters, counted from its lsb; None is all of it."""


class Combination(NamedTuple):
    """Several controls over one access: any of them suffices, or all are needed."""

    name: str
    parts: tuple[str, ...]
    need_all: bool = False


class Irregular(NamedTuple):
    """A control that is more than bits: code decides, and this says what it has to decide."""

    name: str
    rule: str


class CoarseRow(NamedTuple):
    """Accesses one control covers."""

    control: str
    names: str


class RangeRow(NamedTuple):
    """Encodings one control covers by number: any CRm and op2 unless given."""

    control: str
    op0: int
    op1: tuple[int, int]
    CRn: tuple[int, int]
    CRm: tuple[int, int] = (0, 15)


class FineRow(NamedTuple):
    """Accesses one bit of the fine-grained registers covers, where not just its namesake."""

    field: str
    names: str
    filter: str | None = None
    """HCRX_EL2 field that, while 1, takes the accesses out of the bit's reach."""


class ClassRow(NamedTuple):
    """A control of HCR_EL2 or CPTR_EL2 whose traps have an exception class of their own."""

    register: str
    field: str
    traps_when: tuple[int, ...]
    """Values of the field that ask for the trap."""
    ec: tuple[int, ...]
    """The classes that the traps are reported with."""
    what: str


class FineOther(NamedTuple):
    """A fine-grained bit whose trap is not reported as EC 0x18."""

    register: str
    field: str
    ec: int
    what: str


def _bit(name: str, register: str, field: str, when: int = 1, access: str = "RW") -> Control:
    return Control(name, register, field, when, "R" in access, "W" in access)


CONTROLS: tuple[Control | Combination | Irregular, ...] = (
    Irregular(
        "HPMN",
        "The event counter, given by the name or by PMSELR_EL0.SEL, is MDCR_EL2.HPMN or higher.",
    ),
    Irregular(
        "SPMACCESSR",
        "SPMACCESSR_EL2 does not allow the system PMU that SPMSELR_EL0 selects.",
    ),
    _bit("HCR_TID1", "HCR_EL2", "TID1", access="R"),
    _bit("HCR_TID2", "HCR_EL2", "TID2"),
    _bit("HCR_TID3", "HCR_EL2", "TID3", access="R"),
    _bit("HCR_TID4", "HCR_EL2", "TID4"),
    _bit("HCR_TID5", "HCR_EL2", "TID5"),
    _bit("HCR_TIDCP", "HCR_EL2", "TIDCP"),
    _bit("HCR_TACR", "HCR_EL2", "TACR"),
    _bit("HCR_TSW", "HCR_EL2", "TSW"),
    _bit("HCR_TPCP", "HCR_EL2", "TPCP"),
    _bit("HCR_TPU", "HCR_EL2", "TPU"),
    _bit("HCR_TOCU", "HCR_EL2", "TOCU"),
    _bit("HCR_TICAB", "HCR_EL2", "TICAB"),
    _bit("HCR_TTLB", "HCR_EL2", "TTLB"),
    _bit("HCR_TTLBIS", "HCR_EL2", "TTLBIS"),
    _bit("HCR_TTLBOS", "HCR_EL2", "TTLBOS"),
    _bit("HCR_TVM", "HCR_EL2", "TVM", access="W"),
    _bit("HCR_TRVM", "HCR_EL2", "TRVM", access="R"),
    _bit("HCR_TDZ", "HCR_EL2", "TDZ"),
    _bit("HCR_TLOR", "HCR_EL2", "TLOR"),
    _bit("HCR_TERR", "HCR_EL2", "TERR"),
    _bit("HCR_nFIEN", "HCR_EL2", "FIEN", 0),
    _bit("HCR_nAPK", "HCR_EL2", "APK", 0),
    _bit("HCR_nEnSCXT", "HCR_EL2", "EnSCXT", 0),
    _bit("HCR_IMO", "HCR_EL2", "IMO", access="W"),
    _bit("HCR_FMO", "HCR_EL2", "FMO", access="W"),
    _bit("HCR_AT", "HCR_EL2", "AT"),
    _bit("HCR_NV", "HCR_EL2", "NV"),
    _bit("HCR_NV1", "HCR_EL2", "NV1"),
    _bit("HCR_nNV1", "HCR_EL2", "NV1", 0),
    _bit("HCR_NV2", "HCR_EL2", "NV2"),
    _bit("HCR_nNV2", "HCR_EL2", "NV2", 0),
    _bit("HCRX_nTCR2En", "HCRX_EL2", "TCR2En", 0),
    _bit("HCRX_nSCTLR2En", "HCRX_EL2", "SCTLR2En", 0),
    _bit("HCRX_nEnFPM", "HCRX_EL2", "EnFPM", 0),
    _bit("HCRX_TALLINT", "HCRX_EL2", "TALLINT", access="W"),
    _bit("HCRX_nNVTGE", "HCRX_EL2", "NVTGE", 0),
    _bit("ICH_HCR_TC", "ICH_HCR_EL2", "TC"),
    _bit("ICH_HCR_TDIR", "ICH_HCR_EL2", "TDIR"),
    _bit("ICH_HCR_TALL0", "ICH_HCR_EL2", "TALL0"),
    _bit("ICH_HCR_TALL1", "ICH_HCR_EL2", "TALL1"),
    _bit("MDCR_TPMCR", "MDCR_EL2", "TPMCR"),
    _bit("MDCR_TPM", "MDCR_EL2", "TPM"),
    _bit("MDCR_TDE", "MDCR_EL2", "TDE"),
    _bit("MDCR_TDA", "MDCR_EL2", "TDA"),
    _bit("MDCR_TDCC", "MDCR_EL2", "TDCC"),
    _bit("MDCR_TDOSA", "MDCR_EL2", "TDOSA"),
    _bit("MDCR_TDRA", "MDCR_EL2", "TDRA"),
    _bit("MDCR_TPMS", "MDCR_EL2", "TPMS"),
    _bit("MDCR_TTRF", "MDCR_EL2", "TTRF"),
    _bit("MDCR_nEnSPM", "MDCR_EL2", "EnSPM", 0),
    Control("MDCR_E2PB", "MDCR_EL2", "E2PB", 0, mask=0b01),
    Control("MDCR_E2TB", "MDCR_EL2", "E2TB", 0, mask=0b01),
    _bit("CPTR_TCPAC", "CPTR_EL2_E2H", "TCPAC"),
    _bit("CPTR_TAM", "CPTR_EL2_E2H", "TAM"),
    _bit("CPTR_TTA", "CPTR_EL2_E2H", "TTA"),
    _bit("CNTHCTL_nEL1PTEN", "CNTHCTL_EL2_E2H", "EL1PTEN", 0),
    _bit("CNTHCTL_nEL1PCTEN", "CNTHCTL_EL2_E2H", "EL1PCTEN", 0),
    _bit("CNTHCTL_EL1TVT", "CNTHCTL_EL2_E2H", "EL1TVT"),
    _bit("CNTHCTL_EL1TVCT", "CNTHCTL_EL2_E2H", "EL1TVCT", access="R"),
    _bit("CNTHCTL_EL1NVPCT", "CNTHCTL_EL2_E2H", "EL1NVPCT"),
    _bit("CNTHCTL_EL1NVVCT", "CNTHCTL_EL2_E2H", "EL1NVVCT"),
    Combination("TID2_TID4", ("HCR_TID2", "HCR_TID4")),
    Combination("TPU_TOCU", ("HCR_TPU", "HCR_TOCU")),
    Combination("TPU_TICAB", ("HCR_TPU", "HCR_TICAB")),
    Combination("TTLB_TTLBIS", ("HCR_TTLB", "HCR_TTLBIS")),
    Combination("TTLB_TTLBOS", ("HCR_TTLB", "HCR_TTLBOS")),
    Combination("TVM_TRVM", ("HCR_TVM", "HCR_TRVM")),
    Combination("TVM_TRVM_TCR2En", ("HCR_TVM", "HCR_TRVM", "HCRX_nTCR2En")),
    Combination("TVM_TRVM_SCTLR2En", ("HCR_TVM", "HCR_TRVM", "HCRX_nSCTLR2En")),
    Combination("NV_nNV2", ("HCR_NV", "HCR_nNV2"), need_all=True),
    Combination("NV_NV1", ("HCR_NV", "HCR_NV1"), need_all=True),
    Combination("NV_NV1_nNV2", ("HCR_NV", "HCR_NV1", "HCR_nNV2"), need_all=True),
    Combination("NV_NV1_nNV2_EnSCXT", ("NV_NV1_nNV2", "HCR_nEnSCXT")),
    Combination("NV_nNVTGE", ("HCR_NV", "HCRX_nNVTGE"), need_all=True),
    Combination("IMO_FMO_TC", ("HCR_IMO", "HCR_FMO", "ICH_HCR_TC")),
    Combination("TC_TDIR", ("ICH_HCR_TC", "ICH_HCR_TDIR")),
    Combination("TPM_TPMCR", ("MDCR_TPM", "MDCR_TPMCR")),
    Combination("TPM_HPMN", ("MDCR_TPM", "HPMN")),
    Combination("TDE_TDA", ("MDCR_TDE", "MDCR_TDA")),
    Combination("TDCC_TDE_TDA", ("MDCR_TDCC", "MDCR_TDE", "MDCR_TDA")),
    Combination("TDE_TDOSA", ("MDCR_TDE", "MDCR_TDOSA")),
    Combination("TDE_TDRA", ("MDCR_TDE", "MDCR_TDRA")),
    Combination("EnSPM_SPMACCESSR", ("MDCR_nEnSPM", "SPMACCESSR")),
    # L2's EL02 timers go to its VNCR page when L1 gives L2 NV2 with NV1 = 0; only then does
    # CNTHCTL_EL2 decide, whatever E2H is. Otherwise they trap as every other EL02 name does.
    Combination("NV2_VHE", ("HCR_NV", "HCR_NV2", "HCR_nNV1"), need_all=True),
    Combination("NV2_VHE_EL1NVPCT", ("NV2_VHE", "CNTHCTL_EL1NVPCT"), need_all=True),
    Combination("NV2_VHE_EL1NVVCT", ("NV2_VHE", "CNTHCTL_EL1NVVCT"), need_all=True),
    Combination("NV_EL1NVPCT", ("NV_nNV2", "NV_NV1", "NV2_VHE_EL1NVPCT")),
    Combination("NV_EL1NVVCT", ("NV_nNV2", "NV_NV1", "NV2_VHE_EL1NVVCT")),
)


_DOMAINS = ("", "IS", "OS")

_TLBI_EL1 = (
    *("VMALLE1", "VAE1", "ASIDE1", "VAAE1", "VALE1", "VAALE1"),
    *("RVAE1", "RVAAE1", "RVALE1", "RVAALE1"),
)

_TLBI_EL2 = (
    *("IPAS2E1", "IPAS2LE1", "RIPAS2E1", "RIPAS2LE1", "ALLE1", "VMALLS12E1", "VMALLWS2E1"),
    *("ALLE2", "VAE2", "VALE2", "RVAE2", "RVALE2"),
)


def _tlbi(suffix: str) -> str:
    return " ".join(f"TLBI.{n}{suffix} TLBI.{n}{suffix}NXS" for n in _TLBI_EL1)


def _tlbi_el2() -> str:
    forms = [f"TLBI.{n}{domain}" for n in _TLBI_EL2 for domain in _DOMAINS]
    return " ".join(f"{form} {form}NXS" for form in forms)


COARSE_ROWS: tuple[CoarseRow, ...] = (
    CoarseRow("HCR_TID1", "REVIDR_EL1 AIDR_EL1 SMIDR_EL1"),
    CoarseRow("HCR_TID2", "CTR_EL0"),
    CoarseRow("TID2_TID4", "CCSIDR_EL1 CCSIDR2_EL1 CLIDR_EL1 CSSELR_EL1"),
    CoarseRow("HCR_TID5", "GMID_EL1"),
    CoarseRow("HCR_TACR", "ACTLR_EL1"),
    CoarseRow(
        "HCR_TSW",
        "DC.ISW DC.CSW DC.CISW DC.IGSW DC.IGDSW DC.CGSW DC.CGDSW DC.CIGSW DC.CIGDSW",
    ),
    CoarseRow(
        "HCR_TPCP",
        "DC.CIVAC DC.CVAC DC.CVAP DC.CVADP DC.IVAC DC.CIGVAC DC.CIGDVAC DC.IGVAC DC.IGDVAC"
        " DC.CGVAC DC.CGDVAC DC.CGVAP DC.CGDVAP DC.CGVADP DC.CGDVADP",
    ),
    CoarseRow("TPU_TOCU", "IC.IVAU IC.IALLU DC.CVAU"),
    CoarseRow("TPU_TICAB", "IC.IALLUIS"),
    CoarseRow("HCR_TTLB", _tlbi("")),
    CoarseRow("TTLB_TTLBIS", _tlbi("IS")),
    CoarseRow("TTLB_TTLBOS", _tlbi("OS")),
    CoarseRow(
        "TVM_TRVM",
        "SCTLR_EL1 TTBR0_EL1 TTBR1_EL1 TCR_EL1 ESR_EL1 FAR_EL1 AFSR0_EL1 AFSR1_EL1 MAIR_EL1"
        " AMAIR_EL1 CONTEXTIDR_EL1 PIR_EL1 PIRE0_EL1 POR_EL1 POR_EL0 MAIR2_EL1 AMAIR2_EL1"
        " S2POR_EL1",
    ),
    CoarseRow("TVM_TRVM_TCR2En", "TCR2_EL1"),
    CoarseRow("TVM_TRVM_SCTLR2En", "SCTLR2_EL1"),
    CoarseRow("HCR_TDZ", "DC.ZVA DC.GVA DC.GZVA"),
    CoarseRow("HCR_TLOR", "LORSA_EL1 LOREA_EL1 LORN_EL1 LORC_EL1 LORID_EL1"),
    CoarseRow(
        "HCR_TERR",
        "ERRIDR_EL1 ERRSELR_EL1 ERXADDR_EL1 ERXCTLR_EL1 ERXFR_EL1 ERXMISC*_EL1 ERXSTATUS_EL1"
        " ERXGSR_EL1",
    ),
    CoarseRow("HCR_nFIEN", "ERXPFGF_EL1 ERXPFGCTL_EL1 ERXPFGCDN_EL1"),
    CoarseRow(
        "HCR_nAPK",
        "APIAKeyLo_EL1 APIAKeyHi_EL1 APIBKeyLo_EL1 APIBKeyHi_EL1 APDAKeyLo_EL1 APDAKeyHi_EL1"
        " APDBKeyLo_EL1 APDBKeyHi_EL1 APGAKeyLo_EL1 APGAKeyHi_EL1",
    ),
    CoarseRow("HCR_AT", "AT.S1E1R AT.S1E1W AT.S1E0R AT.S1E0W AT.S1E1RP AT.S1E1WP AT.S1E1A"),
    CoarseRow(
        "HCR_NV",
        "AT.S1E2R AT.S1E2W AT.S1E2A AT.S12E1R AT.S12E1W AT.S12E0R AT.S12E0W"
        " CPP.RCTX DVP.RCTX CFP.RCTX " + _tlbi_el2(),
    ),
    # Registers of EL2 (op1 = 4). The MECID registers are not there: they UNDEF.
    CoarseRow(
        "HCR_NV",
        "VPIDR_EL2 VMPIDR_EL2 SCTLR_EL2 SCTLR2_EL2 ACTLR_EL2 HCR_EL2 HCRX_EL2 MDCR_EL2 CPTR_EL2"
        " HSTR_EL2 HACR_EL2 HFGRTR_EL2 HFGWTR_EL2 HFGITR_EL2 HDFGRTR_EL2 HDFGWTR_EL2 HAFGRTR_EL2"
        " HFGRTR2_EL2 HFGWTR2_EL2 HFGITR2_EL2 HDFGRTR2_EL2 HDFGWTR2_EL2 ZCR_EL2 SMCR_EL2"
        " SMPRIMAP_EL2 TRFCR_EL2 TRCITECR_EL2 GCSCR_EL2 GCSPR_EL2 TTBR0_EL2 TTBR1_EL2 TCR_EL2"
        " TCR2_EL2 HACDBSBR_EL2 HACDBSCONS_EL2"
        " VTTBR_EL2 VTCR_EL2 VSTTBR_EL2 VSTCR_EL2 VNCR_EL2 HDBSSBR_EL2 HDBSSPROD_EL2"
        " SPSR_EL2 ELR_EL2 SPSR_irq SPSR_abt SPSR_und SPSR_fiq DACR32_EL2 IFSR32_EL2 FPEXC32_EL2"
        " AFSR0_EL2 AFSR1_EL2 ESR_EL2 VSESR_EL2 TFSR_EL2 FAR_EL2 HPFAR_EL2 PFAR_EL2 PMSCR_EL2"
        " MAIR_EL2 MAIR2_EL2 AMAIR_EL2 AMAIR2_EL2 PIRE0_EL2 PIR_EL2 POR_EL2 S2PIR_EL2 MPAMHCR_EL2"
        " MPAMVPMV_EL2 MPAM2_EL2 MPAMVPM*_EL2 VBAR_EL2 RVBAR_EL2 RMR_EL2 VDISR_EL2 CONTEXTIDR_EL2"
        " TPIDR_EL2 SCXTNUM_EL2 AMEVCNTVOFF*_EL2 CNTVOFF_EL2 CNTPOFF_EL2 CNTHCTL_EL2 CNTHP_TVAL_EL2"
        " CNTHP_CTL_EL2 CNTHP_CVAL_EL2 CNTHV_TVAL_EL2 CNTHV_CTL_EL2 CNTHV_CVAL_EL2 CNTHPS_TVAL_EL2"
        " CNTHPS_CTL_EL2 CNTHPS_CVAL_EL2 CNTHVS_TVAL_EL2 CNTHVS_CTL_EL2 CNTHVS_CVAL_EL2"
        " ICC_SRE_EL2 ICH_AP*R*_EL2 ICH_HCR_EL2 ICH_VTR_EL2 ICH_MISR_EL2 ICH_EISR_EL2"
        " ICH_ELRSR_EL2 ICH_VMCR_EL2 ICH_LR*_EL2 ICH_HFGRTR_EL2 ICH_HFGWTR_EL2 ICH_HFGITR_EL2"
        " BRBCR_EL2 BRBCR_EL12 DBGVCR32_EL2 SPMACCESSR_EL2 SPMACCESSR_EL12"
        " CNTKCTL_EL12 CNTP_TVAL_EL02 CNTV_TVAL_EL02",
    ),
    CoarseRow("NV_EL1NVPCT", "CNTP_CTL_EL02 CNTP_CVAL_EL02"),
    CoarseRow("NV_EL1NVVCT", "CNTV_CTL_EL02 CNTV_CVAL_EL02"),
    CoarseRow("NV_nNV2", "SP_EL1"),
    CoarseRow("NV_NV1_nNV2", "VBAR_EL1 ELR_EL1 SPSR_EL1"),
    CoarseRow("NV_NV1_nNV2_EnSCXT", "SCXTNUM_EL1"),
    CoarseRow("HCR_nEnSCXT", "SCXTNUM_EL0"),
    CoarseRow("NV_nNVTGE", "NVHCR_EL2"),
    CoarseRow("HCRX_nEnFPM", "FPMR"),
    CoarseRow("HCRX_TALLINT", "ALLINT"),
    CoarseRow("IMO_FMO_TC", "ICC_SGI0R_EL1 ICC_SGI1R_EL1 ICC_ASGI1R_EL1"),
    CoarseRow("ICH_HCR_TC", "ICC_CTLR_EL1 ICC_PMR_EL1 ICC_RPR_EL1"),
    CoarseRow("TC_TDIR", "ICC_DIR_EL1"),
    CoarseRow(
        "ICH_HCR_TALL0",
        "ICC_AP0R*_EL1 ICC_BPR0_EL1 ICC_EOIR0_EL1 ICC_HPPIR0_EL1 ICC_IAR0_EL1 ICC_IGRPEN0_EL1",
    ),
    CoarseRow(
        "ICH_HCR_TALL1",
        "ICC_AP1R*_EL1 ICC_BPR1_EL1 ICC_EOIR1_EL1 ICC_HPPIR1_EL1 ICC_IAR1_EL1 ICC_IGRPEN1_EL1"
        " ICC_NMIAR1_EL1",
    ),
    CoarseRow("TPM_TPMCR", "PMCR_EL0"),
    CoarseRow(
        "MDCR_TPM",
        "PMCNTENSET_EL0 PMCNTENCLR_EL0 PMOVSSET_EL0 PMOVSCLR_EL0 PMCEID0_EL0 PMCEID1_EL0"
        " PMSWINC_EL0 PMSELR_EL0 PMCCNTR_EL0 PMUSERENR_EL0 PMINTENSET_EL1 PMINTENCLR_EL1 PMMIR_EL1"
        " PMCCFILTR_EL0 PMZR_EL0 PMICNTR_EL0 PMICFILTR_EL0 PMUACR_EL1 PMECR_EL1 PMIAR_EL1"
        " PMSSCR_EL1 PMCCNTSVR_EL1 PMICNTSVR_EL1 PMEVCNTSVR*_EL1",
    ),
    CoarseRow("TPM_HPMN", "PMXEVTYPER_EL0 PMXEVCNTR_EL0 PMEVCNTR*_EL0 PMEVTYPER*_EL0"),
    CoarseRow(
        "TDE_TDA",
        "MDSCR_EL1 OSECCR_EL1 DBGBVR*_EL1 DBGBCR*_EL1 DBGWVR*_EL1 DBGWCR*_EL1 DBGCLAIMSET_EL1"
        " DBGCLAIMCLR_EL1 DBGAUTHSTATUS_EL1 MDSELR_EL1 MDSTEPOP_EL1",
    ),
    CoarseRow(
        "TDCC_TDE_TDA",
        "MDCCSR_EL0 MDCCINT_EL1 OSDTRRX_EL1 OSDTRTX_EL1 DBGDTR_EL0 DBGDTRRX_EL0",
    ),
    CoarseRow("TDE_TDOSA", "OSLAR_EL1 OSLSR_EL1 OSDLR_EL1 DBGPRCR_EL1"),
    CoarseRow("TDE_TDRA", "MDRAR_EL1"),
    CoarseRow("MDCR_E2PB", "PMBLIMITR_EL1 PMBPTR_EL1 PMBSR_EL1 PMBMAR_EL1"),
    CoarseRow(
        "MDCR_TPMS",
        "PMSCR_EL1 PMSEVFR_EL1 PMSFCR_EL1 PMSICR_EL1 PMSIDR_EL1 PMSIRR_EL1 PMSLATFR_EL1"
        " PMSNEVFR_EL1 PMSDSFR_EL1",
    ),
    CoarseRow("MDCR_TTRF", "TRFCR_EL1 TRCITECR_EL1"),
    CoarseRow(
        "MDCR_E2TB",
        "TRBBASER_EL1 TRBLIMITR_EL1 TRBMAR_EL1 TRBPTR_EL1 TRBSR_EL1 TRBTRG_EL1 TRBMPAM_EL1",
    ),
    CoarseRow(
        "MDCR_nEnSPM",
        "SPMDEVAFF_EL1 SPMCGCR0_EL1 SPMCGCR1_EL1 SPMIIDR_EL1 SPMDEVARCH_EL1 SPMCFGR_EL1 SPMSCR_EL1"
        " SPMACCESSR_EL1 SPMSELR_EL0",
    ),
    CoarseRow(
        "EnSPM_SPMACCESSR",
        "SPMCR_EL0 SPMOVSCLR_EL0 SPMOVSSET_EL0 SPMINTENCLR_EL1 SPMINTENSET_EL1 SPMCNTENCLR_EL0"
        " SPMCNTENSET_EL0 SPMZR_EL0 SPMEVCNTR*_EL0 SPMEVTYPER*_EL0 SPMEVFILTR*_EL0"
        " SPMEVFILT2R*_EL0",
    ),
    CoarseRow("CPTR_TCPAC", "CPACR_EL1"),
    CoarseRow(
        "CPTR_TAM",
        "AMUSERENR_EL0 AMCFGR_EL0 AMCGCR_EL0 AMCNTENSET0_EL0 AMCNTENSET1_EL0 AMCNTENCLR0_EL0"
        " AMCNTENCLR1_EL0 AMCR_EL0 AMEVCNTR*_EL0 AMEVTYPER*_EL0",
    ),
    CoarseRow("CNTHCTL_nEL1PTEN", "CNTP_TVAL_EL0 CNTP_CVAL_EL0 CNTP_CTL_EL0"),
    CoarseRow("CNTHCTL_nEL1PCTEN", "CNTPCT_EL0 CNTPCTSS_EL0"),
    CoarseRow("CNTHCTL_EL1TVT", "CNTV_TVAL_EL0 CNTV_CVAL_EL0 CNTV_CTL_EL0"),
    CoarseRow("CNTHCTL_EL1TVCT", "CNTVCT_EL0 CNTVCTSS_EL0"),
)

RANGES: tuple[RangeRow, ...] = (
    RangeRow("HCR_TID3", 3, (0, 0), (0, 0), (1, 7)),
    RangeRow("HCR_TIDCP", 1, (0, 7), (11, 11)),
    RangeRow("HCR_TIDCP", 1, (0, 7), (15, 15)),
    RangeRow("HCR_TIDCP", 3, (0, 7), (11, 11)),
    RangeRow("HCR_TIDCP", 3, (0, 7), (15, 15)),
    # The op1 = 5 space of op0 = 3 but for the timers, which have rows of their own.
    RangeRow("HCR_NV", 3, (5, 5), (0, 10)),
    RangeRow("HCR_NV", 3, (5, 5), (12, 13)),
    RangeRow("CPTR_TTA", 2, (1, 1), (0, 7)),
)

FINE_READ_WRITE: tuple[tuple[str, str | None], ...] = (
    ("HFGRTR_EL2", "HFGWTR_EL2"),
    ("HFGRTR2_EL2", "HFGWTR2_EL2"),
    ("HDFGRTR_EL2", "HDFGWTR_EL2"),
    ("HDFGRTR2_EL2", "HDFGWTR2_EL2"),
    ("HAFGRTR_EL2", None),
)
"""Fine-grained registers for reads, and for writes of the same accesses."""

FINE_INSNS = ("HFGITR_EL2", "HFGITR2_EL2")
"""Fine-grained registers for instructions. ICH_HFG* are left out: vel2 hides GICv5."""


def _tlbi_fine() -> tuple[FineRow, ...]:
    rows: list[FineRow] = []
    for n in _TLBI_EL1:
        for domain in _DOMAINS:
            rows.append(FineRow(f"TLBI{n}{domain}", f"TLBI.{n}{domain}"))
            rows.append(FineRow(f"TLBI{n}{domain}", f"TLBI.{n}{domain}NXS", "FGTnXS"))
    return tuple(rows)


FINE_ROWS: tuple[FineRow, ...] = (
    FineRow("nGCS_EL1", "GCSCR_EL1 GCSPR_EL1"),
    FineRow("nGCS_EL0", "GCSCRE0_EL1 GCSPR_EL0"),
    FineRow("ERXMISCn_EL1", "ERXMISC*_EL1"),
    FineRow("ICC_IGRPENn_EL1", "ICC_IGRPEN0_EL1 ICC_IGRPEN1_EL1"),
    FineRow("TCR_EL1", "TCR_EL1 TCR2_EL1"),
    FineRow("SCTLR_EL1", "SCTLR_EL1 SCTLR2_EL1"),
    FineRow("APIAKey", "APIAKeyLo_EL1 APIAKeyHi_EL1"),
    FineRow("APIBKey", "APIBKeyLo_EL1 APIBKeyHi_EL1"),
    FineRow("APDAKey", "APDAKeyLo_EL1 APDAKeyHi_EL1"),
    FineRow("APDBKey", "APDBKeyLo_EL1 APDBKeyHi_EL1"),
    FineRow("APGAKey", "APGAKeyLo_EL1 APGAKeyHi_EL1"),
    FineRow(
        "nBRBDATA",
        "BRBINF*_EL1 BRBSRC*_EL1 BRBTGT*_EL1 BRBINFINJ_EL1 BRBSRCINJ_EL1 BRBTGTINJ_EL1 BRBTS_EL1",
    ),
    FineRow("nBRBCTL", "BRBCR_EL1 BRBFCR_EL1"),
    FineRow("nBRBIDR", "BRBIDR0_EL1"),
    FineRow("PMCEIDn_EL0", "PMCEID0_EL0 PMCEID1_EL0"),
    FineRow("PMOVS", "PMOVSCLR_EL0 PMOVSSET_EL0"),
    FineRow("PMINTEN", "PMINTENCLR_EL1 PMINTENSET_EL1"),
    FineRow("PMCNTEN", "PMCNTENCLR_EL0 PMCNTENSET_EL0"),
    FineRow("PMEVTYPERn_EL0", "PMEVTYPER*_EL0 PMXEVTYPER_EL0"),
    FineRow("PMEVCNTRn_EL0", "PMEVCNTR*_EL0 PMXEVCNTR_EL0"),
    FineRow("DBGCLAIM", "DBGCLAIMSET_EL1 DBGCLAIMCLR_EL1"),
    FineRow("DBGWVRn_EL1", "DBGWVR*_EL1"),
    FineRow("DBGWCRn_EL1", "DBGWCR*_EL1"),
    FineRow("DBGBVRn_EL1", "DBGBVR*_EL1"),
    FineRow("DBGBCRn_EL1", "DBGBCR*_EL1"),
    FineRow("TRCSSCSRn", "TRCSSCSR*"),
    FineRow("TRCIMSPECn", "TRCIMSPEC*"),
    FineRow("TRCCNTVRn", "TRCCNTVR*"),
    FineRow("TRCCLAIM", "TRCCLAIMCLR TRCCLAIMSET"),
    FineRow("TRCID", "TRCDEVARCH TRCDEVID TRCIDR*"),
    FineRow(
        "TRC",
        "TRCACATR* TRCACVR* TRCBBCTLR TRCCCCTLR TRCCIDCCTLR0 TRCCIDCCTLR1 TRCCIDCVR* TRCCNTCTLR*"
        " TRCCNTRLDVR* TRCCONFIGR TRCEVENTCTL0R TRCEVENTCTL1R TRCEXTINSELR* TRCQCTLR TRCRSCTLR*"
        " TRCRSR TRCSEQEVR* TRCSEQRSTEVR TRCSSCCR* TRCSSPCICR* TRCSTALLCTLR TRCSYNCPR TRCTRACEIDR"
        " TRCTSCTLR TRCVIIECTLR TRCVIPCSSCTLR TRCVISSCTLR TRCVMIDCCTLR0 TRCVMIDCCTLR1 TRCVMIDCVR*",
    ),
    FineRow("nPMSSDATA", "PMCCNTSVR_EL1 PMICNTSVR_EL1 PMEVCNTSVR*_EL1"),
    FineRow("nSPMID", "SPMCFGR_EL1 SPMCGCR0_EL1 SPMCGCR1_EL1 SPMDEVARCH_EL1 SPMIIDR_EL1"),
    FineRow("nSPMCNTEN", "SPMCNTENCLR_EL0 SPMCNTENSET_EL0"),
    FineRow("nSPMINTEN", "SPMINTENCLR_EL1 SPMINTENSET_EL1"),
    FineRow("nSPMOVS", "SPMOVSCLR_EL0 SPMOVSSET_EL0"),
    FineRow("nSPMEVCNTRn_EL0", "SPMEVCNTR*_EL0 SPMZR_EL0"),
    FineRow("nSPMEVTYPERn_EL0", "SPMEVTYPER*_EL0 SPMEVFILTR*_EL0 SPMEVFILT2R*_EL0"),
    FineRow("AMCNTEN0", "AMCNTENCLR0_EL0 AMCNTENSET0_EL0"),
    FineRow("AMCNTEN1", "AMCNTENCLR1_EL0 AMCNTENSET1_EL0"),
    FineRow("ICIALLUIS", "IC.IALLUIS"),
    FineRow("ICIALLU", "IC.IALLU"),
    FineRow("ICIVAU", "IC.IVAU"),
    FineRow("DCIVAC", "DC.IVAC DC.IGVAC DC.IGDVAC"),
    FineRow("DCISW", "DC.ISW DC.IGSW DC.IGDSW"),
    FineRow("DCCSW", "DC.CSW DC.CGSW DC.CGDSW"),
    FineRow("DCCISW", "DC.CISW DC.CIGSW DC.CIGDSW"),
    FineRow("DCCVAU", "DC.CVAU"),
    FineRow("DCCVAP", "DC.CVAP DC.CGVAP DC.CGDVAP"),
    FineRow("DCCVADP", "DC.CVADP DC.CGVADP DC.CGDVADP"),
    FineRow("DCCIVAC", "DC.CIVAC DC.CIGVAC DC.CIGDVAC"),
    FineRow("DCCVAC", "DC.CVAC DC.CGVAC DC.CGDVAC"),
    FineRow("DCZVA", "DC.ZVA DC.GVA DC.GZVA"),
    FineRow("nDCCIVAPS", "DC.CIVAPS DC.CIGDVAPS"),
    FineRow("ATS1E1R", "AT.S1E1R"),
    FineRow("ATS1E1W", "AT.S1E1W"),
    FineRow("ATS1E0R", "AT.S1E0R"),
    FineRow("ATS1E0W", "AT.S1E0W"),
    FineRow("ATS1E1RP", "AT.S1E1RP"),
    FineRow("ATS1E1WP", "AT.S1E1WP"),
    FineRow("ATS1E1A", "AT.S1E1A"),
    *_tlbi_fine(),
    FineRow("CFPRCTX", "CFP.RCTX"),
    FineRow("DVPRCTX", "DVP.RCTX"),
    FineRow("CPPRCTX", "CPP.RCTX"),
    FineRow("COSPRCTX", "COSP.RCTX"),
    FineRow("nBRBINJ", "BRB.INJ"),
    FineRow("nBRBIALL", "BRB.IALL"),
    FineRow("nGCSPUSHM_EL1", "GCS.PUSHM"),
    FineRow("nGCSEPP", "GCS.PUSHX GCS.POPCX GCS.POPX"),
)

FINE_OTHER: tuple[FineOther, ...] = (
    FineOther("HFGITR_EL2", "SVC_EL0", 0x15, "SVC at EL0"),
    FineOther("HFGITR_EL2", "SVC_EL1", 0x15, "SVC at EL1"),
    FineOther("HFGITR_EL2", "ERET", 0x1A, "ERET, ERETAA, ERETAB"),
    FineOther("HFGITR_EL2", "PSBCSYNC", 0x0A, "PSB CSYNC"),
    FineOther("HFGITR2_EL2", "TSBCSYNC", 0x0A, "TSB CSYNC"),
    FineOther("HFGITR_EL2", "nGCSSTR_EL1", 0x0A, "GCSSTR, GCSSTTR"),
)


CLASS_ROWS: tuple[ClassRow, ...] = (
    ClassRow("HCR_EL2", "TWI", (1,), (0x01,), "WFI, WFIT"),
    ClassRow("HCR_EL2", "TWE", (1,), (0x01,), "WFE, WFET"),
    ClassRow("HCR_EL2", "TSC", (1,), (0x17, 0x13), "SMC"),
    ClassRow("HCR_EL2", "NV", (1,), (0x1A,), "ERET, ERETAA, ERETAB at EL1"),
    ClassRow("HCR_EL2", "API", (0,), (0x09,), "instructions that sign or authenticate pointers"),
    ClassRow("HCR_EL2", "TGE", (1,), (0x15,), "SVC at EL0, and all that EL1 would take from EL0"),
    ClassRow("CPTR_EL2", "TFP", (1,), (0x07,), "floating-point and SIMD instructions"),
    ClassRow("CPTR_EL2", "TZ", (1,), (0x19,), "SVE instructions and accesses to ZCR_EL1"),
    ClassRow("CPTR_EL2_E2H", "FPEN", (0, 2), (0x07,), "floating-point and SIMD instructions"),
    ClassRow("CPTR_EL2_E2H", "ZEN", (0, 2), (0x19,), "SVE instructions and accesses to ZCR_EL1"),
    ClassRow("MDCR_EL2", "TDE", (1,), (0x30, 0x32, 0x34, 0x3C), "debug exceptions of EL0 and EL1"),
)
"""Traps that no encoding tells: each has a class, or several, that says what trapped."""

"""Architectural features: what comes and goes with each, and whether L1 sees it.

One record for each feature that an identification register tells of. Everything that depends on a
feature is made from its record: the identification registers of L1, the registers that do not exist
for it, the names of the VNCR page, the bits of HCRX_EL2 that are its, and the list of what is not
supported. A field of an identification register with no record at all would read as zero; a test
refuses that, so that each was thought about once.

Facts: docs/references.md, "Features".
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register

__all__ = (
    "FEATURES",
    "FIXED",
    "HIDDEN_REGISTERS",
    "Feature",
    "Fixed",
    "Hidden",
    "by_name",
    "control_bits",
    "feature_of",
    "hidden_features",
    "registers_of",
)

PFR0, PFR1, PFR2 = sr.ID_AA64PFR0_EL1, sr.ID_AA64PFR1_EL1, sr.ID_AA64PFR2_EL1
DFR0, DFR1 = sr.ID_AA64DFR0_EL1, sr.ID_AA64DFR1_EL1
ISAR0, ISAR1 = sr.ID_AA64ISAR0_EL1, sr.ID_AA64ISAR1_EL1
ISAR2, ISAR3 = sr.ID_AA64ISAR2_EL1, sr.ID_AA64ISAR3_EL1
MMFR0, MMFR1, MMFR2 = sr.ID_AA64MMFR0_EL1, sr.ID_AA64MMFR1_EL1, sr.ID_AA64MMFR2_EL1
MMFR3, MMFR4 = sr.ID_AA64MMFR3_EL1, sr.ID_AA64MMFR4_EL1
HCRX = sr.HCRX_EL2


@dataclass(frozen=True)
class Hidden:
    """Why L1 does not see a feature, and what happens to a guest that uses it all the same."""

    why: str
    using: str = "UNDEFINED"


WHERE_IT_IS = "works where the machine has it"
WHAT_TRAPS = "what traps is UNDEFINED; the rest works where the machine has it"
NOTHING = "nothing of it is within L1's reach"

NOT_SWITCHED = Hidden("its registers are not in the switched set")
WITHOUT_GCS = Hidden(
    NOT_SWITCHED.why,
    "registers and what traps are UNDEFINED; GCSSS1, GCSSS2 and GCSPOPM do nothing where the "
    "machine has it, nor does GCSPOPX on QEMU 11.1, which does not trap it",
)
BIT_OF_TCR2 = Hidden(
    NOT_SWITCHED.why, "registers are UNDEFINED; its bits of TCR2_ELx do what the machine does"
)
NOT_VIRTUALIZED = Hidden("not virtualized yet", WHAT_TRAPS)
NO_BUFFERS = Hidden(
    "buffers and records are not virtualized yet", "UNDEFINED; PSB CSYNC and TSB CSYNC do nothing"
)
ADDRESSES = Hidden(
    "addresses are 48 bits, physical ones 40 where the map fits",
    "stage 1 does what the machine does; L1's stage 2 is walked without them",
)
UNTRAPPED = Hidden(
    "nothing would trap that a guest hypervisor could need, and nobody has tried it", WHERE_IT_IS
)
AARCH32 = Hidden(
    "L0 has no 32-bit vectors, and vEL2 is AArch64 only",
    "at vEL2 an ERET to it is illegal; vEL1 enters it at EL0 where the machine has it, and then "
    "L1's traps are forwarded and L0's own are UNDEFINED",
)
MTE = Hidden(
    "tag storage and GCR_EL1/TFSR switching are not virtualized yet",
    "what EL0 may use, TCO and DC GVA too, executes as on a machine without tag storage; "
    "registers, LDGM and STGM are UNDEFINED",
)
PMU_BEYOND = Hidden("freezing, snapshots and PMICNTR_EL0 are not virtualized yet")
DEBUG_BANKS = Hidden("the bank that MDSELR_EL1 selects is not in the switched set")
SCXTNUM = Hidden("SCXTNUM_ELx is not in the switched set")
NO_SECURE = Hidden("L1 has no Secure state")
NO_REALM = Hidden("L1 has no Realm state")
NO_EL3 = Hidden("L1 has no EL3", NOTHING)
NV_BEYOND = Hidden("what L0 itself does for vEL2 is without it", NOTHING)
BIG_ENDIAN = Hidden(
    "L0 reads L1's tables little-endian",
    "SCTLR_ELx.{EE,E0E} and SETEND act; what L0 walks for L1 is then read wrongly",
)
SVE = Hidden(
    "with FEAT_NV alone ZCR_EL1 of vEL1 cannot be trapped apart from all of SVE; without "
    "FEAT_VHE no CPU has it. `idregs` shows it to the others",
    "UNDEFINED; at the EL0 of a VHE host L1's CPTR_EL2 comes first",
)
SMALL_TABLES = Hidden(
    "the walk of L1's stage 2 takes its input to be 25 bits at least",
    "stage 1 does what the machine does; a smaller stage 2 is walked as one of 25 bits",
)
MOPS = Hidden(
    "a protected KVM 6.12 shows it to L2, and traps it (HCRX_EL2.MSCEn)",
)
DIRTY_STATE = Hidden(
    "the shadow stage 2 would have to write L1's descriptors",
    "stage 1 does what the machine does (TCR_ELx.HD); VTCR_EL2.HD does nothing",
)
ALLINT = Hidden(
    NOT_SWITCHED.why,
    "UNDEFINED, but for reading ALLINT and clearing it, where the machine has it",
)
COSP = Hidden(
    "not useful to a guest hypervisor",
    "COSP RCTX executes where the machine has it",
)
OWN_EXITS = Hidden(
    "L0's own entries and exits synchronize",
    "SCTLR_ELx.{EIS,EOS} act, but not where L0 comes between",
)


@dataclass(frozen=True)
class Feature:
    """One feature.

    :ivar name: Arm's, without an edition.
    :ivar field: the field that tells of it. :ivar value: it is there from this value on.
    :ivar hidden: why L1 does not see it; None where it does.
    :ivar registers: names, apart by spaces, of those that exist only with it; `*` stands for any
        characters, as in `DBGBVR*_EL1`.
    :ivar controls: fields of control registers that are RES0 without it.
    :ivar option: the option of the command line without which L1 does not see it.
    """

    name: str
    field: Field
    value: int = 1
    hidden: Hidden | None = None
    registers: str = ""
    controls: tuple[Field, ...] = ()
    option: str = ""

    @property
    def register(self) -> type[Register]:
        """The identification register that tells of it."""
        return _register_of(self.field)


@dataclass(frozen=True)
class Fixed:
    """A field of an identification register that L1 sees with one value on every machine.

    :ivar name: what another value would tell of, and `hidden` why L1 does not see it.
    """

    field: Field
    value: int
    why: str
    name: str = ""
    hidden: Hidden | None = None

    @property
    def register(self) -> type[Register]:
        """The identification register."""
        return _register_of(self.field)


def _register_of(field: Field) -> type[Register]:
    if not issubclass(field.register, Register):
        raise TypeError(f"{field} is not a field of a register")
    return field.register


FIXED = (
    Fixed(PFR0.EL0, 1, "AArch64 only", "AArch32 at EL0", AARCH32),
    Fixed(PFR0.EL1, 1, "AArch64 only", "AArch32 at EL1", AARCH32),
    Fixed(PFR0.EL2, 1, "vEL2 is AArch64 only"),
    Fixed(PFR0.EL3, 0, "EL2 is L1's highest Exception level"),
    Fixed(MMFR0.TGran4, 0, "supported, for addresses of 48 bits"),
    Fixed(MMFR0.TGran4_2, 0, "as TGran4"),
    Fixed(MMFR0.TGran16_2, 0, "as TGran16"),
    Fixed(MMFR0.TGran64_2, 0, "as TGran64"),
    Fixed(MMFR4.E2H0, 0b1110, "HCR_EL2.E2H is RES1 and NV1 RES0, but where L1 may choose"),
)

FEATURES = (
    # ID_AA64PFR0_EL1
    Feature("FEAT_FP", PFR0.FP, 0),
    Feature("FEAT_AdvSIMD", PFR0.AdvSIMD, 0),
    Feature("FEAT_GICv3", PFR0.GIC),
    Feature("FEAT_GICv4p1", PFR0.GIC, 3,
            Hidden("L1's virtual interrupts are list registers", "as on a GICv3")),
    Feature("FEAT_RAS", PFR0.RAS),
    Feature("FEAT_RASv1p1", PFR0.RAS, 2, NOT_SWITCHED),
    Feature("FEAT_SVE", PFR0.SVE, hidden=SVE,
            registers="ZCR_EL1 ZCR_EL2 ZCR_EL12"),
    Feature("FEAT_SEL2", PFR0.SEL2, hidden=NO_SECURE,
            registers="VSTTBR_EL2 VSTCR_EL2"),
    Feature("FEAT_MPAM", PFR0.MPAM, hidden=NOT_SWITCHED, registers="MPAM*"),
    Feature("FEAT_AMUv1", PFR0.AMU, hidden=NOT_SWITCHED,
            registers="AMCR_EL0 AMCFGR_EL0 AMCGCR_EL0 AMCG1IDR_EL0 AMCNTEN* AMEVCNT* AMEVTYPER*"
                      " AMUSERENR_EL0 HAFGRTR_EL2"),
    Feature("FEAT_DIT", PFR0.DIT),
    Feature("FEAT_RME", PFR0.RME, hidden=NO_REALM),
    Feature("FEAT_CSV2", PFR0.CSV2),
    Feature("FEAT_CSV2_2", PFR0.CSV2, 2, SCXTNUM,
            registers="SCXTNUM_*"),
    Feature("FEAT_CSV3", PFR0.CSV3),
    # ID_AA64PFR1_EL1
    Feature("FEAT_BTI", PFR1.BT),
    Feature("FEAT_SSBS", PFR1.SSBS),
    Feature("FEAT_MTE", PFR1.MTE, hidden=MTE, registers="RGSR_EL1 GCR_EL1 GMID_EL1 TFSR*"),
    Feature("FEAT_MTE_ASYNC", PFR1.MTE_frac, hidden=MTE),
    Feature("FEAT_MTE4", PFR1.MTEX, hidden=MTE),
    Feature("RAS_frac", PFR1.RAS_frac, hidden=NOT_SWITCHED),
    Feature("MPAM_frac", PFR1.MPAM_frac, hidden=NOT_SWITCHED),
    Feature("FEAT_SME", PFR1.SME,
            hidden=Hidden("SMCR_EL2 and the streaming mode are not virtualized yet"),
            registers="SMCR_EL1 SMCR_EL2 SMCR_EL12 SMPRI_EL1 SMPRIMAP_EL2 SMIDR_EL1 SVCR"
                      " TPIDR2_EL0",
            controls=(HCRX.SMPME,)),
    Feature("FEAT_RNG_TRAP", PFR1.RNDR_trap, hidden=NO_EL3),
    Feature("FEAT_CSV2_1p1", PFR1.CSV2_frac),
    Feature("FEAT_CSV2_1p2", PFR1.CSV2_frac, 2, SCXTNUM),
    Feature("FEAT_NMI", PFR1.NMI, hidden=ALLINT, registers="ALLINT",
            controls=(HCRX.TALLINT, HCRX.VINMI, HCRX.VFNMI)),
    Feature("FEAT_GCS", PFR1.GCS, hidden=WITHOUT_GCS, registers="GCS*", controls=(HCRX.GCSEn,)),
    Feature("FEAT_THE", PFR1.THE, hidden=BIT_OF_TCR2, registers="RCWMASK_EL1 RCWSMASK_EL1"),
    Feature("FEAT_DoubleFault2", PFR1.DF2, hidden=NOT_SWITCHED,
            controls=(HCRX.TMEA, HCRX.EnSNERR)),
    Feature("FEAT_PFAR", PFR1.PFAR, hidden=NOT_SWITCHED, registers="PFAR_EL1 PFAR_EL2 PFAR_EL12"),
    # ID_AA64PFR2_EL1
    Feature("FEAT_FPMR", PFR2.FPMR, hidden=NOT_SWITCHED, registers="FPMR", controls=(HCRX.EnFPM,)),
    Feature("MPAM2", PFR2.MPAM2, hidden=NOT_SWITCHED),
    Feature("FEAT_UINJ", PFR2.UINJ, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_GCIE", PFR2.GCIE, hidden=Hidden("L1's GIC is a GICv3"),
            registers="ICH_HFGRTR_EL2 ICH_HFGWTR_EL2 ICH_HFGITR_EL2"),
    Feature("FEAT_MTE_PERM", PFR2.MTEPERM, hidden=MTE),
    Feature("FEAT_MTE_STORE_ONLY", PFR2.MTESTOREONLY, hidden=MTE),
    Feature("FEAT_MTE_TAGGED_FAR", PFR2.MTEFAR, hidden=MTE),
    Feature("FEAT_MTE_EIRG", PFR2.MTEEIRG, hidden=MTE),
    # ID_AA64DFR0_EL1
    Feature("FEAT_Debugv8p8", DFR0.DebugVer, 10),
    Feature("FEAT_Debugv8p9", DFR0.DebugVer, 11, DEBUG_BANKS, registers="MDSELR_EL1 MDSTEPOP_EL1"),
    Feature("breakpoints", DFR0.BRPs, 0),
    Feature("watchpoints", DFR0.WRPs, 0),
    Feature("context-aware breakpoints", DFR0.CTX_CMPs, 0),
    Feature("FEAT_DoubleLock", DFR0.DoubleLock, 0),
    Feature("FEAT_PMUv3p5", DFR0.PMUVer, 6),
    Feature("FEAT_PMUv3p7", DFR0.PMUVer, 7, PMU_BEYOND,
            registers="PMUACR_EL1 PMECR_EL1 PMIAR_EL1 PMZR_EL0"),
    Feature("FEAT_HPMN0", DFR0.HPMN0),
    Feature("FEAT_PMUv3_SS", DFR0.PMSS, hidden=PMU_BEYOND,
            registers="PMSSCR_EL1 PMCCNTSVR_EL1 PMICNTSVR_EL1 PMEVCNTSVR*"),
    Feature("FEAT_SEBEP", DFR0.SEBEP, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_MTPMU", DFR0.MTPMU, hidden=Hidden("a pcpu is one thread", WHERE_IT_IS)),
    Feature("FEAT_ETE", DFR0.TraceVer, hidden=NO_BUFFERS, registers="TRC*"),
    Feature("FEAT_TRF", DFR0.TraceFilt, hidden=NO_BUFFERS,
            registers="TRFCR_EL1 TRFCR_EL2 TRFCR_EL12"),
    Feature("FEAT_TRBE", DFR0.TraceBuffer, hidden=NO_BUFFERS, registers="TRB*"),
    Feature("FEAT_TRBE_EXT", DFR0.ExtTrcBuff, hidden=NO_BUFFERS),
    Feature("FEAT_SPE", DFR0.PMSVer, hidden=NO_BUFFERS,
            registers="PMB* PMSCR_EL1 PMSCR_EL2 PMSCR_EL12 PMSEVFR_EL1 PMSFCR_EL1 PMSICR_EL1"
                      " PMSIDR_EL1 PMSIRR_EL1 PMSLATFR_EL1 PMSNEVFR_EL1 PMSDSFR_EL1"),
    Feature("FEAT_BRBE", DFR0.BRBE, hidden=NO_BUFFERS, registers="BRB*"),
    # ID_AA64DFR1_EL1
    Feature("FEAT_SPMU", DFR1.SPMU, hidden=NOT_SWITCHED, registers="SPM*"),
    Feature("SYSPMUID", DFR1.SYSPMUID, hidden=NOT_SWITCHED),
    Feature("breakpoints beyond 16", DFR1.BRPs, hidden=DEBUG_BANKS),
    Feature("watchpoints beyond 16", DFR1.WRPs, hidden=DEBUG_BANKS),
    Feature("context-aware breakpoints beyond 16", DFR1.CTX_CMPs,
            hidden=DEBUG_BANKS),
    Feature("FEAT_PMUv3_ICNTR", DFR1.PMICNTR, hidden=PMU_BEYOND,
            registers="PMICNTR_EL0 PMICFILTR_EL0"),
    Feature("FEAT_ABLE", DFR1.ABLE, hidden=NOT_VIRTUALIZED),
    Feature("ABL_CMPs", DFR1.ABL_CMPs, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_ITE", DFR1.ITE, hidden=NO_BUFFERS),
    Feature("FEAT_EBEP", DFR1.EBEP, hidden=NOT_VIRTUALIZED),
    Feature("DPFZS", DFR1.DPFZS, hidden=NOT_VIRTUALIZED),
    # ID_AA64ISAR0_EL1
    Feature("FEAT_AES", ISAR0.AES),
    Feature("FEAT_SHA1", ISAR0.SHA1),
    Feature("FEAT_SHA256", ISAR0.SHA2),
    Feature("FEAT_CRC32", ISAR0.CRC32),
    Feature("FEAT_LSE", ISAR0.Atomic, 2),
    Feature("FEAT_TME", ISAR0.TME,
            hidden=Hidden("a transaction that a trap of L0 aborts never ends")),
    Feature("FEAT_RDM", ISAR0.RDM),
    Feature("FEAT_SHA3", ISAR0.SHA3),
    Feature("FEAT_SM3", ISAR0.SM3),
    Feature("FEAT_SM4", ISAR0.SM4),
    Feature("FEAT_DotProd", ISAR0.DP),
    Feature("FEAT_FHM", ISAR0.FHM),
    Feature("FEAT_FlagM", ISAR0.TS),
    Feature("FEAT_TLBIOS", ISAR0.TLB),
    Feature("FEAT_RNG", ISAR0.RNDR),
    # ID_AA64ISAR1_EL1
    Feature("FEAT_DPB", ISAR1.DPB),
    Feature("FEAT_PAuth, QARMA5", ISAR1.APA),
    Feature("FEAT_PAuth, IMPLEMENTATION DEFINED", ISAR1.API),
    Feature("FEAT_JSCVT", ISAR1.JSCVT),
    Feature("FEAT_FCMA", ISAR1.FCMA),
    Feature("FEAT_LRCPC", ISAR1.LRCPC),
    Feature("FEAT_PAuth generic, QARMA5", ISAR1.GPA),
    Feature("FEAT_PAuth generic, IMPLEMENTATION DEFINED", ISAR1.GPI),
    Feature("FEAT_FRINTTS", ISAR1.FRINTTS),
    Feature("FEAT_SB", ISAR1.SB),
    Feature("FEAT_SPECRES", ISAR1.SPECRES),
    Feature("FEAT_SPECRES2", ISAR1.SPECRES, 2, COSP),
    Feature("FEAT_BF16", ISAR1.BF16),
    Feature("FEAT_DGH", ISAR1.DGH),
    Feature("FEAT_I8MM", ISAR1.I8MM),
    Feature("FEAT_XS", ISAR1.XS, controls=(HCRX.FGTnXS, HCRX.FnXS)),
    Feature("FEAT_LS64", ISAR1.LS64, hidden=NOT_SWITCHED, registers="ACCDATA_EL1",
            controls=(HCRX.EnALS, HCRX.EnAS0, HCRX.EnASR)),
    # ID_AA64ISAR2_EL1
    Feature("FEAT_WFxT", ISAR2.WFxT),
    Feature("FEAT_RPRES", ISAR2.RPRES),
    Feature("FEAT_PAuth generic, QARMA3", ISAR2.GPA3),
    Feature("FEAT_PAuth, QARMA3", ISAR2.APA3),
    Feature("FEAT_MOPS", ISAR2.MOPS, hidden=MOPS, controls=(HCRX.MSCEn, HCRX.MCE2)),
    Feature("FEAT_HBC", ISAR2.BC),
    Feature("FEAT_CONSTPACFIELD", ISAR2.PAC_frac),
    Feature("FEAT_CLRBHB", ISAR2.CLRBHB),
    Feature("FEAT_SYSREG128", ISAR2.SYSREG_128, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_SYSINSTR128", ISAR2.SYSINSTR_128, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_PRFMSLC", ISAR2.PRFMSLC, hidden=UNTRAPPED),
    Feature("FEAT_PCDPHINT", ISAR2.PCDPHINT, hidden=UNTRAPPED),
    Feature("FEAT_RPRFM", ISAR2.RPRFM, hidden=UNTRAPPED),
    Feature("FEAT_CSSC", ISAR2.CSSC, hidden=UNTRAPPED),
    Feature("FEAT_LUT", ISAR2.LUT, hidden=UNTRAPPED),
    Feature("FEAT_ATS1A", ISAR2.ATS1A, hidden=NOT_VIRTUALIZED),
    # ID_AA64ISAR3_EL1
    Feature("FEAT_CPA", ISAR3.CPA, hidden=UNTRAPPED),
    Feature("FEAT_FAMINMAX", ISAR3.FAMINMAX, hidden=UNTRAPPED),
    Feature("FEAT_TLBIW", ISAR3.TLBIW, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_PAuth_LR", ISAR3.PACM, hidden=NOT_VIRTUALIZED, controls=(HCRX.PACMEn,)),
    Feature("FEAT_LSFE", ISAR3.LSFE, hidden=UNTRAPPED),
    Feature("FEAT_OCCMO", ISAR3.OCCMO, hidden=UNTRAPPED),
    Feature("FEAT_LSUI", ISAR3.LSUI, hidden=UNTRAPPED),
    Feature("FEAT_FPRCVT", ISAR3.FPRCVT, hidden=UNTRAPPED),
    Feature("PAC_frac2", ISAR3.PAC_frac2, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_MTETC", ISAR3.MTETC, hidden=MTE),
    Feature("LSCSHINT", ISAR3.LSCSHINT, hidden=UNTRAPPED),
    Feature("FEAT_LSCP", ISAR3.LSCP, hidden=UNTRAPPED),
    # ID_AA64MMFR0_EL1
    Feature("PARange of 48 bits", MMFR0.PARange, 5),
    Feature("FEAT_LPA", MMFR0.PARange, 6, ADDRESSES),
    Feature("ASIDs of 16 bits", MMFR0.ASIDBits, 2),
    Feature("FEAT_MixedEnd", MMFR0.BigEnd, hidden=BIG_ENDIAN),
    Feature("FEAT_MixedEndEL0", MMFR0.BigEndEL0, hidden=BIG_ENDIAN),
    Feature("SNSMem", MMFR0.SNSMem),
    Feature("granule of 16 KiB", MMFR0.TGran16),
    Feature("FEAT_LPA2", MMFR0.TGran16, 2, ADDRESSES),
    Feature("granule of 64 KiB", MMFR0.TGran64, 0),
    Feature("FEAT_ExS", MMFR0.ExS, hidden=OWN_EXITS),
    Feature("FEAT_FGT", MMFR0.FGT,
            registers="HFGRTR_EL2 HFGWTR_EL2 HFGITR_EL2 HDFGRTR_EL2 HDFGWTR_EL2"),
    Feature("FEAT_FGT2", MMFR0.FGT, 2, Hidden("the features its bits are about are hidden too"),
            registers="HFGRTR2_EL2 HFGWTR2_EL2 HFGITR2_EL2 HDFGRTR2_EL2 HDFGWTR2_EL2"),
    Feature("FEAT_ECV", MMFR0.ECV),
    Feature("FEAT_ECV_POFF", MMFR0.ECV, 2, Hidden("CNTPOFF_EL2 is L0's"), registers="CNTPOFF_EL2"),
    # ID_AA64MMFR1_EL1
    Feature("FEAT_HAFDBS, access flag", MMFR1.HAFDBS),
    Feature("FEAT_HAFDBS, dirty state", MMFR1.HAFDBS, 2,
            DIRTY_STATE),
    Feature("FEAT_VMID16", MMFR1.VMIDBits, 2),
    Feature("FEAT_VHE", MMFR1.VH),
    Feature("FEAT_HPDS", MMFR1.HPDS),
    Feature("FEAT_LOR", MMFR1.LO, hidden=Hidden("not useful to a guest hypervisor"),
            registers="LOR*"),
    Feature("FEAT_PAN", MMFR1.PAN),
    Feature("SpecSEI", MMFR1.SpecSEI),
    Feature("FEAT_XNX", MMFR1.XNX),
    Feature("FEAT_TWED", MMFR1.TWED, hidden=UNTRAPPED),
    Feature("FEAT_ETS2", MMFR1.ETS, 2),
    Feature("FEAT_HCX", MMFR1.HCX, registers="HCRX_EL2"),
    Feature("FEAT_AFP", MMFR1.AFP),
    Feature("FEAT_nTLBPA", MMFR1.nTLBPA,
            hidden=Hidden("QEMU's caching of walks is not known", NOTHING)),
    Feature("FEAT_TIDCP1", MMFR1.TIDCP1, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_CMOW", MMFR1.CMOW, hidden=NOT_VIRTUALIZED, controls=(HCRX.CMOW,)),
    Feature("FEAT_ECBHB", MMFR1.ECBHB, hidden=UNTRAPPED),
    # ID_AA64MMFR2_EL1
    Feature("FEAT_TTCNP", MMFR2.CnP),
    Feature("FEAT_UAO", MMFR2.UAO),
    Feature("FEAT_LSMAOC", MMFR2.LSM, hidden=Hidden("it is about AArch32", WHERE_IT_IS)),
    Feature("FEAT_IESB", MMFR2.IESB),
    Feature("FEAT_LVA", MMFR2.VARange, hidden=ADDRESSES),
    Feature("FEAT_CCIDX", MMFR2.CCIDX),
    Feature("FEAT_NV", MMFR2.NV, option="--recursion"),
    Feature("FEAT_NV2", MMFR2.NV, 2, registers="VNCR_EL2", option="--recursion"),
    Feature("FEAT_TTST", MMFR2.ST,
            hidden=SMALL_TABLES),
    Feature("FEAT_LSE2", MMFR2.AT),
    Feature("FEAT_IDST", MMFR2.IDS),
    Feature("FEAT_S2FWB", MMFR2.FWB),
    Feature("FEAT_TTL", MMFR2.TTL),
    Feature("FEAT_BBM", MMFR2.BBM),
    Feature("FEAT_EVT", MMFR2.EVT),
    Feature("FEAT_E0PD", MMFR2.E0PD),
    # ID_AA64MMFR3_EL1
    Feature("FEAT_TCR2", MMFR3.TCRX, registers="TCR2_EL1 TCR2_EL2 TCR2_EL12",
            controls=(HCRX.TCR2En,)),
    Feature("FEAT_SCTLR2", MMFR3.SCTLRX, registers="SCTLR2_EL1 SCTLR2_EL2 SCTLR2_EL12",
            controls=(HCRX.SCTLR2En,)),
    Feature("FEAT_S1PIE", MMFR3.S1PIE, hidden=BIT_OF_TCR2,
            registers="PIR_EL1 PIR_EL2 PIR_EL12 PIRE0_EL1 PIRE0_EL2 PIRE0_EL12"),
    Feature("FEAT_S2PIE", MMFR3.S2PIE, hidden=NOT_SWITCHED, registers="S2PIR_EL2"),
    Feature("FEAT_S1POE", MMFR3.S1POE, hidden=BIT_OF_TCR2,
            registers="POR_EL0 POR_EL1 POR_EL2 POR_EL12"),
    Feature("FEAT_S2POE", MMFR3.S2POE, hidden=NOT_SWITCHED, registers="S2POR_EL1"),
    Feature("FEAT_AIE", MMFR3.AIE, hidden=BIT_OF_TCR2,
            registers="MAIR2_EL1 MAIR2_EL2 MAIR2_EL12 AMAIR2_EL1 AMAIR2_EL2 AMAIR2_EL12"),
    Feature("FEAT_MEC", MMFR3.MEC, hidden=NO_REALM, registers="MEC* VMECID*"),
    Feature("FEAT_D128", MMFR3.D128, hidden=ADDRESSES,
            controls=(HCRX.D128En, HCRX.EnIDCP128, HCRX.PTTWI)),
    Feature("D128_2", MMFR3.D128_2, hidden=ADDRESSES),
    Feature("SNERR", MMFR3.SNERR, hidden=NOT_VIRTUALIZED),
    Feature("ANERR", MMFR3.ANERR, hidden=NOT_VIRTUALIZED),
    Feature("SDERR", MMFR3.SDERR, hidden=NOT_VIRTUALIZED, controls=(HCRX.EnSDERR,)),
    Feature("ADERR", MMFR3.ADERR, hidden=NOT_VIRTUALIZED),
    Feature("Spec_FPACC", MMFR3.Spec_FPACC, hidden=UNTRAPPED),
    # ID_AA64MMFR4_EL1
    Feature("FEAT_PoPS", MMFR4.PoPS, hidden=NOT_VIRTUALIZED),
    Feature("EIESB", MMFR4.EIESB, hidden=UNTRAPPED),
    Feature("FEAT_ASID2", MMFR4.ASID2,
            hidden=Hidden("TTBR1_EL1's ASID comes by TCR2_EL1", WHAT_TRAPS)),
    Feature("FEAT_HACDBS", MMFR4.HACDBS, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_FGWTE3", MMFR4.FGWTE3, hidden=NO_EL3),
    Feature("FEAT_NV2p1", MMFR4.NV_frac, 2, NV_BEYOND),
    Feature("FEAT_NV3", MMFR4.NV_frac, 3, NV_BEYOND, registers="NVHCR_EL2",
            controls=(HCRX.NVTGE, HCRX.NVnTTLB, HCRX.NVnTTLBIS, HCRX.NVnTTLBOS)),
    Feature("RMEGDI", MMFR4.RMEGDI, hidden=NO_REALM),
    Feature("FEAT_E3DSE", MMFR4.E3DSE, hidden=NO_EL3),
    Feature("EAESR", MMFR4.EAESR, hidden=NOT_VIRTUALIZED),
    Feature("FEAT_TLBID", MMFR4.TLBID, hidden=NOT_VIRTUALIZED,
            controls=(HCRX.VTLBIDEn, HCRX.VTLBIDOSEn)),
    Feature("FEAT_SRMASK", MMFR4.SRMASK, hidden=NOT_SWITCHED,
            registers="TCR2MASK_EL1 TCR2ALIAS_EL1 SCTLR2MASK_EL1 SCTLR2ALIAS_EL1",
            controls=(HCRX.SRMASKEn,)),
    Feature("SCRX", MMFR4.SCRX, hidden=NO_EL3),
)  # fmt: skip


def by_name(name: str) -> Feature:
    """Find a feature.

    :raises KeyError: when there is none of that name.
    """
    for feature in FEATURES:
        if feature.name == name:
            return feature
    raise KeyError(f"no feature is called {name!r}")


def registers_of(feature: Feature) -> tuple[type[Register], ...]:
    """Give the registers that exist only with a feature.

    :raises ValueError: when a name means no register.
    """
    found = []
    for pattern in feature.registers.split():
        matching = [each for each in sr.ALL_REGISTERS if fnmatch.fnmatchcase(each.name, pattern)]
        if not matching:
            raise ValueError(f"{feature.name}: {pattern} is no register; see vel2.arch.sysregs.")
        found += matching
    return tuple(found)


HIDDEN_REGISTERS = frozenset(
    register for feature in FEATURES if feature.hidden for register in registers_of(feature)
)
"""What does not exist for L1, whatever the machine has."""


_FEATURE_OF = {register: each for each in FEATURES for register in registers_of(each)}


def feature_of(register: type[Register]) -> Feature | None:
    """Give the feature that a register comes and goes with, if there is one."""
    return _FEATURE_OF.get(register)


def control_bits(feature: Feature, register: type[Register]) -> int:
    """Give the bits of a control register that are RES0 without a feature."""
    mask = 0
    for field in feature.controls:
        if field.register is register:
            mask |= field.mask
    return mask


def hidden_features() -> dict[Hidden, list[str]]:
    """Give the names of what L1 does not see, by the reason and by what using it does.

    A field of an identification register that only qualifies another's feature has no name.
    """
    found: dict[Hidden, list[str]] = {}
    for record in (*FIXED, *FEATURES):
        if record.hidden is not None and record.name != record.field.name:
            found.setdefault(record.hidden, []).append(record.name)
    return found

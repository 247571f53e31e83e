"""The optional registers and instructions that payload `features` tries, and code that does so."""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.lang import Assembler


@dataclass(frozen=True)
class FeatureCode:
    """A register that is there if `identification.field` is at least `least`."""

    register: type[Register]
    identification: type[Register]
    field: str
    least: int = 1

    @property
    def label(self) -> str:
        """The label of the code, which reads into x0 and returns to x30."""
        return f"feature_{self.register.name.lower()}"

    @property
    def is_el1(self) -> bool:
        """Whether EL1 may read it, if it is present."""
        return self.register.encoding.op1 != EL2_OP1


EL2_OP1 = 4
PFR0, PFR1 = sr.ID_AA64PFR0_EL1, sr.ID_AA64PFR1_EL1
DFR0 = sr.ID_AA64DFR0_EL1
MMFR0, MMFR1 = sr.ID_AA64MMFR0_EL1, sr.ID_AA64MMFR1_EL1
MMFR2, MMFR3 = sr.ID_AA64MMFR2_EL1, sr.ID_AA64MMFR3_EL1
OPTIONAL = (
    FeatureCode(sr.ZCR_EL2, PFR0, "SVE"),
    FeatureCode(sr.ZCR_EL1, PFR0, "SVE"),
    FeatureCode(sr.SMCR_EL2, PFR1, "SME"),
    FeatureCode(sr.SMCR_EL1, PFR1, "SME"),
    FeatureCode(sr.TFSR_EL2, PFR1, "MTE", 2),
    FeatureCode(sr.TFSR_EL1, PFR1, "MTE", 2),
    FeatureCode(sr.GCR_EL1, PFR1, "MTE", 2),
    FeatureCode(sr.AMCR_EL0, PFR0, "AMU"),
    FeatureCode(sr.PMCR_EL0, DFR0, "PMUVer"),
    FeatureCode(sr.PMCCNTR_EL0, DFR0, "PMUVer"),
    FeatureCode(sr.PMSCR_EL2, DFR0, "PMSVer"),
    FeatureCode(sr.PMSCR_EL1, DFR0, "PMSVer"),
    FeatureCode(sr.TRFCR_EL2, DFR0, "TraceFilt"),
    FeatureCode(sr.TRFCR_EL1, DFR0, "TraceFilt"),
    FeatureCode(sr.TRBLIMITR_EL1, DFR0, "TraceBuffer"),
    FeatureCode(sr.BRBCR_EL2, DFR0, "BRBE"),
    FeatureCode(sr.BRBCR_EL1, DFR0, "BRBE"),
    FeatureCode(sr.HFGRTR_EL2, MMFR0, "FGT"),
    FeatureCode(sr.HFGITR_EL2, MMFR0, "FGT"),
    FeatureCode(sr.HDFGRTR_EL2, MMFR0, "FGT"),
    FeatureCode(sr.HFGRTR2_EL2, MMFR0, "FGT", 2),
    FeatureCode(sr.CNTPOFF_EL2, MMFR0, "ECV", 2),
    FeatureCode(sr.LORC_EL1, MMFR1, "LO"),
    FeatureCode(sr.HCRX_EL2, MMFR1, "HCX"),
    FeatureCode(sr.VNCR_EL2, MMFR2, "NV", 2),
    FeatureCode(sr.TCR2_EL2, MMFR3, "TCRX"),
    FeatureCode(sr.TCR2_EL1, MMFR3, "TCRX"),
    FeatureCode(sr.SCTLR2_EL2, MMFR3, "SCTLRX"),
    FeatureCode(sr.SCTLR2_EL1, MMFR3, "SCTLRX"),
    FeatureCode(sr.PIR_EL2, MMFR3, "S1PIE"),
    FeatureCode(sr.PIR_EL1, MMFR3, "S1PIE"),
    FeatureCode(sr.POR_EL2, MMFR3, "S1POE"),
    FeatureCode(sr.POR_EL1, MMFR3, "S1POE"),
    FeatureCode(sr.MAIR2_EL2, MMFR3, "AIE"),
    FeatureCode(sr.GCSCR_EL2, PFR1, "GCS"),
    FeatureCode(sr.GCSCR_EL1, PFR1, "GCS"),
    FeatureCode(sr.VSESR_EL2, PFR0, "RAS"),
    FeatureCode(sr.DISR_EL1, PFR0, "RAS"),
    FeatureCode(sr.ERRIDR_EL1, PFR0, "RAS"),
    FeatureCode(sr.SCXTNUM_EL2, PFR0, "CSV2", 2),
    FeatureCode(sr.SCXTNUM_EL1, PFR0, "CSV2", 2),
    FeatureCode(sr.DACR32_EL2, PFR0, "EL1", 2),
    FeatureCode(sr.IFSR32_EL2, PFR0, "EL1", 2),
    FeatureCode(sr.FPEXC32_EL2, PFR0, "EL1", 2),
    FeatureCode(sr.DBGVCR32_EL2, PFR0, "EL1", 2),
    FeatureCode(sr.SPSR_irq, PFR0, "EL1"),
    FeatureCode(sr.SPSR_abt, PFR0, "EL1"),
    FeatureCode(sr.SPSR_und, PFR0, "EL1"),
    FeatureCode(sr.SPSR_fiq, PFR0, "EL1"),
    FeatureCode(sr.RVBAR_EL2, PFR0, "EL2"),
)


HIGHEST = (sr.CNTFRQ_EL0, sr.RMR_EL2)
"""Without EL3, EL2 is the highest EL. The value written back requests no reset."""


@dataclass(frozen=True)
class FeatureInsn:
    """Instructions that exist with a feature; x0 and x1 are addresses of memory."""

    name: str
    words: tuple[int, ...]
    identification: type[Register]
    field: str
    least: int = 1
    at_el0: bool = True

    @property
    def label(self) -> str:
        """The label of the code, which returns to x30."""
        return f"feature_insn_{self.name}"


ISAR0, ISAR1, ISAR2 = sr.ID_AA64ISAR0_EL1, sr.ID_AA64ISAR1_EL1, sr.ID_AA64ISAR2_EL1
MOV_X2_0, MOV_X3_0 = 0xD280_0002, 0xD280_0003
INSTRUCTIONS = (
    FeatureInsn("ptrue", (0x2518_E3E0,), PFR0, "SVE"),
    FeatureInsn("rdvl", (0x04BF_5020,), PFR0, "SVE"),
    FeatureInsn("rdsvl", (0x04BF_5820,), PFR1, "SME"),
    FeatureInsn("smstart", (0xD503_477F, 0xD503_467F), PFR1, "SME"),
    FeatureInsn("irg", (0x9ADF_1022,), PFR1, "MTE"),
    FeatureInsn("addg", (0x9180_0422,), PFR1, "MTE"),
    FeatureInsn("gmi", (0x9ADF_1422,), PFR1, "MTE"),
    FeatureInsn("subp", (0x9AC1_0022,), PFR1, "MTE"),
    FeatureInsn("msr_tco", (0xD503_409F,), PFR1, "MTE"),
    FeatureInsn("mrs_tco", (0xD53B_42E2,), PFR1, "MTE"),
    FeatureInsn("dc_gva", (0xD50B_7460,), PFR1, "MTE"),
    FeatureInsn("stg", (0xD920_0800,), PFR1, "MTE"),
    FeatureInsn("ldg", (0xD960_0002,), PFR1, "MTE"),
    FeatureInsn("ldgm", (0xD9E0_0002,), PFR1, "MTE", 2, at_el0=False),
    FeatureInsn("mrs_allint", (0xD538_4302,), PFR1, "NMI", at_el0=False),
    FeatureInsn("clear_allint", (0xD501_401F,), PFR1, "NMI", at_el0=False),
    FeatureInsn("set_allint", (0xD501_411F, 0xD501_401F), PFR1, "NMI", at_el0=False),
    FeatureInsn("setp", (MOV_X2_0, MOV_X3_0, 0x19C3_0441), ISAR2, "MOPS"),
    FeatureInsn("cosp_rctx", (0xD50B_73DF,), ISAR1, "SPECRES", 2),
    FeatureInsn("ld64b", (0xF83F_D002,), ISAR1, "LS64"),
    FeatureInsn("tstart", (0xD523_3062,), ISAR0, "TME"),
    FeatureInsn("mrrs", (0xD578_2002,), ISAR2, "SYSREG_128", at_el0=False),
    FeatureInsn("cnt", (0xDAC0_1C22,), ISAR2, "CSSC"),
    FeatureInsn("brb_iall", (0xD509_729F,), DFR0, "BRBE", at_el0=False),
    FeatureInsn("gcsss1", (0xD50B_7742,), PFR1, "GCS"),
)


WRITTEN: tuple[type[Register], ...] = (
    sr.SPSR_irq,
    sr.SPSR_abt,
    sr.SPSR_und,
    sr.SPSR_fiq,
    sr.RVBAR_EL2,
    sr.ZCR_EL2,
)


def emit(a: Assembler) -> None:
    """Emit the reads, the instructions, and the writes that may or may not be allowed."""
    for code in OPTIONAL:
        a.label(code.label)
        a.mrs(0, code.register)
        a.ret()
    for register in HIGHEST:
        a.label(f"do_write_{register.name}")
        a.mrs(0, register)
        a.msr(register, 0)
        a.ret()
    for instruction in INSTRUCTIONS:
        a.label(instruction.label)
        for word in instruction.words:
            a.word(word)
        a.ret()
    for written in WRITTEN:
        a.label(f"write_{written.name.lower()}")
        a.msr(written, 1)
        a.ret()

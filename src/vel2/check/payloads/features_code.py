"""The optional registers that payload `features` reads, and the code that reads them."""

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
        """Where the code is: it reads into x0, and returns to x30."""
        return f"feature_{self.register.name.lower()}"

    @property
    def is_el1(self) -> bool:
        """Whether EL1 may read it where it is there."""
        return not self.register.name.endswith("_EL2")


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
)


HIGHEST = (sr.CNTFRQ_EL0, sr.RMR_EL2)
"""EL2 is the highest EL of a machine without EL3. What is written back asks for no reset."""


def emit(a: Assembler) -> None:
    """Emit the reads, and the writes of what only the highest EL has or may write."""
    for code in OPTIONAL:
        a.label(code.label)
        a.mrs(0, code.register)
        a.ret()
    for register in HIGHEST:
        a.label(f"do_write_{register.name}")
        a.mrs(0, register)
        a.msr(register, 0)
        a.ret()

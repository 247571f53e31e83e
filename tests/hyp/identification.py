"""What L1 sees of each identification register, field by field: a list of its own.

`arch.features` says the same by feature, and the resident code is made from that. The two were
written apart, and the tests hold them against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register


class Rule(Enum):
    """How a field comes about."""

    KEEP = "keep"
    CAP = "cap"
    SET = "set"


@dataclass(frozen=True)
class FieldRule:
    """One field, its rule, and the cap or value."""

    field: Field
    rule: Rule
    value: int = 0


def keep(*fields: Field) -> tuple[FieldRule, ...]:
    """Keep fields as the machine has them."""
    return tuple(FieldRule(field, Rule.KEEP) for field in fields)


def cap(field: Field, value: int) -> tuple[FieldRule, ...]:
    """Keep an unsigned field up to a value."""
    return (FieldRule(field, Rule.CAP, value),)


def fix(field: Field, value: int) -> tuple[FieldRule, ...]:
    """Set a field."""
    return (FieldRule(field, Rule.SET, value),)


PFR0 = sr.ID_AA64PFR0_EL1
PFR1 = sr.ID_AA64PFR1_EL1
DFR0 = sr.ID_AA64DFR0_EL1
ISAR0 = sr.ID_AA64ISAR0_EL1
ISAR1 = sr.ID_AA64ISAR1_EL1
ISAR2 = sr.ID_AA64ISAR2_EL1
MMFR0 = sr.ID_AA64MMFR0_EL1
MMFR1 = sr.ID_AA64MMFR1_EL1
MMFR2 = sr.ID_AA64MMFR2_EL1
MMFR3 = sr.ID_AA64MMFR3_EL1
MMFR4 = sr.ID_AA64MMFR4_EL1

AARCH64_ONLY = 1
DEBUG_V8P8 = 0xA
PMUV3P5 = 6
PARANGE_48_BITS = 5
GRAN4_48_BITS = 0
GRAN16_48_BITS = 1
ECV_WITHOUT_CNTPOFF = 1
CSV2_WITHOUT_SCXTNUM = 1
FGT_WITHOUT_FGT2 = 1
SPECRES_WITHOUT_COSP = 1
AF_ONLY = 1
E2H_RES1_AND_NV1_RES0 = 0b1110

RULES: tuple[tuple[type[Register], tuple[FieldRule, ...]], ...] = (
    (
        PFR0,
        fix(PFR0.EL0, AARCH64_ONLY)
        + fix(PFR0.EL1, AARCH64_ONLY)
        + fix(PFR0.EL2, AARCH64_ONLY)
        + keep(PFR0.FP, PFR0.AdvSIMD, PFR0.DIT, PFR0.CSV3)
        + cap(PFR0.CSV2, CSV2_WITHOUT_SCXTNUM)
        + cap(PFR0.GIC, 1)
        + cap(PFR0.RAS, 1),
    ),
    (PFR1, keep(PFR1.BT, PFR1.SSBS) + cap(PFR1.CSV2_frac, CSV2_WITHOUT_SCXTNUM)),
    (
        DFR0,
        cap(DFR0.DebugVer, DEBUG_V8P8)
        + keep(DFR0.BRPs, DFR0.WRPs, DFR0.CTX_CMPs, DFR0.DoubleLock, DFR0.HPMN0)
        + cap(DFR0.PMUVer, PMUV3P5),
    ),
    (
        ISAR0,
        keep(
            ISAR0.AES, ISAR0.SHA1, ISAR0.SHA2, ISAR0.CRC32, ISAR0.Atomic, ISAR0.RDM, ISAR0.SHA3,
            ISAR0.SM3, ISAR0.SM4, ISAR0.DP, ISAR0.FHM, ISAR0.TS, ISAR0.TLB, ISAR0.RNDR,
        ),
    ),
    (
        ISAR1,
        keep(
            ISAR1.DPB, ISAR1.APA, ISAR1.API, ISAR1.JSCVT, ISAR1.FCMA, ISAR1.LRCPC, ISAR1.GPA,
            ISAR1.GPI, ISAR1.FRINTTS, ISAR1.SB, ISAR1.BF16, ISAR1.DGH, ISAR1.I8MM, ISAR1.XS,
        )
        + cap(ISAR1.SPECRES, SPECRES_WITHOUT_COSP),
    ),
    (
        ISAR2,
        keep(ISAR2.WFxT, ISAR2.RPRES, ISAR2.GPA3, ISAR2.APA3, ISAR2.BC, ISAR2.PAC_frac)
        + keep(ISAR2.CLRBHB),
    ),
    (
        MMFR0,
        cap(MMFR0.PARange, PARANGE_48_BITS)
        + keep(MMFR0.ASIDBits, MMFR0.TGran64, MMFR0.SNSMem)
        + fix(MMFR0.TGran4, GRAN4_48_BITS)
        + cap(MMFR0.TGran16, GRAN16_48_BITS)
        + cap(MMFR0.ECV, ECV_WITHOUT_CNTPOFF)
        + cap(MMFR0.FGT, FGT_WITHOUT_FGT2),
    ),
    (
        MMFR1,
        cap(MMFR1.HAFDBS, AF_ONLY)
        + keep(MMFR1.VMIDBits, MMFR1.VH, MMFR1.HPDS, MMFR1.PAN, MMFR1.SpecSEI, MMFR1.XNX)
        + keep(MMFR1.ETS, MMFR1.AFP, MMFR1.HCX),
    ),
    (
        MMFR2,
        keep(MMFR2.CnP, MMFR2.UAO, MMFR2.IESB, MMFR2.CCIDX, MMFR2.AT, MMFR2.IDS, MMFR2.FWB)
        + keep(MMFR2.TTL)
        + keep(MMFR2.BBM, MMFR2.EVT, MMFR2.E0PD),
    ),
    (MMFR3, keep(MMFR3.TCRX, MMFR3.SCTLRX)),
    (MMFR4, fix(MMFR4.E2H0, E2H_RES1_AND_NV1_RES0)),
)  # fmt: skip

"""Performance monitors."""

from __future__ import annotations

from vel2.arch.bits import Encoding, Field, Register, Res0, derive
from vel2.arch.sysregs.el1 import Value_ELx


class PMCR_EL0(Register, op0=3, op1=3, CRn=9, CRm=12, op2=0):
    """Control."""

    _63 = Res0(63, 33)
    FZS = Field(32)
    IMP = Field(31, 24)
    IDCODE = Field(23, 16)
    N = Field(15, 11)
    _10 = Res0(10)
    FZO = Field(9)
    _8 = Res0(8)
    LP = Field(7)
    LC = Field(6)
    DP = Field(5)
    X = Field(4)
    D = Field(3)
    C = Field(2)
    P = Field(1)
    E = Field(0)


class PM_SET_ELx(Register, family=True):
    """Layout of the enable, overflow and interrupt sets: instruction, cycle, event counters."""

    _63 = Res0(63, 33)
    F0 = Field(32)
    C = Field(31)
    P = Field(30, 0)


class PMCNTENSET_EL0(PM_SET_ELx, op0=3, op1=3, CRn=9, CRm=12, op2=1):
    """Enable counters."""


class PMCNTENCLR_EL0(PM_SET_ELx, op0=3, op1=3, CRn=9, CRm=12, op2=2):
    """Disable counters."""


class PMOVSCLR_EL0(PM_SET_ELx, op0=3, op1=3, CRn=9, CRm=12, op2=3):
    """Clear overflow."""


class PMOVSSET_EL0(PM_SET_ELx, op0=3, op1=3, CRn=9, CRm=14, op2=3):
    """Set overflow."""


class PMINTENSET_EL1(PM_SET_ELx, op0=3, op1=0, CRn=9, CRm=14, op2=1):
    """Enable overflow interrupts."""


class PMINTENCLR_EL1(PM_SET_ELx, op0=3, op1=0, CRn=9, CRm=14, op2=2):
    """Disable overflow interrupts."""


class PMSWINC_EL0(Register, op0=3, op1=3, CRn=9, CRm=12, op2=4, access="WO"):
    """Software increment."""

    _63 = Res0(63, 31)
    P = Field(30, 0)


class PMSELR_EL0(Register, op0=3, op1=3, CRn=9, CRm=12, op2=5):
    """Counter the PMX registers reach."""

    _63 = Res0(63, 5)
    SEL = Field(4, 0)


class PMCEID0_EL0(Value_ELx, op0=3, op1=3, CRn=9, CRm=12, op2=6, access="RO"):
    """Common events 0."""


class PMCEID1_EL0(Value_ELx, op0=3, op1=3, CRn=9, CRm=12, op2=7, access="RO"):
    """Common events 1."""


class PMCCNTR_EL0(Register, op0=3, op1=3, CRn=9, CRm=13, op2=0):
    """Cycle counter."""

    CCNT = Field(63, 0)


class PMXEVTYPER_EL0(Value_ELx, op0=3, op1=3, CRn=9, CRm=13, op2=1):
    """Type of the selected counter."""


class PMXEVCNTR_EL0(Value_ELx, op0=3, op1=3, CRn=9, CRm=13, op2=2):
    """Value of the selected counter."""


class PMZR_EL0(PM_SET_ELx, op0=3, op1=3, CRn=9, CRm=13, op2=4, access="WO"):
    """Zero counters."""


class PMUSERENR_EL0(Register, op0=3, op1=3, CRn=9, CRm=14, op2=0):
    """EL0 access."""

    _63 = Res0(63, 7)
    TID = Field(6)
    IR = Field(5)
    UEN = Field(4)
    ER = Field(3)
    CR = Field(2)
    SW = Field(1)
    EN = Field(0)


class PMUACR_EL1(PM_SET_ELx, op0=3, op1=0, CRn=9, CRm=14, op2=4):
    """EL0 access, by counter."""


class PMECR_EL1(Register, op0=3, op1=0, CRn=9, CRm=14, op2=5):
    """Profiling exception control."""

    _63 = Res0(63, 5)
    SSE = Field(4, 3)
    KPME = Field(2)
    PMEE = Field(1, 0)


class PMMIR_EL1(Register, op0=3, op1=0, CRn=9, CRm=14, op2=6, access="RO"):
    """Machine identification."""

    _63 = Res0(63, 29)
    SME = Field(28)
    EDGE = Field(27, 24)
    THWIDTH = Field(23, 20)
    BUS_WIDTH = Field(19, 16)
    BUS_SLOTS = Field(15, 8)
    SLOTS = Field(7, 0)


class PMIAR_EL1(Register, op0=3, op1=0, CRn=9, CRm=14, op2=7):
    """Instruction address."""

    ADDRESS = Field(63, 0)


class PMICNTR_EL0(Register, op0=3, op1=3, CRn=9, CRm=4, op2=0):
    """Instruction counter."""

    ICNT = Field(63, 0)


class PMICFILTR_EL0(Register, op0=3, op1=3, CRn=9, CRm=6, op2=0):
    """Instruction counter filter."""

    _63 = Res0(63, 59)
    SYNC = Field(58)
    VS = Field(57, 56)
    _55 = Res0(55, 32)
    P = Field(31)
    U = Field(30)
    NSK = Field(29)
    NSU = Field(28)
    NSH = Field(27)
    M = Field(26)
    _25 = Res0(25)
    SH = Field(24)
    T = Field(23)
    RLK = Field(22)
    RLU = Field(21)
    RLH = Field(20)
    _19 = Res0(19, 16)
    evtCount = Field(15, 0)


class PMSSCR_EL1(Register, op0=3, op1=0, CRn=9, CRm=13, op2=3):
    """Snapshot."""

    _63 = Res0(63, 33)
    NC = Field(32)
    _31 = Res0(31, 1)
    SS = Field(0)


class PMCCFILTR_EL0(Register, op0=3, op1=3, CRn=14, CRm=15, op2=7):
    """Cycle counter filter."""

    _63 = Res0(63, 58)
    VS = Field(57, 56)
    _55 = Res0(55, 32)
    P = Field(31)
    U = Field(30)
    NSK = Field(29)
    NSU = Field(28)
    NSH = Field(27)
    M = Field(26)
    _25 = Res0(25)
    SH = Field(24)
    T = Field(23)
    RLK = Field(22)
    RLU = Field(21)
    RLH = Field(20)
    _19 = Res0(19, 0)


class PMEVCNTR_EL0(Register, family=True):
    """Layout of the event counters."""

    EVCNT = Field(63, 0)


class PMEVTYPER_EL0(Register, family=True):
    """Layout of the event types."""

    TC = Field(63, 61)
    TE = Field(60)
    _59 = Res0(59)
    SYNC = Field(58)
    VS = Field(57, 56)
    TLC = Field(55, 54)
    _53 = Res0(53, 44)
    TH = Field(43, 32)
    P = Field(31)
    U = Field(30)
    NSK = Field(29)
    NSU = Field(28)
    NSH = Field(27)
    M = Field(26)
    MT = Field(25)
    SH = Field(24)
    T = Field(23)
    RLK = Field(22)
    RLU = Field(21)
    RLH = Field(20)
    _19 = Res0(19, 16)
    evtCount = Field(15, 0)


PMEVCNTRn_EL0 = tuple(
    derive(PMEVCNTR_EL0, f"PMEVCNTR{n}_EL0", Encoding(3, 3, 14, 8 + n // 8, n % 8))
    for n in range(31)
)
(
    PMEVCNTR0_EL0,
    PMEVCNTR1_EL0,
    PMEVCNTR2_EL0,
    PMEVCNTR3_EL0,
    PMEVCNTR4_EL0,
    PMEVCNTR5_EL0,
    PMEVCNTR6_EL0,
    PMEVCNTR7_EL0,
    PMEVCNTR8_EL0,
    PMEVCNTR9_EL0,
    PMEVCNTR10_EL0,
    PMEVCNTR11_EL0,
    PMEVCNTR12_EL0,
    PMEVCNTR13_EL0,
    PMEVCNTR14_EL0,
    PMEVCNTR15_EL0,
    PMEVCNTR16_EL0,
    PMEVCNTR17_EL0,
    PMEVCNTR18_EL0,
    PMEVCNTR19_EL0,
    PMEVCNTR20_EL0,
    PMEVCNTR21_EL0,
    PMEVCNTR22_EL0,
    PMEVCNTR23_EL0,
    PMEVCNTR24_EL0,
    PMEVCNTR25_EL0,
    PMEVCNTR26_EL0,
    PMEVCNTR27_EL0,
    PMEVCNTR28_EL0,
    PMEVCNTR29_EL0,
    PMEVCNTR30_EL0,
) = PMEVCNTRn_EL0

PMEVTYPERn_EL0 = tuple(
    derive(PMEVTYPER_EL0, f"PMEVTYPER{n}_EL0", Encoding(3, 3, 14, 12 + n // 8, n % 8))
    for n in range(31)
)
(
    PMEVTYPER0_EL0,
    PMEVTYPER1_EL0,
    PMEVTYPER2_EL0,
    PMEVTYPER3_EL0,
    PMEVTYPER4_EL0,
    PMEVTYPER5_EL0,
    PMEVTYPER6_EL0,
    PMEVTYPER7_EL0,
    PMEVTYPER8_EL0,
    PMEVTYPER9_EL0,
    PMEVTYPER10_EL0,
    PMEVTYPER11_EL0,
    PMEVTYPER12_EL0,
    PMEVTYPER13_EL0,
    PMEVTYPER14_EL0,
    PMEVTYPER15_EL0,
    PMEVTYPER16_EL0,
    PMEVTYPER17_EL0,
    PMEVTYPER18_EL0,
    PMEVTYPER19_EL0,
    PMEVTYPER20_EL0,
    PMEVTYPER21_EL0,
    PMEVTYPER22_EL0,
    PMEVTYPER23_EL0,
    PMEVTYPER24_EL0,
    PMEVTYPER25_EL0,
    PMEVTYPER26_EL0,
    PMEVTYPER27_EL0,
    PMEVTYPER28_EL0,
    PMEVTYPER29_EL0,
    PMEVTYPER30_EL0,
) = PMEVTYPERn_EL0


class PMCCNTSVR_EL1(Value_ELx, op0=2, op1=0, CRn=14, CRm=11, op2=7, access="RO"):
    """Cycle counter, saved."""


class PMICNTSVR_EL1(Value_ELx, op0=2, op1=0, CRn=14, CRm=12, op2=0, access="RO"):
    """Instruction counter, saved."""


PMEVCNTSVRn_EL1 = tuple(
    derive(Value_ELx, f"PMEVCNTSVR{n}_EL1", Encoding(2, 0, 14, 8 + n // 8, n % 8), access="RO")
    for n in range(31)
)
(
    PMEVCNTSVR0_EL1,
    PMEVCNTSVR1_EL1,
    PMEVCNTSVR2_EL1,
    PMEVCNTSVR3_EL1,
    PMEVCNTSVR4_EL1,
    PMEVCNTSVR5_EL1,
    PMEVCNTSVR6_EL1,
    PMEVCNTSVR7_EL1,
    PMEVCNTSVR8_EL1,
    PMEVCNTSVR9_EL1,
    PMEVCNTSVR10_EL1,
    PMEVCNTSVR11_EL1,
    PMEVCNTSVR12_EL1,
    PMEVCNTSVR13_EL1,
    PMEVCNTSVR14_EL1,
    PMEVCNTSVR15_EL1,
    PMEVCNTSVR16_EL1,
    PMEVCNTSVR17_EL1,
    PMEVCNTSVR18_EL1,
    PMEVCNTSVR19_EL1,
    PMEVCNTSVR20_EL1,
    PMEVCNTSVR21_EL1,
    PMEVCNTSVR22_EL1,
    PMEVCNTSVR23_EL1,
    PMEVCNTSVR24_EL1,
    PMEVCNTSVR25_EL1,
    PMEVCNTSVR26_EL1,
    PMEVCNTSVR27_EL1,
    PMEVCNTSVR28_EL1,
    PMEVCNTSVR29_EL1,
    PMEVCNTSVR30_EL1,
) = PMEVCNTSVRn_EL1

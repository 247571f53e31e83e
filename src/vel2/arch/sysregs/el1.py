"""EL1 and EL0 system registers: control, translation, exceptions, identity of the thread."""

from __future__ import annotations

from enum import IntEnum

from vel2.arch.bits import Field, Register, Res0, Res1
from vel2.arch.descriptors import SH
from vel2.arch.esr import FSC, ESR_ELx
from vel2.arch.pstate import SPSR_ELx


class PARange(IntEnum):
    """Physical address sizes: ID_AA64MMFR0_EL1.PARange, TCR_EL1.IPS, VTCR_EL2.PS."""

    PA32 = 0
    PA36 = 1
    PA40 = 2
    PA42 = 3
    PA44 = 4
    PA48 = 5
    PA52 = 6
    PA56 = 7


PA_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
"""Number of address bits, by PARange."""


class TG0(IntEnum):
    """Granule of TTBR0 tables and of stage 2."""

    G4K = 0
    G64K = 1
    G16K = 2


class TG1(IntEnum):
    """Granule of TTBR1 tables."""

    G16K = 1
    G4K = 2
    G64K = 3


class RGN(IntEnum):
    """Cacheability of table walks."""

    NC = 0
    WBWA = 1
    WT = 2
    WBNWA = 3


class TrapLevel(IntEnum):
    """Two-bit enables of CPACR_EL1 and CPTR_EL2 (E2H = 1)."""

    TRAP_ALL = 0
    TRAP_EL0 = 1
    TRAP_ALL_2 = 2
    NO_TRAP = 3


class Value_ELx(Register, family=True):
    """Registers that are one opaque 64-bit number."""

    Value = Field(63, 0)


class Impdef_ELx(Register, family=True):
    """Registers whose content is IMPLEMENTATION DEFINED."""

    IMPDEF = Field(63, 0)


class SCTLR_EL1(
    Register,
    op0=3,
    op1=0,
    CRn=1,
    CRm=0,
    op2=0,
    vncr=0x110,
    vncr_class="P",
    e2h="SCTLR_EL2",
):
    """System control."""

    TIDCP = Field(63)
    SPINTMASK = Field(62)
    NMI = Field(61)
    EnTP2 = Field(60)
    TCSO = Field(59)
    TCSO0 = Field(58)
    EPAN = Field(57)
    EnALS = Field(56)
    EnAS0 = Field(55)
    EnASR = Field(54)
    TME = Field(53)
    TME0 = Field(52)
    TMT = Field(51)
    TMT0 = Field(50)
    TWEDEL = Field(49, 46)
    TWEDEn = Field(45)
    DSSBS = Field(44)
    ATA = Field(43)
    ATA0 = Field(42)
    TCF = Field(41, 40)
    TCF0 = Field(39, 38)
    ITFSB = Field(37)
    BT1 = Field(36)
    BT0 = Field(35)
    EnFPM = Field(34)
    MSCEn = Field(33)
    CMOW = Field(32)
    EnIA = Field(31)
    EnIB = Field(30)
    LSMAOE = Field(29)
    nTLSMD = Field(28)
    EnDA = Field(27)
    UCI = Field(26)
    EE = Field(25)
    E0E = Field(24)
    SPAN = Field(23)
    EIS = Field(22)
    IESB = Field(21)
    TSCXT = Field(20)
    WXN = Field(19)
    nTWE = Field(18)
    _17 = Res0(17)
    nTWI = Field(16)
    UCT = Field(15)
    DZE = Field(14)
    EnDB = Field(13)
    I = Field(12)  # noqa: E741  (Arm's name)
    EOS = Field(11)
    EnRCTX = Field(10)
    UMA = Field(9)
    SED = Field(8)
    ITD = Field(7)
    nAA = Field(6)
    CP15BEN = Field(5)
    SA0 = Field(4)
    SA = Field(3)
    C = Field(2)
    A = Field(1)
    M = Field(0)


class SCTLR2_EL1(
    Register,
    op0=3,
    op1=0,
    CRn=1,
    CRm=0,
    op2=3,
    vncr=0x278,
    vncr_class="P",
    e2h="SCTLR2_EL2",
):
    """System control, extended (FEAT_SCTLR2)."""

    _63 = Res0(63, 27)
    TLBOSNIS = Field(26)
    FDIT = Field(25)
    BTD = Field(24)
    BTD0 = Field(23)
    EnIA2 = Field(22)
    EnIB2 = Field(21)
    EnDA2 = Field(20)
    EnDB2 = Field(19)
    _18 = Res0(18, 13)
    CPTM0 = Field(12)
    CPTM = Field(11)
    CPTA0 = Field(10)
    CPTA = Field(9)
    EnPACM0 = Field(8)
    EnPACM = Field(7)
    EnIDCP128 = Field(6)
    EASE = Field(5)
    EnANERR = Field(4)
    EnADERR = Field(3)
    NMEA = Field(2)
    _1 = Res0(1, 0)


class ACTLR_EL1(Impdef_ELx, op0=3, op1=0, CRn=1, CRm=0, op2=1, vncr=0x118, vncr_class="A"):
    """Auxiliary control."""


class CPACR_EL1(
    Register,
    op0=3,
    op1=0,
    CRn=1,
    CRm=0,
    op2=2,
    vncr=0x100,
    vncr_class="P",
    e2h="CPTR_EL2",
):
    """Architectural feature access; TCPAC and TAM are there with FEAT_NV2p1 only."""

    _63 = Res0(63, 32)
    TCPAC = Field(31)
    TAM = Field(30)
    E0POE = Field(29)
    TTA = Field(28)
    _27 = Res0(27, 26)
    SMEN = Field(25, 24, TrapLevel)
    _23 = Res0(23, 22)
    FPEN = Field(21, 20, TrapLevel)
    _19 = Res0(19, 18)
    ZEN = Field(17, 16, TrapLevel)
    _15 = Res0(15, 0)


class TTBR_ELx(Register, family=True):
    """Layout of TTBR0_EL1, TTBR1_EL1, TTBR0_EL2, TTBR1_EL2; ASID is RES0 without E2H at EL2."""

    ASID = Field(63, 48)
    BADDR = Field(47, 1)
    CnP = Field(0)


class TTBR0_EL1(
    TTBR_ELx,
    op0=3,
    op1=0,
    CRn=2,
    CRm=0,
    op2=0,
    vncr=0x200,
    vncr_class="P",
    e2h="TTBR0_EL2",
):
    """Translation table base, low half."""


class TTBR1_EL1(
    TTBR_ELx,
    op0=3,
    op1=0,
    CRn=2,
    CRm=0,
    op2=1,
    vncr=0x210,
    vncr_class="P",
    e2h="TTBR1_EL2",
):
    """Translation table base, high half."""


class TCR_ELx(Register, family=True):
    """Layout of TCR_EL1, and of TCR_EL2 with E2H = 1."""

    _63 = Res0(63, 62)
    MTX1 = Field(61)
    MTX0 = Field(60)
    DS = Field(59)
    TCMA1 = Field(58)
    TCMA0 = Field(57)
    E0PD1 = Field(56)
    E0PD0 = Field(55)
    NFD1 = Field(54)
    NFD0 = Field(53)
    TBID1 = Field(52)
    TBID0 = Field(51)
    HWU162 = Field(50)
    HWU161 = Field(49)
    HWU160 = Field(48)
    HWU159 = Field(47)
    HWU062 = Field(46)
    HWU061 = Field(45)
    HWU060 = Field(44)
    HWU059 = Field(43)
    HPD1 = Field(42)
    HPD0 = Field(41)
    HD = Field(40)
    HA = Field(39)
    TBI1 = Field(38)
    TBI0 = Field(37)
    AS = Field(36)
    _35 = Res0(35)
    IPS = Field(34, 32, PARange)
    TG1 = Field(31, 30, TG1)
    SH1 = Field(29, 28, SH)
    ORGN1 = Field(27, 26, RGN)
    IRGN1 = Field(25, 24, RGN)
    EPD1 = Field(23)
    A1 = Field(22)
    T1SZ = Field(21, 16)
    TG0 = Field(15, 14, TG0)
    SH0 = Field(13, 12, SH)
    ORGN0 = Field(11, 10, RGN)
    IRGN0 = Field(9, 8, RGN)
    EPD0 = Field(7)
    _6 = Res0(6)
    T0SZ = Field(5, 0)


class TCR_EL1(
    TCR_ELx,
    op0=3,
    op1=0,
    CRn=2,
    CRm=0,
    op2=2,
    vncr=0x120,
    vncr_class="P",
    e2h="TCR_EL2",
):
    """Translation control."""


class TCR2_EL1(
    Register,
    op0=3,
    op1=0,
    CRn=2,
    CRm=0,
    op2=3,
    vncr=0x270,
    vncr_class="P",
    e2h="TCR2_EL2",
):
    """Translation control, extended (FEAT_TCR2)."""

    _63 = Res0(63, 22)
    FNGNA1 = Field(21)
    FNGNA0 = Field(20)
    _19 = Res0(19)
    FNG1 = Field(18)
    FNG0 = Field(17)
    A2 = Field(16)
    DisCH1 = Field(15)
    DisCH0 = Field(14)
    _13 = Res0(13, 12)
    HAFT = Field(11)
    PTTWI = Field(10)
    _9 = Res0(9, 6)
    D128 = Field(5)
    AIE = Field(4)
    POE = Field(3)
    E0POE = Field(2)
    PIE = Field(1)
    PnCH = Field(0)


class MAIR_ELx(Register, family=True):
    """Layout of the MAIR registers."""

    Attr7 = Field(63, 56)
    Attr6 = Field(55, 48)
    Attr5 = Field(47, 40)
    Attr4 = Field(39, 32)
    Attr3 = Field(31, 24)
    Attr2 = Field(23, 16)
    Attr1 = Field(15, 8)
    Attr0 = Field(7, 0)


class MAIR_EL1(
    MAIR_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=2,
    op2=0,
    vncr=0x140,
    vncr_class="P",
    e2h="MAIR_EL2",
):
    """Memory attributes."""


class MAIR2_EL1(
    MAIR_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=2,
    op2=1,
    vncr=0x280,
    vncr_class="P",
    e2h="MAIR2_EL2",
):
    """Memory attributes, upper eight (FEAT_AIE)."""


class AMAIR_EL1(
    Impdef_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=3,
    op2=0,
    vncr=0x148,
    vncr_class="P",
    e2h="AMAIR_EL2",
):
    """Auxiliary memory attributes."""


class AMAIR2_EL1(
    Impdef_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=3,
    op2=1,
    vncr=0x288,
    vncr_class="P",
    e2h="AMAIR2_EL2",
):
    """Auxiliary memory attributes, upper (FEAT_AIE)."""


class PIR_ELx(Register, family=True):
    """Layout of the permission indirection and overlay registers: sixteen permissions."""

    Perm15 = Field(63, 60)
    Perm14 = Field(59, 56)
    Perm13 = Field(55, 52)
    Perm12 = Field(51, 48)
    Perm11 = Field(47, 44)
    Perm10 = Field(43, 40)
    Perm9 = Field(39, 36)
    Perm8 = Field(35, 32)
    Perm7 = Field(31, 28)
    Perm6 = Field(27, 24)
    Perm5 = Field(23, 20)
    Perm4 = Field(19, 16)
    Perm3 = Field(15, 12)
    Perm2 = Field(11, 8)
    Perm1 = Field(7, 4)
    Perm0 = Field(3, 0)


class PIRE0_EL1(
    PIR_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=2,
    op2=2,
    vncr=0x290,
    vncr_class="P",
    e2h="PIRE0_EL2",
):
    """Permission indirection for EL0."""


class PIR_EL1(
    PIR_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=2,
    op2=3,
    vncr=0x2A0,
    vncr_class="P",
    e2h="PIR_EL2",
):
    """Permission indirection."""


class POR_EL0(PIR_ELx, op0=3, op1=3, CRn=10, CRm=2, op2=4):
    """Permission overlay for EL0."""


class POR_EL1(
    PIR_ELx,
    op0=3,
    op1=0,
    CRn=10,
    CRm=2,
    op2=4,
    vncr=0x2A8,
    vncr_class="P",
    e2h="POR_EL2",
):
    """Permission overlay."""


class S2POR_EL1(PIR_ELx, op0=3, op1=0, CRn=10, CRm=2, op2=5, vncr=0x2B8, vncr_class="A"):
    """Stage 2 permission overlay."""


class VBAR_ELx(Register, family=True):
    """Layout of the VBAR registers."""

    VBA = Field(63, 11)
    _10 = Res0(10, 0)


class VBAR_EL1(
    VBAR_ELx,
    op0=3,
    op1=0,
    CRn=12,
    CRm=0,
    op2=0,
    vncr=0x250,
    vncr_class="P",
    e2h="VBAR_EL2",
):
    """Vector base."""


class RVBAR_EL1(Value_ELx, op0=3, op1=0, CRn=12, CRm=0, op2=1, access="RO"):
    """Reset vector base, if EL1 is the highest level."""


class RMR_ELx(Register, family=True):
    """Layout of the RMR registers."""

    _63 = Res0(63, 2)
    RR = Field(1)
    AA64 = Field(0)


class RMR_EL1(RMR_ELx, op0=3, op1=0, CRn=12, CRm=0, op2=2):
    """Reset management, if EL1 is the highest level."""


class ISR_EL1(Register, op0=3, op1=0, CRn=12, CRm=1, op2=0, access="RO"):
    """Pending interrupts."""

    _63 = Res0(63, 11)
    IS = Field(10)
    FS = Field(9)
    A = Field(8)
    I = Field(7)  # noqa: E741  (Arm's name)
    F = Field(6)
    _5 = Res0(5, 0)


class DISR_EL1(Register, op0=3, op1=0, CRn=12, CRm=1, op2=1):
    """Deferred SError."""

    _63 = Res0(63, 32)
    A = Field(31)
    _30 = Res0(30, 25)
    IDS = Field(24)
    ISS = Field(23, 0)


class ESR_EL1(
    ESR_ELx,
    Register,
    op0=3,
    op1=0,
    CRn=5,
    CRm=2,
    op2=0,
    vncr=0x138,
    vncr_class="P",
    e2h="ESR_EL2",
):
    """Exception syndrome."""


class AFSR0_EL1(
    Impdef_ELx,
    op0=3,
    op1=0,
    CRn=5,
    CRm=1,
    op2=0,
    vncr=0x128,
    vncr_class="P",
    e2h="AFSR0_EL2",
):
    """Auxiliary fault status 0."""


class AFSR1_EL1(
    Impdef_ELx,
    op0=3,
    op1=0,
    CRn=5,
    CRm=1,
    op2=1,
    vncr=0x130,
    vncr_class="P",
    e2h="AFSR1_EL2",
):
    """Auxiliary fault status 1."""


class FAR_ELx(Register, family=True):
    """Layout of the FAR registers."""

    VA = Field(63, 0)


class FAR_EL1(
    FAR_ELx,
    op0=3,
    op1=0,
    CRn=6,
    CRm=0,
    op2=0,
    vncr=0x220,
    vncr_class="P",
    e2h="FAR_EL2",
):
    """Faulting virtual address."""


class PFAR_EL1(Value_ELx, op0=3, op1=0, CRn=6, CRm=0, op2=5, e2h="PFAR_EL2"):
    """Faulting physical address (FEAT_PFAR)."""


class PAR_EL1(Register, op0=3, op1=0, CRn=7, CRm=4, op2=0):
    """Result of AT when it succeeded (F = 0)."""

    ATTR = Field(63, 56)
    _55 = Res0(55, 52)
    PA = Field(51, 12)
    NSE = Field(11)
    IMPDEF = Field(10)
    NS = Field(9)
    SH = Field(8, 7, SH)
    _6 = Res0(6, 1)
    F = Field(0)


class PAR_EL1_F(Register, op0=3, op1=0, CRn=7, CRm=4, op2=0, layout_of="PAR_EL1"):
    """Result of AT when it failed (F = 1)."""

    IMPDEF = Field(63, 48)
    _47 = Res0(47, 16)
    DirtyBit = Field(15)
    Overlay = Field(14)
    TopLevel = Field(13)
    AssuredOnly = Field(12)
    _11 = Res1(11)
    _10 = Res0(10)
    S = Field(9)
    PTW = Field(8)
    _7 = Res0(7)
    FST = Field(6, 1, FSC)
    F = Field(0)


class ELR_ELx(Register, family=True):
    """Layout of the ELR registers."""

    ADDR = Field(63, 0)


class ELR_EL1(
    ELR_ELx,
    op0=3,
    op1=0,
    CRn=4,
    CRm=0,
    op2=1,
    vncr=0x230,
    vncr_class="P",
    e2h="ELR_EL2",
):
    """Exception return address."""


class SPSR_EL1(
    SPSR_ELx,
    Register,
    op0=3,
    op1=0,
    CRn=4,
    CRm=0,
    op2=0,
    vncr=0x160,
    vncr_class="P",
    e2h="SPSR_EL2",
):
    """Saved PSTATE."""


class SP_ELx(Register, family=True):
    """Layout of the stack pointers."""

    StackPointer = Field(63, 0)


class SP_EL0(SP_ELx, op0=3, op1=0, CRn=4, CRm=1, op2=0):
    """Stack pointer of EL0, and of every level that runs with SPSel = 0."""


class SP_EL1(SP_ELx, op0=3, op1=4, CRn=4, CRm=1, op2=0, vncr=0x240, vncr_class="A"):
    """Stack pointer of EL1."""


class CONTEXTIDR_ELx(Register, family=True):
    """Layout of the CONTEXTIDR registers."""

    _63 = Res0(63, 32)
    PROCID = Field(31, 0)


class CONTEXTIDR_EL1(
    CONTEXTIDR_ELx,
    op0=3,
    op1=0,
    CRn=13,
    CRm=0,
    op2=1,
    vncr=0x108,
    vncr_class="P",
    e2h="CONTEXTIDR_EL2",
):
    """Context ID for debug and trace."""


class TPIDR_ELx(Register, family=True):
    """Layout of the software thread ID registers."""

    ThreadID = Field(63, 0)


class TPIDR_EL0(TPIDR_ELx, op0=3, op1=3, CRn=13, CRm=0, op2=2):
    """Thread ID, read and written by EL0."""


class TPIDRRO_EL0(TPIDR_ELx, op0=3, op1=3, CRn=13, CRm=0, op2=3):
    """Thread ID, read by EL0."""


class TPIDR_EL1(TPIDR_ELx, op0=3, op1=0, CRn=13, CRm=0, op2=4):
    """Thread ID of EL1."""


class TPIDR2_EL0(TPIDR_ELx, op0=3, op1=3, CRn=13, CRm=0, op2=5):
    """Second thread ID (FEAT_SME)."""


class ACCDATA_EL1(Register, op0=3, op1=0, CRn=13, CRm=0, op2=5):
    """Low word of ST64BV0."""

    _63 = Res0(63, 32)
    ACCDATA = Field(31, 0)


class SCXTNUM_ELx(Register, family=True):
    """Layout of the software context number registers (FEAT_CSV2_2)."""

    SoftwareContextNumber = Field(63, 0)


class SCXTNUM_EL0(SCXTNUM_ELx, op0=3, op1=3, CRn=13, CRm=0, op2=7):
    """Software context number of EL0."""


class SCXTNUM_EL1(
    SCXTNUM_ELx,
    op0=3,
    op1=0,
    CRn=13,
    CRm=0,
    op2=7,
    vncr=0x188,
    vncr_class="P",
    e2h="SCXTNUM_EL2",
):
    """Software context number of EL1."""


class CurrentEL(Register, op0=3, op1=0, CRn=4, CRm=2, op2=2, access="RO"):
    """Current exception level."""

    _63 = Res0(63, 4)
    EL = Field(3, 2)
    _1 = Res0(1, 0)


class SPSel(Register, op0=3, op1=0, CRn=4, CRm=2, op2=0):
    """PSTATE.SP."""

    _63 = Res0(63, 1)
    SP = Field(0)


class PAN(Register, op0=3, op1=0, CRn=4, CRm=2, op2=3):
    """PSTATE.PAN."""

    _63 = Res0(63, 23)
    PAN = Field(22)
    _21 = Res0(21, 0)


class UAO(Register, op0=3, op1=0, CRn=4, CRm=2, op2=4):
    """PSTATE.UAO."""

    _63 = Res0(63, 24)
    UAO = Field(23)
    _22 = Res0(22, 0)


class ALLINT(Register, op0=3, op1=0, CRn=4, CRm=3, op2=0):
    """PSTATE.ALLINT."""

    _63 = Res0(63, 14)
    ALLINT = Field(13)
    _12 = Res0(12, 0)


class PM(Register, op0=3, op1=0, CRn=4, CRm=3, op2=1):
    """PSTATE.PM."""

    _63 = Res0(63, 33)
    PM = Field(32)
    _31 = Res0(31, 0)


class NZCV(Register, op0=3, op1=3, CRn=4, CRm=2, op2=0):
    """PSTATE.NZCV."""

    _63 = Res0(63, 32)
    N = Field(31)
    Z = Field(30)
    C = Field(29)
    V = Field(28)
    _27 = Res0(27, 0)


class DAIF(Register, op0=3, op1=3, CRn=4, CRm=2, op2=1):
    """PSTATE.DAIF."""

    _63 = Res0(63, 10)
    D = Field(9)
    A = Field(8)
    I = Field(7)  # noqa: E741  (Arm's name)
    F = Field(6)
    _5 = Res0(5, 0)


class DIT(Register, op0=3, op1=3, CRn=4, CRm=2, op2=5):
    """PSTATE.DIT."""

    _63 = Res0(63, 25)
    DIT = Field(24)
    _23 = Res0(23, 0)


class SSBS(Register, op0=3, op1=3, CRn=4, CRm=2, op2=6):
    """PSTATE.SSBS."""

    _63 = Res0(63, 13)
    SSBS = Field(12)
    _11 = Res0(11, 0)


class TCO(Register, op0=3, op1=3, CRn=4, CRm=2, op2=7):
    """PSTATE.TCO."""

    _63 = Res0(63, 26)
    TCO = Field(25)
    _24 = Res0(24, 0)


class FPCR(Register, op0=3, op1=3, CRn=4, CRm=4, op2=0):
    """Floating-point control."""

    _63 = Res0(63, 27)
    AHP = Field(26)
    DN = Field(25)
    FZ = Field(24)
    RMode = Field(23, 22)
    Stride = Field(21, 20)
    FZ16 = Field(19)
    Len = Field(18, 16)
    IDE = Field(15)
    _14 = Res0(14)
    EBF = Field(13)
    IXE = Field(12)
    UFE = Field(11)
    OFE = Field(10)
    DZE = Field(9)
    IOE = Field(8)
    _7 = Res0(7, 3)
    NEP = Field(2)
    AH = Field(1)
    FIZ = Field(0)


class FPSR(Register, op0=3, op1=3, CRn=4, CRm=4, op2=1):
    """Floating-point status."""

    _63 = Res0(63, 32)
    N = Field(31)
    Z = Field(30)
    C = Field(29)
    V = Field(28)
    QC = Field(27)
    _26 = Res0(26, 8)
    IDC = Field(7)
    _6 = Res0(6, 5)
    IXC = Field(4)
    UFC = Field(3)
    OFC = Field(2)
    DZC = Field(1)
    IOC = Field(0)


class FPMR(Register, op0=3, op1=3, CRn=4, CRm=4, op2=2):
    """FP8 mode."""

    _63 = Res0(63, 38)
    LSCALE2 = Field(37, 32)
    NSCALE = Field(31, 24)
    _23 = Res0(23)
    LSCALE = Field(22, 16)
    OSC = Field(15)
    OSM = Field(14)
    _13 = Res0(13, 9)
    F8D = Field(8, 6)
    F8S2 = Field(5, 3)
    F8S1 = Field(2, 0)


class RNDR(Value_ELx, op0=3, op1=3, CRn=2, CRm=4, op2=0, access="RO"):
    """Random number."""


class RNDRRS(Value_ELx, op0=3, op1=3, CRn=2, CRm=4, op2=1, access="RO"):
    """Reseeded random number."""


class LORSA_EL1(Register, op0=3, op1=0, CRn=10, CRm=4, op2=0):
    """LORegion start."""

    _63 = Res0(63, 52)
    SA = Field(51, 16)
    _15 = Res0(15, 1)
    Valid = Field(0)


class LOREA_EL1(Register, op0=3, op1=0, CRn=10, CRm=4, op2=1):
    """LORegion end."""

    _63 = Res0(63, 52)
    EA = Field(51, 16)
    _15 = Res0(15, 0)


class LORN_EL1(Register, op0=3, op1=0, CRn=10, CRm=4, op2=2):
    """LORegion number."""

    _63 = Res0(63, 8)
    Num = Field(7, 0)


class LORC_EL1(Register, op0=3, op1=0, CRn=10, CRm=4, op2=3):
    """LORegion control."""

    _63 = Res0(63, 10)
    DS = Field(9, 2)
    _1 = Res0(1)
    EN = Field(0)


class LORID_EL1(Register, op0=3, op1=0, CRn=10, CRm=4, op2=7, access="RO"):
    """LORegion ID."""

    _63 = Res0(63, 24)
    LD = Field(23, 16)
    _15 = Res0(15, 8)
    LR = Field(7, 0)


class APIAKeyLo_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=1, op2=0):
    """Instruction key A, low half."""


class APIAKeyHi_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=1, op2=1):
    """Instruction key A, high half."""


class APIBKeyLo_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=1, op2=2):
    """Instruction key B, low half."""


class APIBKeyHi_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=1, op2=3):
    """Instruction key B, high half."""


class APDAKeyLo_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=2, op2=0):
    """Data key A, low half."""


class APDAKeyHi_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=2, op2=1):
    """Data key A, high half."""


class APDBKeyLo_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=2, op2=2):
    """Data key B, low half."""


class APDBKeyHi_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=2, op2=3):
    """Data key B, high half."""


class APGAKeyLo_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=3, op2=0):
    """Generic key, low half."""


class APGAKeyHi_EL1(Value_ELx, op0=3, op1=0, CRn=2, CRm=3, op2=1):
    """Generic key, high half."""

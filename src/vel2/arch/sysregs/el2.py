"""EL2 system registers: what a hypervisor is made of."""

from __future__ import annotations

from vel2.arch.bits import Field, Register, Res0, Res1
from vel2.arch.descriptors import SH
from vel2.arch.esr import ESR_ELx
from vel2.arch.pstate import SPSR_ELx
from vel2.arch.sysregs.el1 import (
    RGN,
    TG0,
    CONTEXTIDR_ELx,
    ELR_ELx,
    FAR_ELx,
    Impdef_ELx,
    MAIR_ELx,
    PARange,
    PIR_ELx,
    RMR_ELx,
    SCXTNUM_ELx,
    SP_ELx,
    TCR_ELx,
    TPIDR_ELx,
    TrapLevel,
    TTBR_ELx,
    Value_ELx,
    VBAR_ELx,
)
from vel2.arch.sysregs.id import MIDR_ELx, MPIDR_ELx


class HCR_ELx(Register, family=True):
    """Layout of HCR_EL2 and NVHCR_EL2."""

    TWEDEL = Field(63, 60)
    TWEDEn = Field(59)
    TID5 = Field(58)
    DCT = Field(57)
    ATA = Field(56)
    TTLBOS = Field(55)
    TTLBIS = Field(54)
    EnSCXT = Field(53, negative=True)
    TOCU = Field(52)
    AMVOFFEN = Field(51)
    TICAB = Field(50)
    TID4 = Field(49)
    GPF = Field(48)
    FIEN = Field(47, negative=True)
    FWB = Field(46)
    NV2 = Field(45)
    AT = Field(44)
    NV1 = Field(43)
    NV = Field(42)
    API = Field(41, negative=True)
    APK = Field(40, negative=True)
    TME = Field(39, negative=True)
    MIOCNCE = Field(38)
    TEA = Field(37)
    TERR = Field(36)
    TLOR = Field(35)
    E2H = Field(34)
    ID = Field(33)
    CD = Field(32)
    RW = Field(31)
    TRVM = Field(30)
    HCD = Field(29)
    TDZ = Field(28)
    TGE = Field(27)
    TVM = Field(26)
    TTLB = Field(25)
    TPU = Field(24)
    TPCP = Field(23)
    TSW = Field(22)
    TACR = Field(21)
    TIDCP = Field(20)
    TSC = Field(19)
    TID3 = Field(18)
    TID2 = Field(17)
    TID1 = Field(16)
    TID0 = Field(15)
    TWE = Field(14)
    TWI = Field(13)
    DC = Field(12)
    BSU = Field(11, 10)
    FB = Field(9)
    VSE = Field(8)
    VI = Field(7)
    VF = Field(6)
    AMO = Field(5)
    IMO = Field(4)
    FMO = Field(3)
    PTW = Field(2)
    SWIO = Field(1)
    VM = Field(0)


class HCR_EL2(HCR_ELx, op0=3, op1=4, CRn=1, CRm=1, op2=0, vncr=0x78, vncr_class="A"):
    """Hypervisor configuration."""


class NVHCR_EL2(HCR_ELx, op0=3, op1=4, CRn=1, CRm=5, op2=0):
    """HCR_EL2 of the guest hypervisor (FEAT_NV3)."""


class HCRX_EL2(Register, op0=3, op1=4, CRn=1, CRm=2, op2=2, vncr=0xA0, vncr_class="A"):
    """Hypervisor configuration, extended."""

    _63 = Res0(63, 37)
    FNB = Field(36)
    VTLBIDOSEn = Field(35)
    NVnTTLBOS = Field(34)
    NVnTTLBIS = Field(33)
    NVnTTLB = Field(32)
    FDIT = Field(31)
    _30 = Res0(30, 28)
    NVTGE = Field(27)
    SRMASKEn = Field(26, negative=True)
    VTLBIDEn = Field(25)
    PACMEn = Field(24, negative=True)
    EnFPM = Field(23, negative=True)
    GCSEn = Field(22, negative=True)
    EnIDCP128 = Field(21, negative=True)
    EnSDERR = Field(20)
    TMEA = Field(19)
    EnSNERR = Field(18)
    D128En = Field(17, negative=True)
    PTTWI = Field(16)
    SCTLR2En = Field(15, negative=True)
    TCR2En = Field(14, negative=True)
    _13 = Res0(13, 12)
    MSCEn = Field(11, negative=True)
    MCE2 = Field(10)
    CMOW = Field(9)
    VFNMI = Field(8)
    VINMI = Field(7)
    TALLINT = Field(6)
    SMPME = Field(5)
    FGTnXS = Field(4)
    FnXS = Field(3)
    EnASR = Field(2, negative=True)
    EnALS = Field(1, negative=True)
    EnAS0 = Field(0, negative=True)


class VTTBR_EL2(Register, op0=3, op1=4, CRn=2, CRm=1, op2=0, vncr=0x20, vncr_class="A"):
    """Stage 2 table base and VMID."""

    VMID = Field(63, 48)
    BADDR = Field(47, 1)
    CnP = Field(0)


class VTCR_EL2(Register, op0=3, op1=4, CRn=2, CRm=1, op2=2, vncr=0x40, vncr_class="A"):
    """Stage 2 translation control."""

    _63 = Res0(63, 46)
    HDBSS = Field(45)
    HAFT = Field(44)
    _43 = Res0(43, 42)
    TL0 = Field(41)
    GCSH = Field(40)
    _39 = Res0(39)
    D128 = Field(38)
    S2POE = Field(37)
    S2PIE = Field(36)
    TL1 = Field(35)
    AssuredOnly = Field(34)
    SL2 = Field(33)
    DS = Field(32)
    _31 = Res1(31)
    NSA = Field(30)
    NSW = Field(29)
    HWU62 = Field(28)
    HWU61 = Field(27)
    HWU60 = Field(26)
    HWU59 = Field(25)
    _24 = Res0(24, 23)
    HD = Field(22)
    HA = Field(21)
    _20 = Res0(20)
    VS = Field(19)
    PS = Field(18, 16, PARange)
    TG0 = Field(15, 14, TG0)
    SH0 = Field(13, 12, SH)
    ORGN0 = Field(11, 10, RGN)
    IRGN0 = Field(9, 8, RGN)
    SL0 = Field(7, 6)
    T0SZ = Field(5, 0)


class VSTTBR_EL2(Register, op0=3, op1=4, CRn=2, CRm=6, op2=0, vncr=0x30, vncr_class="A"):
    """Secure stage 2 table base."""

    _63 = Res0(63, 48)
    BADDR = Field(47, 1)
    CnP = Field(0)


class VSTCR_EL2(Register, op0=3, op1=4, CRn=2, CRm=6, op2=2, vncr=0x48, vncr_class="A"):
    """Secure stage 2 translation control."""

    _63 = Res0(63, 34)
    SL2 = Field(33)
    _32 = Res0(32)
    _31 = Res1(31)
    SA = Field(30)
    SW = Field(29)
    _28 = Res0(28, 16)
    TG0 = Field(15, 14, TG0)
    _13 = Res0(13, 8)
    SL0 = Field(7, 6)
    T0SZ = Field(5, 0)


class VNCR_EL2(Register, op0=3, op1=4, CRn=2, CRm=2, op2=0, vncr=0xB0, vncr_class="A"):
    """Base of the page that FEAT_NV2 redirects register accesses to."""

    RESS = Field(63, 57)
    BADDR = Field(56, 12)
    _11 = Res0(11, 0)


class VPIDR_EL2(MIDR_ELx, op0=3, op1=4, CRn=0, CRm=0, op2=0, vncr=0x88, vncr_class="A"):
    """What EL1 reads as MIDR_EL1."""


class VMPIDR_EL2(MPIDR_ELx, op0=3, op1=4, CRn=0, CRm=0, op2=5, vncr=0x50, vncr_class="A"):
    """What EL1 reads as MPIDR_EL1."""


class SCTLR_EL2(Register, op0=3, op1=4, CRn=1, CRm=0, op2=0):
    """System control; the fields that act on EL0 exist with E2H = 1 only."""

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
    BT = Field(36)
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
    _9 = Res0(9)
    SED = Field(8)
    ITD = Field(7)
    nAA = Field(6)
    CP15BEN = Field(5)
    SA0 = Field(4)
    SA = Field(3)
    C = Field(2)
    A = Field(1)
    M = Field(0)


SCTLR_EL2_RES1_E2H0 = SCTLR_EL2.compose(
    SA0=1, CP15BEN=1, EOS=1, nTWI=1, nTWE=1, EIS=1, SPAN=1, nTLSMD=1, LSMAOE=1
)
"""Bits of SCTLR_EL2 that are RES1 while HCR_EL2.E2H is 0 (EIS and EOS without FEAT_ExS)."""


class SCTLR2_EL2(Register, op0=3, op1=4, CRn=1, CRm=0, op2=3):
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
    EMEC = Field(1)
    _0 = Res0(0)


class ACTLR_EL2(Impdef_ELx, op0=3, op1=4, CRn=1, CRm=0, op2=1):
    """Auxiliary control."""


class HACR_EL2(Impdef_ELx, op0=3, op1=4, CRn=1, CRm=1, op2=7):
    """Hypervisor auxiliary control."""


class HSTR_EL2(Register, op0=3, op1=4, CRn=1, CRm=1, op2=3, vncr=0x80, vncr_class="A"):
    """Traps of AArch32 coprocessor 15 accesses, by CRn."""

    _63 = Res0(63, 16)
    T15 = Field(15)
    _14 = Res0(14)
    T13 = Field(13)
    T12 = Field(12)
    T11 = Field(11)
    T10 = Field(10)
    T9 = Field(9)
    T8 = Field(8)
    T7 = Field(7)
    T6 = Field(6)
    T5 = Field(5)
    _4 = Res0(4)
    T3 = Field(3)
    T2 = Field(2)
    T1 = Field(1)
    T0 = Field(0)


class CPTR_EL2(Register, op0=3, op1=4, CRn=1, CRm=1, op2=2):
    """Feature traps while HCR_EL2.E2H is 0."""

    _63 = Res0(63, 32)
    TCPAC = Field(31)
    TAM = Field(30)
    _29 = Res0(29, 21)
    TTA = Field(20)
    _19 = Res0(19, 14)
    _13 = Res1(13)
    TSM = Field(12)
    _11 = Res0(11)
    TFP = Field(10)
    _9 = Res1(9)
    TZ = Field(8)
    _7 = Res1(7, 0)


class CPTR_EL2_E2H(Register, op0=3, op1=4, CRn=1, CRm=1, op2=2, layout_of="CPTR_EL2"):
    """Feature traps while HCR_EL2.E2H is 1: the layout of CPACR_EL1 and more."""

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


class MDCR_EL2(Register, op0=3, op1=4, CRn=1, CRm=1, op2=1):
    """Debug, PMU, SPE and trace traps."""

    _63 = Res0(63, 51)
    EnSTEPOP = Field(50)
    _49 = Res0(49, 44)
    EBWE = Field(43)
    _42 = Res0(42)
    PMEE = Field(41, 40)
    _39 = Res0(39, 37)
    HPMFZS = Field(36)
    _35 = Res0(35, 32)
    PMSSE = Field(31, 30)
    HPMFZO = Field(29)
    MTPME = Field(28)
    TDCC = Field(27)
    HLP = Field(26)
    E2TB = Field(25, 24)
    HCCD = Field(23)
    _22 = Res0(22, 20)
    TTRF = Field(19)
    _18 = Res0(18)
    HPMD = Field(17)
    _16 = Res0(16)
    EnSPM = Field(15)
    TPMS = Field(14)
    E2PB = Field(13, 12)
    TDRA = Field(11)
    TDOSA = Field(10)
    TDA = Field(9)
    TDE = Field(8)
    HPME = Field(7)
    TPM = Field(6)
    TPMCR = Field(5)
    HPMN = Field(4, 0)


class TTBR0_EL2(TTBR_ELx, op0=3, op1=4, CRn=2, CRm=0, op2=0):
    """Translation table base, low half."""


class TTBR1_EL2(TTBR_ELx, op0=3, op1=4, CRn=2, CRm=0, op2=1):
    """Translation table base, high half (FEAT_VHE)."""


class TCR_EL2(Register, op0=3, op1=4, CRn=2, CRm=0, op2=2):
    """Translation control while HCR_EL2.E2H is 0."""

    _63 = Res0(63, 34)
    MTX = Field(33)
    DS = Field(32)
    _31 = Res1(31)
    TCMA = Field(30)
    TBID = Field(29)
    HWU62 = Field(28)
    HWU61 = Field(27)
    HWU60 = Field(26)
    HWU59 = Field(25)
    HPD = Field(24)
    _23 = Res1(23)
    HD = Field(22)
    HA = Field(21)
    TBI = Field(20)
    _19 = Res0(19)
    PS = Field(18, 16, PARange)
    TG0 = Field(15, 14, TG0)
    SH0 = Field(13, 12, SH)
    ORGN0 = Field(11, 10, RGN)
    IRGN0 = Field(9, 8, RGN)
    _7 = Res0(7, 6)
    T0SZ = Field(5, 0)


class TCR_EL2_E2H(TCR_ELx, op0=3, op1=4, CRn=2, CRm=0, op2=2, layout_of="TCR_EL2"):
    """Translation control while HCR_EL2.E2H is 1."""


class TCR2_EL2(Register, op0=3, op1=4, CRn=2, CRm=0, op2=3):
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
    AMEC1 = Field(13)
    AMEC0 = Field(12)
    HAFT = Field(11)
    PTTWI = Field(10)
    _9 = Res0(9, 6)
    D128 = Field(5)
    AIE = Field(4)
    POE = Field(3)
    E0POE = Field(2)
    PIE = Field(1)
    PnCH = Field(0)


class MAIR_EL2(MAIR_ELx, op0=3, op1=4, CRn=10, CRm=2, op2=0):
    """Memory attributes."""


class MAIR2_EL2(MAIR_ELx, op0=3, op1=4, CRn=10, CRm=1, op2=1):
    """Memory attributes, upper eight (FEAT_AIE)."""


class AMAIR_EL2(Impdef_ELx, op0=3, op1=4, CRn=10, CRm=3, op2=0):
    """Auxiliary memory attributes."""


class AMAIR2_EL2(Impdef_ELx, op0=3, op1=4, CRn=10, CRm=3, op2=1):
    """Auxiliary memory attributes, upper (FEAT_AIE)."""


class PIRE0_EL2(PIR_ELx, op0=3, op1=4, CRn=10, CRm=2, op2=2, vncr=0x298, vncr_class="A"):
    """Permission indirection for EL0 of the EL2&0 regime."""


class PIR_EL2(PIR_ELx, op0=3, op1=4, CRn=10, CRm=2, op2=3):
    """Permission indirection."""


class POR_EL2(PIR_ELx, op0=3, op1=4, CRn=10, CRm=2, op2=4):
    """Permission overlay."""


class S2PIR_EL2(PIR_ELx, op0=3, op1=4, CRn=10, CRm=2, op2=5, vncr=0x2B0, vncr_class="A"):
    """Stage 2 permission indirection."""


class VBAR_EL2(VBAR_ELx, op0=3, op1=4, CRn=12, CRm=0, op2=0):
    """Vector base."""


class RVBAR_EL2(Value_ELx, op0=3, op1=4, CRn=12, CRm=0, op2=1, access="RO"):
    """Reset vector base, if EL2 is the highest level."""


class RMR_EL2(RMR_ELx, op0=3, op1=4, CRn=12, CRm=0, op2=2):
    """Reset management, if EL2 is the highest level."""


class VDISR_EL2(Register, op0=3, op1=4, CRn=12, CRm=1, op2=1, vncr=0x500, vncr_class="A"):
    """Virtual deferred SError."""

    _63 = Res0(63, 32)
    A = Field(31)
    _30 = Res0(30, 25)
    IDS = Field(24)
    ISS = Field(23, 0)


class VSESR_EL2(Register, op0=3, op1=4, CRn=5, CRm=2, op2=3, vncr=0x508, vncr_class="A"):
    """Syndrome of a virtual SError."""

    _63 = Res0(63, 25)
    IDS = Field(24)
    ISS = Field(23, 0)


class ESR_EL2(ESR_ELx, Register, op0=3, op1=4, CRn=5, CRm=2, op2=0):
    """Exception syndrome."""


class AFSR0_EL2(Impdef_ELx, op0=3, op1=4, CRn=5, CRm=1, op2=0):
    """Auxiliary fault status 0."""


class AFSR1_EL2(Impdef_ELx, op0=3, op1=4, CRn=5, CRm=1, op2=1):
    """Auxiliary fault status 1."""


class FAR_EL2(FAR_ELx, op0=3, op1=4, CRn=6, CRm=0, op2=0):
    """Faulting virtual address."""


class HPFAR_EL2(Register, op0=3, op1=4, CRn=6, CRm=0, op2=4):
    """Faulting IPA: FIPA holds bits 55:12 of it."""

    NS = Field(63)
    _62 = Res0(62, 48)
    FIPA = Field(47, 4)
    _3 = Res0(3, 0)


class PFAR_EL2(Value_ELx, op0=3, op1=4, CRn=6, CRm=0, op2=5):
    """Faulting physical address (FEAT_PFAR)."""


class ELR_EL2(ELR_ELx, op0=3, op1=4, CRn=4, CRm=0, op2=1):
    """Exception return address."""


class SPSR_EL2(SPSR_ELx, Register, op0=3, op1=4, CRn=4, CRm=0, op2=0):
    """Saved PSTATE."""


class SP_EL2(SP_ELx, op0=3, op1=6, CRn=4, CRm=1, op2=0):
    """Stack pointer of EL2; only EL3 reaches it by this name."""


class CONTEXTIDR_EL2(CONTEXTIDR_ELx, op0=3, op1=4, CRn=13, CRm=0, op2=1):
    """Context ID for debug and trace."""


class TPIDR_EL2(TPIDR_ELx, op0=3, op1=4, CRn=13, CRm=0, op2=2, vncr=0x90, vncr_class="A"):
    """Thread ID of EL2."""


class SCXTNUM_EL2(SCXTNUM_ELx, op0=3, op1=4, CRn=13, CRm=0, op2=7):
    """Software context number of EL2."""


class SPSR_irq(Value_ELx, op0=3, op1=4, CRn=4, CRm=3, op2=0):
    """Saved AArch32 PSTATE of IRQ mode."""


class SPSR_abt(Value_ELx, op0=3, op1=4, CRn=4, CRm=3, op2=1):
    """Saved AArch32 PSTATE of Abort mode."""


class SPSR_und(Value_ELx, op0=3, op1=4, CRn=4, CRm=3, op2=2):
    """Saved AArch32 PSTATE of Undefined mode."""


class SPSR_fiq(Value_ELx, op0=3, op1=4, CRn=4, CRm=3, op2=3):
    """Saved AArch32 PSTATE of FIQ mode."""


class DACR32_EL2(Value_ELx, op0=3, op1=4, CRn=3, CRm=0, op2=0):
    """AArch32 DACR."""


class IFSR32_EL2(Value_ELx, op0=3, op1=4, CRn=5, CRm=0, op2=1):
    """AArch32 IFSR."""


class FPEXC32_EL2(Value_ELx, op0=3, op1=4, CRn=5, CRm=3, op2=0):
    """AArch32 FPEXC."""


class HDBSSBR_EL2(Value_ELx, op0=3, op1=4, CRn=2, CRm=3, op2=2):
    """Dirty state tracking buffer base (FEAT_HDBSS)."""


class HDBSSPROD_EL2(Value_ELx, op0=3, op1=4, CRn=2, CRm=3, op2=3):
    """Dirty state tracking buffer index (FEAT_HDBSS)."""


class HACDBSBR_EL2(Register, op0=3, op1=4, CRn=2, CRm=3, op2=4):
    """Dirty state cleaning buffer base (FEAT_HACDBS)."""

    _63 = Res0(63, 56)
    BADDR = Field(55, 12)
    EN = Field(11)
    _10 = Res0(10, 4)
    SZ = Field(3, 0)


class HACDBSCONS_EL2(Register, op0=3, op1=4, CRn=2, CRm=3, op2=5):
    """Dirty state cleaning buffer index (FEAT_HACDBS)."""

    ERR_REASON = Field(63, 62)
    _61 = Res0(61, 19)
    INDEX = Field(18, 0)


class MECIDR_EL2(Register, op0=3, op1=4, CRn=10, CRm=8, op2=7, access="RO"):
    """MECID width (FEAT_MEC)."""

    _63 = Res0(63, 4)
    MECIDWidthm1 = Field(3, 0)


class MECID_ELx(Register, family=True):
    """Layout of the MECID registers."""

    _63 = Res0(63, 16)
    MECID = Field(15, 0)


class MECID_P0_EL2(MECID_ELx, op0=3, op1=4, CRn=10, CRm=8, op2=0):
    """Primary MECID of EL2."""


class MECID_A0_EL2(MECID_ELx, op0=3, op1=4, CRn=10, CRm=8, op2=1):
    """Alternate MECID of EL2."""


class MECID_P1_EL2(MECID_ELx, op0=3, op1=4, CRn=10, CRm=8, op2=2):
    """Primary MECID of EL2&0, TTBR1."""


class MECID_A1_EL2(MECID_ELx, op0=3, op1=4, CRn=10, CRm=8, op2=3):
    """Alternate MECID of EL2&0, TTBR1."""


class VMECID_P_EL2(MECID_ELx, op0=3, op1=4, CRn=10, CRm=9, op2=0):
    """Primary MECID of stage 2."""


class VMECID_A_EL2(MECID_ELx, op0=3, op1=4, CRn=10, CRm=9, op2=1):
    """Alternate MECID of stage 2."""

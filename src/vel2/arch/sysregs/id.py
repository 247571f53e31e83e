"""ID registers: what the processor says it implements, and its caches and topology."""

from __future__ import annotations

from vel2.arch.bits import Field, Register, Res0, Res1, Unknown
from vel2.arch.sysregs.el1 import Impdef_ELx, PARange


class MIDR_ELx(Register, family=True):
    """Layout of MIDR_EL1 and VPIDR_EL2."""

    _63 = Res0(63, 32)
    Implementer = Field(31, 24)
    Variant = Field(23, 20)
    Architecture = Field(19, 16)
    PartNum = Field(15, 4)
    Revision = Field(3, 0)


class MIDR_EL1(MIDR_ELx, op0=3, op1=0, CRn=0, CRm=0, op2=0, access="RO"):
    """Main ID."""


class MPIDR_ELx(Register, family=True):
    """Layout of MPIDR_EL1 and VMPIDR_EL2."""

    _63 = Res0(63, 40)
    Aff3 = Field(39, 32)
    _31 = Res1(31)
    U = Field(30)
    _29 = Res0(29, 25)
    MT = Field(24)
    Aff2 = Field(23, 16)
    Aff1 = Field(15, 8)
    Aff0 = Field(7, 0)


class MPIDR_EL1(MPIDR_ELx, op0=3, op1=0, CRn=0, CRm=0, op2=5, access="RO"):
    """Multiprocessor affinity."""


class REVIDR_EL1(Impdef_ELx, op0=3, op1=0, CRn=0, CRm=0, op2=6, access="RO"):
    """Revision ID."""


class AIDR_EL1(Impdef_ELx, op0=3, op1=1, CRn=0, CRm=0, op2=7, access="RO"):
    """Auxiliary ID."""


class ID_PFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=0, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    RAS = Field(31, 28)
    DIT = Field(27, 24)
    AMU = Field(23, 20)
    CSV2 = Field(19, 16)
    State3 = Field(15, 12)
    State2 = Field(11, 8)
    State1 = Field(7, 4)
    State0 = Field(3, 0)


class ID_PFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=1, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    GIC = Field(31, 28)
    Virt_frac = Field(27, 24)
    Sec_frac = Field(23, 20)
    GenTimer = Field(19, 16)
    Virtualization = Field(15, 12)
    MProgMod = Field(11, 8)
    Security = Field(7, 4)
    ProgMod = Field(3, 0)


class ID_DFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=2, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    TraceFilt = Field(31, 28)
    PerfMon = Field(27, 24)
    MProfDbg = Field(23, 20)
    MMapTrc = Field(19, 16)
    CopTrc = Field(15, 12)
    MMapDbg = Field(11, 8)
    CopSDbg = Field(7, 4)
    CopDbg = Field(3, 0)


class ID_AFR0_EL1(Impdef_ELx, op0=3, op1=0, CRn=0, CRm=1, op2=3, access="RO"):
    """AArch32 features."""


class ID_MMFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=4, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    InnerShr = Field(31, 28)
    FCSE = Field(27, 24)
    AuxReg = Field(23, 20)
    TCM = Field(19, 16)
    ShareLvl = Field(15, 12)
    OuterShr = Field(11, 8)
    PMSA = Field(7, 4)
    VMSA = Field(3, 0)


class ID_MMFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=5, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    BPred = Field(31, 28)
    L1TstCln = Field(27, 24)
    L1Uni = Field(23, 20)
    L1Hvd = Field(19, 16)
    L1UniSW = Field(15, 12)
    L1HvdSW = Field(11, 8)
    L1UniVA = Field(7, 4)
    L1HvdVA = Field(3, 0)


class ID_MMFR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=6, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    HWAccFlg = Field(31, 28)
    WFIStall = Field(27, 24)
    MemBarr = Field(23, 20)
    UniTLB = Field(19, 16)
    HvdTLB = Field(15, 12)
    L1HvdRng = Field(11, 8)
    L1HvdBG = Field(7, 4)
    L1HvdFG = Field(3, 0)


class ID_MMFR3_EL1(Register, op0=3, op1=0, CRn=0, CRm=1, op2=7, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    Supersec = Field(31, 28)
    CMemSz = Field(27, 24)
    CohWalk = Field(23, 20)
    PAN = Field(19, 16)
    MaintBcst = Field(15, 12)
    BPMaint = Field(11, 8)
    CMaintSW = Field(7, 4)
    CMaintVA = Field(3, 0)


class ID_ISAR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=0, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 28)
    Divide = Field(27, 24)
    Debug = Field(23, 20)
    Coproc = Field(19, 16)
    CmpBranch = Field(15, 12)
    BitField = Field(11, 8)
    BitCount = Field(7, 4)
    Swap = Field(3, 0)


class ID_ISAR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=1, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    Jazelle = Field(31, 28)
    Interwork = Field(27, 24)
    Immediate = Field(23, 20)
    IfThen = Field(19, 16)
    Extend = Field(15, 12)
    Except_AR = Field(11, 8)
    Except = Field(7, 4)
    Endian = Field(3, 0)


class ID_ISAR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=2, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    Reversal = Field(31, 28)
    PSR_AR = Field(27, 24)
    MultU = Field(23, 20)
    MultS = Field(19, 16)
    Mult = Field(15, 12)
    MultiAccessInt = Field(11, 8)
    MemHint = Field(7, 4)
    LoadStore = Field(3, 0)


class ID_ISAR3_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=3, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    T32EE = Field(31, 28)
    TrueNOP = Field(27, 24)
    T32Copy = Field(23, 20)
    TabBranch = Field(19, 16)
    SynchPrim = Field(15, 12)
    SVC = Field(11, 8)
    SIMD = Field(7, 4)
    Saturate = Field(3, 0)


class ID_ISAR4_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=4, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    SWP_frac = Field(31, 28)
    PSR_M = Field(27, 24)
    SynchPrim_frac = Field(23, 20)
    Barrier = Field(19, 16)
    SMC = Field(15, 12)
    Writeback = Field(11, 8)
    WithShifts = Field(7, 4)
    Unpriv = Field(3, 0)


class ID_ISAR5_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=5, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    VCMA = Field(31, 28)
    RDM = Field(27, 24)
    _23 = Res0(23, 20)
    CRC32 = Field(19, 16)
    SHA2 = Field(15, 12)
    SHA1 = Field(11, 8)
    AES = Field(7, 4)
    SEVL = Field(3, 0)


class ID_MMFR4_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=6, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    EVT = Field(31, 28)
    CCIDX = Field(27, 24)
    LSM = Field(23, 20)
    HPDS = Field(19, 16)
    CnP = Field(15, 12)
    XNX = Field(11, 8)
    AC2 = Field(7, 4)
    SpecSEI = Field(3, 0)


class ID_ISAR6_EL1(Register, op0=3, op1=0, CRn=0, CRm=2, op2=7, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    CLRBHB = Field(31, 28)
    I8MM = Field(27, 24)
    BF16 = Field(23, 20)
    SPECRES = Field(19, 16)
    SB = Field(15, 12)
    FHM = Field(11, 8)
    DP = Field(7, 4)
    JSCVT = Field(3, 0)


class MVFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=3, op2=0, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    FPRound = Field(31, 28)
    FPShVec = Field(27, 24)
    FPSqrt = Field(23, 20)
    FPDivide = Field(19, 16)
    FPTrap = Field(15, 12)
    FPDP = Field(11, 8)
    FPSP = Field(7, 4)
    SIMDReg = Field(3, 0)


class MVFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=3, op2=1, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 32)
    SIMDFMAC = Field(31, 28)
    FPHP = Field(27, 24)
    SIMDHP = Field(23, 20)
    SIMDSP = Field(19, 16)
    SIMDInt = Field(15, 12)
    SIMDLS = Field(11, 8)
    FPDNaN = Field(7, 4)
    FPFtZ = Field(3, 0)


class MVFR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=3, op2=2, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 8)
    FPMisc = Field(7, 4)
    SIMDMisc = Field(3, 0)


class ID_PFR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=3, op2=4, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 12)
    RAS_frac = Field(11, 8)
    SSBS = Field(7, 4)
    CSV3 = Field(3, 0)


class ID_DFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=3, op2=5, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 8)
    HPMN0 = Field(7, 4)
    MTPMU = Field(3, 0)


class ID_MMFR5_EL1(Register, op0=3, op1=0, CRn=0, CRm=3, op2=6, access="RO"):
    """AArch32 features."""

    _63 = Res0(63, 8)
    nTLBPA = Field(7, 4)
    ETS = Field(3, 0)


class ID_AA64PFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=4, op2=0, access="RO"):
    """Processor features 0."""

    CSV3 = Field(63, 60)
    CSV2 = Field(59, 56)
    RME = Field(55, 52)
    DIT = Field(51, 48)
    AMU = Field(47, 44)
    MPAM = Field(43, 40)
    SEL2 = Field(39, 36)
    SVE = Field(35, 32)
    RAS = Field(31, 28)
    GIC = Field(27, 24)
    AdvSIMD = Field(23, 20)
    FP = Field(19, 16)
    EL3 = Field(15, 12)
    EL2 = Field(11, 8)
    EL1 = Field(7, 4)
    EL0 = Field(3, 0)


class ID_AA64PFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=4, op2=1, access="RO"):
    """Processor features 1."""

    PFAR = Field(63, 60)
    DF2 = Field(59, 56)
    MTEX = Field(55, 52)
    THE = Field(51, 48)
    GCS = Field(47, 44)
    MTE_frac = Field(43, 40)
    NMI = Field(39, 36)
    CSV2_frac = Field(35, 32)
    RNDR_trap = Field(31, 28)
    SME = Field(27, 24)
    _23 = Res0(23, 20)
    MPAM_frac = Field(19, 16)
    RAS_frac = Field(15, 12)
    MTE = Field(11, 8)
    SSBS = Field(7, 4)
    BT = Field(3, 0)


class ID_AA64PFR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=4, op2=2, access="RO"):
    """Processor features 2."""

    _63 = Res0(63, 36)
    FPMR = Field(35, 32)
    MPAM2 = Field(31, 28)
    _27 = Res0(27, 24)
    MTEEIRG = Field(23, 20)
    UINJ = Field(19, 16)
    GCIE = Field(15, 12)
    MTEFAR = Field(11, 8)
    MTESTOREONLY = Field(7, 4)
    MTEPERM = Field(3, 0)


class ID_AA64ZFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=4, op2=4, access="RO"):
    """SVE features."""

    _63 = Res0(63, 60)
    F64MM = Field(59, 56)
    F32MM = Field(55, 52)
    F16MM = Field(51, 48)
    I8MM = Field(47, 44)
    SM4 = Field(43, 40)
    _39 = Res0(39, 36)
    SHA3 = Field(35, 32)
    _31 = Res0(31, 28)
    B16B16 = Field(27, 24)
    BF16 = Field(23, 20)
    BitPerm = Field(19, 16)
    EltPerm = Field(15, 12)
    _11 = Res0(11, 8)
    AES = Field(7, 4)
    SVEver = Field(3, 0)


class ID_AA64SMFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=4, op2=5, access="RO"):
    """SME features."""

    FA64 = Field(63)
    _62 = Res0(62)
    LUT6 = Field(61)
    LUTv2 = Field(60)
    SMEver = Field(59, 56)
    I16I64 = Field(55, 52)
    _51 = Res0(51, 49)
    F64F64 = Field(48)
    I16I32 = Field(47, 44)
    B16B16 = Field(43)
    F16F16 = Field(42)
    F8F16 = Field(41)
    F8F32 = Field(40)
    I8I32 = Field(39, 36)
    F16F32 = Field(35)
    B16F32 = Field(34)
    BI32I32 = Field(33)
    F32F32 = Field(32)
    _31 = Res0(31)
    SF8FMA = Field(30)
    SF8DP4 = Field(29)
    SF8DP2 = Field(28)
    _27 = Res0(27, 26)
    SBitPerm = Field(25)
    AES = Field(24)
    SFEXPA = Field(23)
    _22 = Res0(22, 17)
    STMOP = Field(16)
    _15 = Res0(15, 1)
    SMOP4 = Field(0)


class ID_AA64FPFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=4, op2=7, access="RO"):
    """FP8 features."""

    _63 = Res0(63, 32)
    F8CVT = Field(31)
    F8FMA = Field(30)
    F8DP4 = Field(29)
    F8DP2 = Field(28)
    F8MM8 = Field(27)
    F8MM4 = Field(26)
    _25 = Res0(25, 2)
    F8E4M3 = Field(1)
    F8E5M2 = Field(0)


class ID_AA64DFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=5, op2=0, access="RO"):
    """Debug features 0."""

    HPMN0 = Field(63, 60)
    ExtTrcBuff = Field(59, 56)
    BRBE = Field(55, 52)
    MTPMU = Field(51, 48)
    TraceBuffer = Field(47, 44)
    TraceFilt = Field(43, 40)
    DoubleLock = Field(39, 36)
    PMSVer = Field(35, 32)
    CTX_CMPs = Field(31, 28)
    SEBEP = Field(27, 24)
    WRPs = Field(23, 20)
    PMSS = Field(19, 16)
    BRPs = Field(15, 12)
    PMUVer = Field(11, 8)
    TraceVer = Field(7, 4)
    DebugVer = Field(3, 0)


class ID_AA64DFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=5, op2=1, access="RO"):
    """Debug features 1."""

    ABL_CMPs = Field(63, 56)
    DPFZS = Field(55, 52)
    EBEP = Field(51, 48)
    ITE = Field(47, 44)
    ABLE = Field(43, 40)
    PMICNTR = Field(39, 36)
    SPMU = Field(35, 32)
    CTX_CMPs = Field(31, 24)
    WRPs = Field(23, 16)
    BRPs = Field(15, 8)
    SYSPMUID = Field(7, 0)


class ID_AA64DFR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=5, op2=2, access="RO"):
    """Debug features 2."""

    _63 = Res0(63, 28)
    TRBE_EXC = Field(27, 24)
    SPE_nVM = Field(23, 20)
    SPE_EXC = Field(19, 16)
    _15 = Res0(15, 8)
    BWE = Field(7, 4)
    STEP = Field(3, 0)


class ID_AA64AFR0_EL1(Impdef_ELx, op0=3, op1=0, CRn=0, CRm=5, op2=4, access="RO"):
    """Auxiliary features 0."""


class ID_AA64AFR1_EL1(Impdef_ELx, op0=3, op1=0, CRn=0, CRm=5, op2=5, access="RO"):
    """Auxiliary features 1."""


class ID_AA64ISAR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=6, op2=0, access="RO"):
    """Instruction set 0."""

    RNDR = Field(63, 60)
    TLB = Field(59, 56)
    TS = Field(55, 52)
    FHM = Field(51, 48)
    DP = Field(47, 44)
    SM4 = Field(43, 40)
    SM3 = Field(39, 36)
    SHA3 = Field(35, 32)
    RDM = Field(31, 28)
    TME = Field(27, 24)
    Atomic = Field(23, 20)
    CRC32 = Field(19, 16)
    SHA2 = Field(15, 12)
    SHA1 = Field(11, 8)
    AES = Field(7, 4)
    _3 = Res0(3, 0)


class ID_AA64ISAR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=6, op2=1, access="RO"):
    """Instruction set 1."""

    LS64 = Field(63, 60)
    XS = Field(59, 56)
    I8MM = Field(55, 52)
    DGH = Field(51, 48)
    BF16 = Field(47, 44)
    SPECRES = Field(43, 40)
    SB = Field(39, 36)
    FRINTTS = Field(35, 32)
    GPI = Field(31, 28)
    GPA = Field(27, 24)
    LRCPC = Field(23, 20)
    FCMA = Field(19, 16)
    JSCVT = Field(15, 12)
    API = Field(11, 8)
    APA = Field(7, 4)
    DPB = Field(3, 0)


class ID_AA64ISAR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=6, op2=2, access="RO"):
    """Instruction set 2."""

    ATS1A = Field(63, 60)
    LUT = Field(59, 56)
    CSSC = Field(55, 52)
    RPRFM = Field(51, 48)
    PCDPHINT = Field(47, 44)
    PRFMSLC = Field(43, 40)
    SYSINSTR_128 = Field(39, 36)
    SYSREG_128 = Field(35, 32)
    CLRBHB = Field(31, 28)
    PAC_frac = Field(27, 24)
    BC = Field(23, 20)
    MOPS = Field(19, 16)
    APA3 = Field(15, 12)
    GPA3 = Field(11, 8)
    RPRES = Field(7, 4)
    WFxT = Field(3, 0)


class ID_AA64ISAR3_EL1(Register, op0=3, op1=0, CRn=0, CRm=6, op2=3, access="RO"):
    """Instruction set 3."""

    _63 = Res0(63, 48)
    LSCP = Field(47, 44)
    LSCSHINT = Field(43, 40)
    MTETC = Field(39, 36)
    PAC_frac2 = Field(35, 32)
    FPRCVT = Field(31, 28)
    LSUI = Field(27, 24)
    OCCMO = Field(23, 20)
    LSFE = Field(19, 16)
    PACM = Field(15, 12)
    TLBIW = Field(11, 8)
    FAMINMAX = Field(7, 4)
    CPA = Field(3, 0)


class ID_AA64MMFR0_EL1(Register, op0=3, op1=0, CRn=0, CRm=7, op2=0, access="RO"):
    """Memory model 0."""

    ECV = Field(63, 60)
    FGT = Field(59, 56)
    _55 = Res0(55, 48)
    ExS = Field(47, 44)
    TGran4_2 = Field(43, 40)
    TGran64_2 = Field(39, 36)
    TGran16_2 = Field(35, 32)
    TGran4 = Field(31, 28)
    TGran64 = Field(27, 24)
    TGran16 = Field(23, 20)
    BigEndEL0 = Field(19, 16)
    SNSMem = Field(15, 12)
    BigEnd = Field(11, 8)
    ASIDBits = Field(7, 4)
    PARange = Field(3, 0, PARange)


class ID_AA64MMFR1_EL1(Register, op0=3, op1=0, CRn=0, CRm=7, op2=1, access="RO"):
    """Memory model 1."""

    ECBHB = Field(63, 60)
    CMOW = Field(59, 56)
    TIDCP1 = Field(55, 52)
    nTLBPA = Field(51, 48)
    AFP = Field(47, 44)
    HCX = Field(43, 40)
    ETS = Field(39, 36)
    TWED = Field(35, 32)
    XNX = Field(31, 28)
    SpecSEI = Field(27, 24)
    PAN = Field(23, 20)
    LO = Field(19, 16)
    HPDS = Field(15, 12)
    VH = Field(11, 8)
    VMIDBits = Field(7, 4)
    HAFDBS = Field(3, 0)


class ID_AA64MMFR2_EL1(Register, op0=3, op1=0, CRn=0, CRm=7, op2=2, access="RO"):
    """Memory model 2."""

    E0PD = Field(63, 60)
    EVT = Field(59, 56)
    BBM = Field(55, 52)
    TTL = Field(51, 48)
    _47 = Res0(47, 44)
    FWB = Field(43, 40)
    IDS = Field(39, 36)
    AT = Field(35, 32)
    ST = Field(31, 28)
    NV = Field(27, 24)
    CCIDX = Field(23, 20)
    VARange = Field(19, 16)
    IESB = Field(15, 12)
    LSM = Field(11, 8)
    UAO = Field(7, 4)
    CnP = Field(3, 0)


class ID_AA64MMFR3_EL1(Register, op0=3, op1=0, CRn=0, CRm=7, op2=3, access="RO"):
    """Memory model 3."""

    Spec_FPACC = Field(63, 60)
    ADERR = Field(59, 56)
    SDERR = Field(55, 52)
    _51 = Res0(51, 48)
    ANERR = Field(47, 44)
    SNERR = Field(43, 40)
    D128_2 = Field(39, 36)
    D128 = Field(35, 32)
    MEC = Field(31, 28)
    AIE = Field(27, 24)
    S2POE = Field(23, 20)
    S1POE = Field(19, 16)
    S2PIE = Field(15, 12)
    S1PIE = Field(11, 8)
    SCTLRX = Field(7, 4)
    TCRX = Field(3, 0)


class ID_AA64MMFR4_EL1(Register, op0=3, op1=0, CRn=0, CRm=7, op2=4, access="RO"):
    """Memory model 4; E2H0 is signed."""

    _63 = Res0(63, 60)
    SCRX = Field(59, 56)
    _55 = Res0(55, 48)
    SRMASK = Field(47, 44)
    TLBID = Field(43, 40)
    E3DSE = Field(39, 36)
    EAESR = Field(35, 32)
    RMEGDI = Field(31, 28)
    E2H0 = Field(27, 24)
    NV_frac = Field(23, 20)
    FGWTE3 = Field(19, 16)
    HACDBS = Field(15, 12)
    ASID2 = Field(11, 8)
    EIESB = Field(7, 4)
    PoPS = Field(3, 0)


class CTR_EL0(Register, op0=3, op1=3, CRn=0, CRm=0, op2=1, access="RO"):
    """Cache type."""

    _63 = Res0(63, 38)
    TminLine = Field(37, 32)
    _31 = Res1(31)
    _30 = Res0(30)
    DIC = Field(29)
    IDC = Field(28)
    CWG = Field(27, 24)
    ERG = Field(23, 20)
    DminLine = Field(19, 16)
    L1Ip = Field(15, 14)
    _13 = Res0(13, 4)
    IminLine = Field(3, 0)


class DCZID_EL0(Register, op0=3, op1=3, CRn=0, CRm=0, op2=7, access="RO"):
    """Block size of DC ZVA."""

    _63 = Res0(63, 9)
    TBS = Field(8, 5)
    DZP = Field(4)
    BS = Field(3, 0)


class CCSIDR_EL1(Register, op0=3, op1=1, CRn=0, CRm=0, op2=0, access="RO"):
    """Size of the cache CSSELR_EL1 selects, without FEAT_CCIDX."""

    _63 = Res0(63, 32)
    _31 = Unknown(31, 28)
    NumSets = Field(27, 13)
    Associativity = Field(12, 3)
    LineSize = Field(2, 0)


class CCSIDR_EL1_CCIDX(
    Register, op0=3, op1=1, CRn=0, CRm=0, op2=0, layout_of="CCSIDR_EL1", access="RO"
):
    """Size of the cache CSSELR_EL1 selects, with FEAT_CCIDX."""

    _63 = Res0(63, 56)
    NumSets = Field(55, 32)
    _31 = Res0(31, 24)
    Associativity = Field(23, 3)
    LineSize = Field(2, 0)


class CCSIDR2_EL1(Register, op0=3, op1=1, CRn=0, CRm=0, op2=2, access="RO"):
    """Number of sets for AArch32 with FEAT_CCIDX."""

    _63 = Res0(63, 24)
    NumSets = Field(23, 0)


class CLIDR_EL1(Register, op0=3, op1=1, CRn=0, CRm=0, op2=1, access="RO"):
    """Cache levels."""

    _63 = Res0(63, 47)
    Ttype7 = Field(46, 45)
    Ttype6 = Field(44, 43)
    Ttype5 = Field(42, 41)
    Ttype4 = Field(40, 39)
    Ttype3 = Field(38, 37)
    Ttype2 = Field(36, 35)
    Ttype1 = Field(34, 33)
    ICB = Field(32, 30)
    LoUU = Field(29, 27)
    LoC = Field(26, 24)
    LoUIS = Field(23, 21)
    Ctype7 = Field(20, 18)
    Ctype6 = Field(17, 15)
    Ctype5 = Field(14, 12)
    Ctype4 = Field(11, 9)
    Ctype3 = Field(8, 6)
    Ctype2 = Field(5, 3)
    Ctype1 = Field(2, 0)


class CSSELR_EL1(Register, op0=3, op1=2, CRn=0, CRm=0, op2=0):
    """Cache size selection."""

    _63 = Res0(63, 5)
    TnD = Field(4)
    Level = Field(3, 1)
    InD = Field(0)


class GMID_EL1(Register, op0=3, op1=1, CRn=0, CRm=0, op2=4, access="RO"):
    """Tag block size."""

    _63 = Res0(63, 4)
    BS = Field(3, 0)


class SMIDR_EL1(Register, op0=3, op1=1, CRn=0, CRm=0, op2=6, access="RO"):
    """Streaming mode ID."""

    _63 = Res0(63, 60)
    NSMC = Field(59, 56)
    HIP = Field(55, 52)
    Affinity2 = Field(51, 32)
    Implementer = Field(31, 24)
    Revision = Field(23, 16)
    SMPS = Field(15)
    SH = Field(14, 13)
    _12 = Res0(12)
    Affinity = Field(11, 0)

"""Statistical profiling, trace buffer, trace filter, branch record buffer."""

from __future__ import annotations

from vel2.arch.bits import Encoding, Field, Register, Res0, derive
from vel2.arch.sysregs.el1 import Value_ELx


class PMSCR_EL1(
    Register, op0=3, op1=0, CRn=9, CRm=9, op2=0, vncr=0x828, vncr_class="P", e2h="PMSCR_EL2"
):
    """Sampling control, EL1."""

    _63 = Res0(63, 8)
    PCT = Field(7, 6)
    TS = Field(5)
    PA = Field(4)
    CX = Field(3)
    _2 = Res0(2)
    E1SPE = Field(1)
    E0SPE = Field(0)


class PMSCR_EL2(Register, op0=3, op1=4, CRn=9, CRm=9, op2=0):
    """Sampling control, EL2."""

    _63 = Res0(63, 12)
    EnVM = Field(11)
    KE = Field(10)
    EE = Field(9, 8)
    PCT = Field(7, 6)
    TS = Field(5)
    PA = Field(4)
    CX = Field(3)
    _2 = Res0(2)
    E2SPE = Field(1)
    E0HSPE = Field(0)


class PMSNEVFR_EL1(Value_ELx, op0=3, op1=0, CRn=9, CRm=9, op2=1, vncr=0x850, vncr_class="A"):
    """Inverted event filter."""


class PMSICR_EL1(Register, op0=3, op1=0, CRn=9, CRm=9, op2=2, vncr=0x838, vncr_class="A"):
    """Interval counter."""

    ECOUNT = Field(63, 56)
    _55 = Res0(55, 32)
    COUNT = Field(31, 0)


class PMSIRR_EL1(Register, op0=3, op1=0, CRn=9, CRm=9, op2=3, vncr=0x840, vncr_class="A"):
    """Interval reload."""

    _63 = Res0(63, 32)
    INTERVAL = Field(31, 8)
    _7 = Res0(7, 1)
    RND = Field(0)


class PMSFCR_EL1(Register, op0=3, op1=0, CRn=9, CRm=9, op2=4):
    """Filter control."""

    _63 = Res0(63, 53)
    SIMDm = Field(52)
    FPm = Field(51)
    STm = Field(50)
    LDm = Field(49)
    Bm = Field(48)
    _47 = Res0(47, 21)
    SIMD = Field(20)
    FP = Field(19)
    ST = Field(18)
    LD = Field(17)
    B = Field(16)
    _15 = Res0(15, 5)
    FDS = Field(4)
    FnE = Field(3)
    FL = Field(2)
    FT = Field(1)
    FE = Field(0)


class PMSEVFR_EL1(Value_ELx, op0=3, op1=0, CRn=9, CRm=9, op2=5, vncr=0x830, vncr_class="A"):
    """Event filter."""


class PMSLATFR_EL1(Register, op0=3, op1=0, CRn=9, CRm=9, op2=6, vncr=0x848, vncr_class="A"):
    """Latency filter."""

    _63 = Res0(63, 16)
    MINLAT = Field(15, 0)


class PMSIDR_EL1(Register, op0=3, op1=0, CRn=9, CRm=9, op2=7, access="RO"):
    """Sampling ID."""

    _63 = Res0(63, 33)
    SME = Field(32)
    ALTCLK = Field(31, 28)
    FPF = Field(27)
    EFT = Field(26)
    CRR = Field(25)
    PBT = Field(24)
    Format = Field(23, 20)
    CountSize = Field(19, 16)
    MaxSize = Field(15, 12)
    Interval = Field(11, 8)
    FDS = Field(7)
    FnE = Field(6)
    ERnd = Field(5)
    LDS = Field(4)
    ArchInst = Field(3)
    FL = Field(2)
    FT = Field(1)
    FE = Field(0)


class PMBLIMITR_EL1(Register, op0=3, op1=0, CRn=9, CRm=10, op2=0, vncr=0x800, vncr_class="A"):
    """Buffer limit and enable."""

    LIMIT = Field(63, 12)
    _11 = Res0(11, 8)
    nVM = Field(7)
    _6 = Res0(6)
    PMFZ = Field(5)
    _4 = Res0(4, 3)
    FM = Field(2, 1)
    E = Field(0)


class PMBPTR_EL1(Register, op0=3, op1=0, CRn=9, CRm=10, op2=1, vncr=0x810, vncr_class="A"):
    """Buffer write pointer."""

    PTR = Field(63, 0)


class PMBSR_EL1(Register, op0=3, op1=0, CRn=9, CRm=10, op2=3, vncr=0x820, vncr_class="A"):
    """Buffer status."""

    _63 = Res0(63, 56)
    MSS2 = Field(55, 32)
    EC = Field(31, 26)
    _25 = Res0(25, 20)
    DL = Field(19)
    EA = Field(18)
    S = Field(17)
    COLL = Field(16)
    MSS = Field(15, 0)


class PMSDSFR_EL1(Value_ELx, op0=3, op1=0, CRn=9, CRm=10, op2=4, vncr=0x858, vncr_class="A"):
    """Data source filter."""


class PMBMAR_EL1(Register, op0=3, op1=0, CRn=9, CRm=10, op2=5):
    """Buffer memory attributes."""

    _63 = Res0(63, 10)
    SH = Field(9, 8)
    Attr = Field(7, 0)


class PMBIDR_EL1(Register, op0=3, op1=0, CRn=9, CRm=10, op2=7, access="RO"):
    """Buffer ID."""

    _63 = Res0(63, 48)
    MaxBuffSize = Field(47, 32)
    _31 = Res0(31, 16)
    AddrMode = Field(15, 12)
    EA = Field(11, 8)
    _7 = Res0(7, 6)
    F = Field(5)
    P = Field(4)
    Align = Field(3, 0)


class TRBLIMITR_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=0):
    """Trace buffer limit and enable."""

    LIMIT = Field(63, 12)
    _11 = Res0(11, 7)
    XE = Field(6)
    nVM = Field(5)
    TM = Field(4, 3)
    FM = Field(2, 1)
    E = Field(0)


class TRBPTR_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=1):
    """Trace buffer write pointer."""

    PTR = Field(63, 0)


class TRBBASER_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=2):
    """Trace buffer base."""

    BASE = Field(63, 12)
    _11 = Res0(11, 0)


class TRBSR_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=3):
    """Trace buffer status."""

    _63 = Res0(63, 56)
    MSS2 = Field(55, 32)
    EC = Field(31, 26)
    _25 = Res0(25, 24)
    DAT = Field(23)
    IRQ = Field(22)
    TRG = Field(21)
    WRAP = Field(20)
    _19 = Res0(19)
    EA = Field(18)
    S = Field(17)
    _16 = Res0(16)
    MSS = Field(15, 0)


class TRBMAR_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=4):
    """Trace buffer memory attributes."""

    _63 = Res0(63, 12)
    PAS = Field(11, 10)
    SH = Field(9, 8)
    Attr = Field(7, 0)


class TRBMPAM_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=5):
    """Trace buffer MPAM."""

    _63 = Res0(63, 27)
    EN = Field(26)
    MPAM_SP = Field(25, 24)
    PMG = Field(23, 16)
    PARTID = Field(15, 0)


class TRBTRG_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=6):
    """Trace buffer trigger."""

    _63 = Res0(63, 32)
    TRG = Field(31, 0)


class TRBIDR_EL1(Register, op0=3, op1=0, CRn=9, CRm=11, op2=7, access="RO"):
    """Trace buffer ID."""

    _63 = Res0(63, 48)
    MaxBuffSize = Field(47, 32)
    _31 = Res0(31, 20)
    MPAM2 = Field(19, 16)
    MPAM = Field(15, 12)
    EA = Field(11, 8)
    AddrMode = Field(7, 6)
    F = Field(5)
    P = Field(4)
    Align = Field(3, 0)


class TRFCR_EL1(
    Register, op0=3, op1=0, CRn=1, CRm=2, op2=1, vncr=0x880, vncr_class="P", e2h="TRFCR_EL2"
):
    """Trace filter, EL1."""

    _63 = Res0(63, 7)
    TS = Field(6, 5)
    _4 = Res0(4, 2)
    E1TRE = Field(1)
    E0TRE = Field(0)


class TRFCR_EL2(Register, op0=3, op1=4, CRn=1, CRm=2, op2=1):
    """Trace filter, EL2."""

    _63 = Res0(63, 12)
    DnVM = Field(11)
    KE = Field(10)
    EE = Field(9, 8)
    _7 = Res0(7)
    TS = Field(6, 5)
    _4 = Res0(4)
    CX = Field(3)
    _2 = Res0(2)
    E2TRE = Field(1)
    E0HTRE = Field(0)


class TRCITECR_EL1(Register, op0=3, op1=0, CRn=1, CRm=2, op2=3, e2h="TRCITECR_EL2"):
    """Trace instrumentation, EL1."""

    _63 = Res0(63, 2)
    E1E = Field(1)
    E0E = Field(0)


class TRCITECR_EL2(Register, op0=3, op1=4, CRn=1, CRm=2, op2=3):
    """Trace instrumentation, EL2."""

    _63 = Res0(63, 2)
    E2E = Field(1)
    E0HE = Field(0)


class BRBCR_EL1(
    Register, op0=2, op1=1, CRn=9, CRm=0, op2=0, vncr=0x8E0, vncr_class="P", e2h="BRBCR_EL2"
):
    """Branch records, EL1."""

    _63 = Res0(63, 24)
    EXCEPTION = Field(23)
    ERTN = Field(22)
    _21 = Res0(21, 10)
    FZPSS = Field(9)
    FZP = Field(8)
    _7 = Res0(7)
    TS = Field(6, 5)
    MPRED = Field(4)
    CC = Field(3)
    _2 = Res0(2)
    E1BRE = Field(1)
    E0BRE = Field(0)


class BRBCR_EL2(Register, op0=2, op1=4, CRn=9, CRm=0, op2=0):
    """Branch records, EL2."""

    _63 = Res0(63, 24)
    EXCEPTION = Field(23)
    ERTN = Field(22)
    _21 = Res0(21, 10)
    FZPSS = Field(9)
    FZP = Field(8)
    _7 = Res0(7)
    TS = Field(6, 5)
    MPRED = Field(4)
    CC = Field(3)
    _2 = Res0(2)
    E2BRE = Field(1)
    E0HBRE = Field(0)


class BRBFCR_EL1(Register, op0=2, op1=1, CRn=9, CRm=0, op2=1):
    """Branch record function control."""

    _63 = Res0(63, 30)
    BANK = Field(29, 28)
    _27 = Res0(27, 23)
    CONDDIR = Field(22)
    DIRCALL = Field(21)
    INDCALL = Field(20)
    RTN = Field(19)
    INDIRECT = Field(18)
    DIRECT = Field(17)
    EnI = Field(16)
    _15 = Res0(15, 8)
    PAUSED = Field(7)
    LASTFAILED = Field(6)
    _5 = Res0(5, 0)


class BRBTS_EL1(Value_ELx, op0=2, op1=1, CRn=9, CRm=0, op2=2):
    """Branch record timestamp."""


class BRBINF_ELx(Register, family=True):
    """Layout of the branch record information."""

    _63 = Res0(63, 47)
    CCU = Field(46)
    CC = Field(45, 32)
    _31 = Res0(31, 18)
    LASTFAILED = Field(17)
    T = Field(16)
    _15 = Res0(15, 14)
    TYPE = Field(13, 8)
    EL = Field(7, 6)
    MPRED = Field(5)
    _4 = Res0(4, 2)
    VALID = Field(1, 0)


class BRBINFINJ_EL1(BRBINF_ELx, op0=2, op1=1, CRn=9, CRm=1, op2=0):
    """Branch record injection: information."""


class BRBSRCINJ_EL1(Value_ELx, op0=2, op1=1, CRn=9, CRm=1, op2=1):
    """Branch record injection: source."""


class BRBTGTINJ_EL1(Value_ELx, op0=2, op1=1, CRn=9, CRm=1, op2=2):
    """Branch record injection: target."""


class BRBIDR0_EL1(Register, op0=2, op1=1, CRn=9, CRm=2, op2=0, access="RO"):
    """Branch record ID."""

    _63 = Res0(63, 16)
    CC = Field(15, 12)
    FORMAT = Field(11, 8)
    NUMREC = Field(7, 0)


BRBINFn_EL1 = tuple(
    derive(BRBINF_ELx, f"BRBINF{n}_EL1", Encoding(2, 1, 8, n % 16, n // 16 * 4 + 0), access="RO")
    for n in range(32)
)
(
    BRBINF0_EL1,
    BRBINF1_EL1,
    BRBINF2_EL1,
    BRBINF3_EL1,
    BRBINF4_EL1,
    BRBINF5_EL1,
    BRBINF6_EL1,
    BRBINF7_EL1,
    BRBINF8_EL1,
    BRBINF9_EL1,
    BRBINF10_EL1,
    BRBINF11_EL1,
    BRBINF12_EL1,
    BRBINF13_EL1,
    BRBINF14_EL1,
    BRBINF15_EL1,
    BRBINF16_EL1,
    BRBINF17_EL1,
    BRBINF18_EL1,
    BRBINF19_EL1,
    BRBINF20_EL1,
    BRBINF21_EL1,
    BRBINF22_EL1,
    BRBINF23_EL1,
    BRBINF24_EL1,
    BRBINF25_EL1,
    BRBINF26_EL1,
    BRBINF27_EL1,
    BRBINF28_EL1,
    BRBINF29_EL1,
    BRBINF30_EL1,
    BRBINF31_EL1,
) = BRBINFn_EL1

BRBSRCn_EL1 = tuple(
    derive(Value_ELx, f"BRBSRC{n}_EL1", Encoding(2, 1, 8, n % 16, n // 16 * 4 + 1), access="RO")
    for n in range(32)
)
(
    BRBSRC0_EL1,
    BRBSRC1_EL1,
    BRBSRC2_EL1,
    BRBSRC3_EL1,
    BRBSRC4_EL1,
    BRBSRC5_EL1,
    BRBSRC6_EL1,
    BRBSRC7_EL1,
    BRBSRC8_EL1,
    BRBSRC9_EL1,
    BRBSRC10_EL1,
    BRBSRC11_EL1,
    BRBSRC12_EL1,
    BRBSRC13_EL1,
    BRBSRC14_EL1,
    BRBSRC15_EL1,
    BRBSRC16_EL1,
    BRBSRC17_EL1,
    BRBSRC18_EL1,
    BRBSRC19_EL1,
    BRBSRC20_EL1,
    BRBSRC21_EL1,
    BRBSRC22_EL1,
    BRBSRC23_EL1,
    BRBSRC24_EL1,
    BRBSRC25_EL1,
    BRBSRC26_EL1,
    BRBSRC27_EL1,
    BRBSRC28_EL1,
    BRBSRC29_EL1,
    BRBSRC30_EL1,
    BRBSRC31_EL1,
) = BRBSRCn_EL1

BRBTGTn_EL1 = tuple(
    derive(Value_ELx, f"BRBTGT{n}_EL1", Encoding(2, 1, 8, n % 16, n // 16 * 4 + 2), access="RO")
    for n in range(32)
)
(
    BRBTGT0_EL1,
    BRBTGT1_EL1,
    BRBTGT2_EL1,
    BRBTGT3_EL1,
    BRBTGT4_EL1,
    BRBTGT5_EL1,
    BRBTGT6_EL1,
    BRBTGT7_EL1,
    BRBTGT8_EL1,
    BRBTGT9_EL1,
    BRBTGT10_EL1,
    BRBTGT11_EL1,
    BRBTGT12_EL1,
    BRBTGT13_EL1,
    BRBTGT14_EL1,
    BRBTGT15_EL1,
    BRBTGT16_EL1,
    BRBTGT17_EL1,
    BRBTGT18_EL1,
    BRBTGT19_EL1,
    BRBTGT20_EL1,
    BRBTGT21_EL1,
    BRBTGT22_EL1,
    BRBTGT23_EL1,
    BRBTGT24_EL1,
    BRBTGT25_EL1,
    BRBTGT26_EL1,
    BRBTGT27_EL1,
    BRBTGT28_EL1,
    BRBTGT29_EL1,
    BRBTGT30_EL1,
    BRBTGT31_EL1,
) = BRBTGTn_EL1

"""Self-hosted debug: breakpoints, watchpoints, OS lock, debug communication channel."""

from __future__ import annotations

from vel2.arch.bits import Encoding, Field, Register, Res0, derive
from vel2.arch.sysregs.el1 import Value_ELx


class MDSCR_EL1(Register, op0=2, op1=0, CRn=0, CRm=2, op2=2, vncr=0x158, vncr_class="A"):
    """Monitor debug control."""

    _63 = Res0(63, 51)
    EnSTEPOP = Field(50)
    _49 = Res0(49, 36)
    EHBWE = Field(35)
    EnSPM = Field(34)
    TTA = Field(33)
    EMBWE = Field(32)
    TFO = Field(31)
    RXfull = Field(30)
    TXfull = Field(29)
    _28 = Res0(28)
    RXO = Field(27)
    TXU = Field(26)
    _25 = Res0(25, 24)
    INTdis = Field(23, 22)
    TDA = Field(21)
    _20 = Res0(20)
    SC2 = Field(19)
    _18 = Res0(18, 16)
    MDE = Field(15)
    HDE = Field(14)
    KDE = Field(13)
    TDCC = Field(12)
    _11 = Res0(11, 7)
    ERR = Field(6)
    _5 = Res0(5, 1)
    SS = Field(0)


class MDCCINT_EL1(Register, op0=2, op1=0, CRn=0, CRm=2, op2=0):
    """DCC interrupt enable."""

    _63 = Res0(63, 31)
    RX = Field(30)
    TX = Field(29)
    _28 = Res0(28, 0)


class MDCCSR_EL0(Register, op0=2, op1=3, CRn=0, CRm=1, op2=0, access="RO"):
    """DCC status."""

    _63 = Res0(63, 31)
    RXfull = Field(30)
    TXfull = Field(29)
    _28 = Res0(28, 0)


class DBGDTR_EL0(Register, op0=2, op1=3, CRn=0, CRm=4, op2=0):
    """DCC, 64 bits."""

    HighWord = Field(63, 32)
    LowWord = Field(31, 0)


class DTRRX_ELx(Register, family=True):
    """Layout of the 32-bit receive registers."""

    _63 = Res0(63, 32)
    DTRRX = Field(31, 0)


class DTRTX_ELx(Register, family=True):
    """Layout of the 32-bit transmit registers."""

    _63 = Res0(63, 32)
    DTRTX = Field(31, 0)


class DBGDTRRX_EL0(DTRRX_ELx, op0=2, op1=3, CRn=0, CRm=5, op2=0, access="RO"):
    """DCC, receive: what a read of this encoding reaches."""


class DBGDTRTX_EL0(
    DTRTX_ELx, op0=2, op1=3, CRn=0, CRm=5, op2=0, layout_of="DBGDTRRX_EL0", access="WO"
):
    """DCC, transmit: what a write of this encoding reaches."""


class OSDTRRX_EL1(DTRRX_ELx, op0=2, op1=0, CRn=0, CRm=0, op2=2):
    """DCC receive, for save and restore."""


class OSDTRTX_EL1(DTRTX_ELx, op0=2, op1=0, CRn=0, CRm=3, op2=2):
    """DCC transmit, for save and restore."""


class MDSELR_EL1(Register, op0=2, op1=0, CRn=0, CRm=4, op2=2):
    """Breakpoint bank select."""

    _63 = Res0(63, 6)
    BANK = Field(5, 4)
    _3 = Res0(3, 0)


class MDSTEPOP_EL1(Register, op0=2, op1=0, CRn=0, CRm=5, op2=2):
    """Instruction to step (FEAT_STEP2)."""

    _63 = Res0(63, 32)
    OPCODE = Field(31, 0)


class OSECCR_EL1(Register, op0=2, op1=0, CRn=0, CRm=6, op2=2):
    """Exception catch, for save and restore."""

    _63 = Res0(63, 32)
    EDECCR = Field(31, 0)


class MDRAR_EL1(Register, op0=2, op1=0, CRn=1, CRm=0, op2=0, access="RO"):
    """Debug ROM address."""

    _63 = Res0(63, 56)
    ROMADDR = Field(55, 12)
    _11 = Res0(11, 2)
    Valid = Field(1, 0)


class OSLAR_EL1(Register, op0=2, op1=0, CRn=1, CRm=0, op2=4, access="WO"):
    """OS lock access."""

    _63 = Res0(63, 1)
    OSLK = Field(0)


class OSLSR_EL1(Register, op0=2, op1=0, CRn=1, CRm=1, op2=4, access="RO"):
    """OS lock status."""

    _63 = Res0(63, 4)
    OSLM_1 = Field(3)
    nTT = Field(2)
    OSLK = Field(1)
    OSLM_0 = Field(0)


class OSDLR_EL1(Register, op0=2, op1=0, CRn=1, CRm=3, op2=4):
    """OS double lock."""

    _63 = Res0(63, 1)
    DLK = Field(0)


class DBGPRCR_EL1(Register, op0=2, op1=0, CRn=1, CRm=4, op2=4):
    """Power control."""

    _63 = Res0(63, 1)
    CORENPDRQ = Field(0)


class DBGCLAIM_EL1(Register, family=True):
    """Layout of the claim tags."""

    _63 = Res0(63, 8)
    CLAIM = Field(7, 0)


class DBGCLAIMSET_EL1(DBGCLAIM_EL1, op0=2, op1=0, CRn=7, CRm=8, op2=6):
    """Set claim tags."""


class DBGCLAIMCLR_EL1(DBGCLAIM_EL1, op0=2, op1=0, CRn=7, CRm=9, op2=6):
    """Clear claim tags."""


class DBGAUTHSTATUS_EL1(Register, op0=2, op1=0, CRn=7, CRm=14, op2=6, access="RO"):
    """Authentication status."""

    _63 = Res0(63, 28)
    RTNID = Field(27, 26)
    RTID = Field(25, 24)
    _23 = Res0(23, 16)
    RLNID = Field(15, 14)
    RLID = Field(13, 12)
    _11 = Res0(11, 8)
    SNID = Field(7, 6)
    SID = Field(5, 4)
    NSNID = Field(3, 2)
    NSID = Field(1, 0)


class DBGVCR32_EL2(Value_ELx, op0=2, op1=4, CRn=0, CRm=7, op2=0):
    """AArch32 vector catch."""


class DBGBVR_EL1(Register, family=True):
    """Layout of the breakpoint values, for an address match."""

    RESS_VA = Field(63, 2)
    _1 = Res0(1, 0)


class DBGBCR_EL1(Register, family=True):
    """Layout of the breakpoint controls."""

    _63 = Res0(63, 32)
    LBNX = Field(31, 30)
    SSCE = Field(29)
    MASK = Field(28, 24)
    BT = Field(23, 20)
    LBN = Field(19, 16)
    SSC = Field(15, 14)
    HMC = Field(13)
    _12 = Res0(12, 9)
    BAS = Field(8, 5)
    _4 = Res0(4)
    BT2 = Field(3)
    PMC = Field(2, 1)
    E = Field(0)


class DBGWVR_EL1(Register, family=True):
    """Layout of the watchpoint values."""

    RESS_VA = Field(63, 2)
    _1 = Res0(1, 0)


class DBGWCR_EL1(Register, family=True):
    """Layout of the watchpoint controls."""

    _63 = Res0(63, 32)
    LBNX = Field(31, 30)
    SSCE = Field(29)
    MASK = Field(28, 24)
    WT2 = Field(23)
    _22 = Res0(22, 21)
    WT = Field(20)
    LBN = Field(19, 16)
    SSC = Field(15, 14)
    HMC = Field(13)
    BAS = Field(12, 5)
    LSC = Field(4, 3)
    PAC = Field(2, 1)
    E = Field(0)


DBGBVRn_EL1 = tuple(
    derive(DBGBVR_EL1, f"DBGBVR{n}_EL1", Encoding(2, 0, 0, n, 4)) for n in range(16)
)
(
    DBGBVR0_EL1,
    DBGBVR1_EL1,
    DBGBVR2_EL1,
    DBGBVR3_EL1,
    DBGBVR4_EL1,
    DBGBVR5_EL1,
    DBGBVR6_EL1,
    DBGBVR7_EL1,
    DBGBVR8_EL1,
    DBGBVR9_EL1,
    DBGBVR10_EL1,
    DBGBVR11_EL1,
    DBGBVR12_EL1,
    DBGBVR13_EL1,
    DBGBVR14_EL1,
    DBGBVR15_EL1,
) = DBGBVRn_EL1

DBGBCRn_EL1 = tuple(
    derive(DBGBCR_EL1, f"DBGBCR{n}_EL1", Encoding(2, 0, 0, n, 5)) for n in range(16)
)
(
    DBGBCR0_EL1,
    DBGBCR1_EL1,
    DBGBCR2_EL1,
    DBGBCR3_EL1,
    DBGBCR4_EL1,
    DBGBCR5_EL1,
    DBGBCR6_EL1,
    DBGBCR7_EL1,
    DBGBCR8_EL1,
    DBGBCR9_EL1,
    DBGBCR10_EL1,
    DBGBCR11_EL1,
    DBGBCR12_EL1,
    DBGBCR13_EL1,
    DBGBCR14_EL1,
    DBGBCR15_EL1,
) = DBGBCRn_EL1

DBGWVRn_EL1 = tuple(
    derive(DBGWVR_EL1, f"DBGWVR{n}_EL1", Encoding(2, 0, 0, n, 6)) for n in range(16)
)
(
    DBGWVR0_EL1,
    DBGWVR1_EL1,
    DBGWVR2_EL1,
    DBGWVR3_EL1,
    DBGWVR4_EL1,
    DBGWVR5_EL1,
    DBGWVR6_EL1,
    DBGWVR7_EL1,
    DBGWVR8_EL1,
    DBGWVR9_EL1,
    DBGWVR10_EL1,
    DBGWVR11_EL1,
    DBGWVR12_EL1,
    DBGWVR13_EL1,
    DBGWVR14_EL1,
    DBGWVR15_EL1,
) = DBGWVRn_EL1

DBGWCRn_EL1 = tuple(
    derive(DBGWCR_EL1, f"DBGWCR{n}_EL1", Encoding(2, 0, 0, n, 7)) for n in range(16)
)
(
    DBGWCR0_EL1,
    DBGWCR1_EL1,
    DBGWCR2_EL1,
    DBGWCR3_EL1,
    DBGWCR4_EL1,
    DBGWCR5_EL1,
    DBGWCR6_EL1,
    DBGWCR7_EL1,
    DBGWCR8_EL1,
    DBGWCR9_EL1,
    DBGWCR10_EL1,
    DBGWCR11_EL1,
    DBGWCR12_EL1,
    DBGWCR13_EL1,
    DBGWCR14_EL1,
    DBGWCR15_EL1,
) = DBGWCRn_EL1

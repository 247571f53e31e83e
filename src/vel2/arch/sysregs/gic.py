"""GICv3 CPU interface (ICC_*) and its hypervisor side (ICH_*)."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

from vel2.arch.bits import Encoding, Field, Register, Res0, derive


class LRState(IntEnum):
    """ICH_LR<n>_EL2.State."""

    INVALID = 0
    PENDING = 1
    ACTIVE = 2
    PENDING_ACTIVE = 3


class ICC_PMR_EL1(Register, op0=3, op1=0, CRn=4, CRm=6, op2=0):
    """Priority mask."""

    _63 = Res0(63, 8)
    Priority = Field(7, 0)


class ICC_INTID_EL1(Register, family=True):
    """Layout of the registers that hold an INTID."""

    _63 = Res0(63, 24)
    INTID = Field(23, 0)


class ICC_BPR_EL1(Register, family=True):
    """Layout of the binary point registers."""

    _63 = Res0(63, 3)
    BinaryPoint = Field(2, 0)


class ICC_IAR0_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=8, op2=0, access="RO"):
    """Acknowledge, group 0."""


class ICC_EOIR0_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=8, op2=1, access="WO"):
    """End of interrupt, group 0."""


class ICC_HPPIR0_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=8, op2=2, access="RO"):
    """Highest priority pending, group 0."""


class ICC_BPR0_EL1(ICC_BPR_EL1, op0=3, op1=0, CRn=12, CRm=8, op2=3):
    """Binary point, group 0."""


class ICC_IAR1_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=12, op2=0, access="RO"):
    """Acknowledge, group 1."""


class ICC_EOIR1_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=12, op2=1, access="WO"):
    """End of interrupt, group 1."""


class ICC_HPPIR1_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=12, op2=2, access="RO"):
    """Highest priority pending, group 1."""


class ICC_BPR1_EL1(ICC_BPR_EL1, op0=3, op1=0, CRn=12, CRm=12, op2=3):
    """Binary point, group 1."""


class ICC_NMIAR1_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=9, op2=5, access="RO"):
    """Acknowledge a non-maskable interrupt."""


class ICC_DIR_EL1(ICC_INTID_EL1, op0=3, op1=0, CRn=12, CRm=11, op2=1, access="WO"):
    """Deactivate."""


class ICC_RPR_EL1(Register, op0=3, op1=0, CRn=12, CRm=11, op2=3, access="RO"):
    """Running priority."""

    NMI = Field(63)
    NMI_NS = Field(62)
    _61 = Res0(61, 8)
    Priority = Field(7, 0)


class ICC_SGI_EL1(Register, family=True):
    """Layout of the SGI generation registers."""

    _63 = Res0(63, 56)
    Aff3 = Field(55, 48)
    RS = Field(47, 44)
    _43 = Res0(43, 41)
    IRM = Field(40)
    Aff2 = Field(39, 32)
    _31 = Res0(31, 28)
    INTID = Field(27, 24)
    Aff1 = Field(23, 16)
    TargetList = Field(15, 0)


class ICC_SGI1R_EL1(ICC_SGI_EL1, op0=3, op1=0, CRn=12, CRm=11, op2=5, access="WO"):
    """Send an SGI, group 1."""


class ICC_ASGI1R_EL1(ICC_SGI_EL1, op0=3, op1=0, CRn=12, CRm=11, op2=6, access="WO"):
    """Send an SGI, group 1 of the other security state."""


class ICC_SGI0R_EL1(ICC_SGI_EL1, op0=3, op1=0, CRn=12, CRm=11, op2=7, access="WO"):
    """Send an SGI, group 0."""


class ICC_CTLR_EL1(Register, op0=3, op1=0, CRn=12, CRm=12, op2=4):
    """Control."""

    _63 = Res0(63, 20)
    ExtRange = Field(19)
    RSS = Field(18)
    _17 = Res0(17, 16)
    A3V = Field(15)
    SEIS = Field(14)
    IDbits = Field(13, 11)
    PRIbits = Field(10, 8)
    _7 = Res0(7)
    PMHE = Field(6)
    _5 = Res0(5, 2)
    EOImode = Field(1)
    CBPR = Field(0)


class ICC_SRE_EL1(Register, op0=3, op1=0, CRn=12, CRm=12, op2=5):
    """System register enable, EL1."""

    _63 = Res0(63, 3)
    DIB = Field(2)
    DFB = Field(1)
    SRE = Field(0)


class ICC_SRE_EL2(Register, op0=3, op1=4, CRn=12, CRm=9, op2=5):
    """System register enable, EL2."""

    _63 = Res0(63, 4)
    Enable = Field(3)
    DIB = Field(2)
    DFB = Field(1)
    SRE = Field(0)


class ICC_IGRPEN_EL1(Register, family=True):
    """Layout of the group enables."""

    _63 = Res0(63, 1)
    Enable = Field(0)


class ICC_IGRPEN0_EL1(ICC_IGRPEN_EL1, op0=3, op1=0, CRn=12, CRm=12, op2=6):
    """Group 0 enable."""


class ICC_IGRPEN1_EL1(ICC_IGRPEN_EL1, op0=3, op1=0, CRn=12, CRm=12, op2=7):
    """Group 1 enable."""


class AP0R_ELx(Register, family=True):
    """Layout of the active priorities of group 0."""

    _63 = Res0(63, 32)
    P = Field(31, 0)


class AP1R_ELx(Register, family=True):
    """Layout of the active priorities of group 1; NMI is in register 0 only."""

    NMI = Field(63)
    _62 = Res0(62, 32)
    P = Field(31, 0)


ICC_AP0R0_EL1 = derive(AP0R_ELx, "ICC_AP0R0_EL1", Encoding(3, 0, 12, 8, 4))
ICC_AP0R1_EL1 = derive(AP0R_ELx, "ICC_AP0R1_EL1", Encoding(3, 0, 12, 8, 5))
ICC_AP0R2_EL1 = derive(AP0R_ELx, "ICC_AP0R2_EL1", Encoding(3, 0, 12, 8, 6))
ICC_AP0R3_EL1 = derive(AP0R_ELx, "ICC_AP0R3_EL1", Encoding(3, 0, 12, 8, 7))
ICC_AP1R0_EL1 = derive(AP1R_ELx, "ICC_AP1R0_EL1", Encoding(3, 0, 12, 9, 0))
ICC_AP1R1_EL1 = derive(AP1R_ELx, "ICC_AP1R1_EL1", Encoding(3, 0, 12, 9, 1))
ICC_AP1R2_EL1 = derive(AP1R_ELx, "ICC_AP1R2_EL1", Encoding(3, 0, 12, 9, 2))
ICC_AP1R3_EL1 = derive(AP1R_ELx, "ICC_AP1R3_EL1", Encoding(3, 0, 12, 9, 3))


class ICH_HCR_EL2(Register, op0=3, op1=4, CRn=12, CRm=11, op2=0, vncr=0x4C0, vncr_class="A"):
    """Virtual CPU interface control."""

    _63 = Res0(63, 32)
    EOIcount = Field(31, 27)
    _26 = Res0(26, 16)
    DVIM = Field(15)
    TDIR = Field(14)
    TSEI = Field(13)
    TALL1 = Field(12)
    TALL0 = Field(11)
    TC = Field(10)
    _9 = Res0(9)
    vSGIEOICount = Field(8)
    VGrp1DIE = Field(7)
    VGrp1EIE = Field(6)
    VGrp0DIE = Field(5)
    VGrp0EIE = Field(4)
    NPIE = Field(3)
    LRENPIE = Field(2)
    UIE = Field(1)
    En = Field(0)


class ICH_VTR_EL2(Register, op0=3, op1=4, CRn=12, CRm=11, op2=1, access="RO"):
    """What the virtual CPU interface implements; counts are minus one."""

    _63 = Res0(63, 32)
    PRIbits = Field(31, 29)
    PREbits = Field(28, 26)
    IDbits = Field(25, 23)
    SEIS = Field(22)
    A3V = Field(21)
    nV4 = Field(20)
    TDS = Field(19)
    DVIM = Field(18)
    _17 = Res0(17, 5)
    ListRegs = Field(4, 0)


class ICH_MISR_EL2(Register, op0=3, op1=4, CRn=12, CRm=11, op2=2, access="RO"):
    """Why the maintenance interrupt is asserted."""

    _63 = Res0(63, 8)
    VGrp1D = Field(7)
    VGrp1E = Field(6)
    VGrp0D = Field(5)
    VGrp0E = Field(4)
    NP = Field(3)
    LRENP = Field(2)
    U = Field(1)
    EOI = Field(0)


class ICH_LR_STATUS(Register, family=True):
    """Layout of the registers with one bit for each list register."""

    _63 = Res0(63, 16)
    Status = Field(15, 0)


class ICH_EISR_EL2(ICH_LR_STATUS, op0=3, op1=4, CRn=12, CRm=11, op2=3, access="RO"):
    """List registers with an EOI maintenance interrupt."""


class ICH_ELRSR_EL2(ICH_LR_STATUS, op0=3, op1=4, CRn=12, CRm=11, op2=5, access="RO"):
    """List registers that are free."""


class ICH_VMCR_EL2(Register, op0=3, op1=4, CRn=12, CRm=11, op2=7, vncr=0x4C8, vncr_class="A"):
    """The guest's view of the CPU interface."""

    _63 = Res0(63, 32)
    VPMR = Field(31, 24)
    VBPR0 = Field(23, 21)
    VBPR1 = Field(20, 18)
    _17 = Res0(17, 10)
    VEOIM = Field(9)
    _8 = Res0(8, 5)
    VCBPR = Field(4)
    VFIQEn = Field(3)
    VAckCtl = Field(2)
    VENG1 = Field(1)
    VENG0 = Field(0)


class ICH_LR_EL2(Register, family=True):
    """Layout of the list registers; with HW = 0 bit 9 of pINTID asks for an EOI interrupt."""

    State = Field(63, 62)
    HW = Field(61)
    Group = Field(60)
    NMI = Field(59)
    _58 = Res0(58, 56)
    Priority = Field(55, 48)
    _47 = Res0(47, 45)
    pINTID = Field(44, 32)
    vINTID = Field(31, 0)


ICH_LR_EOI = 1 << 41
"""Bit of ICH_LR<n>_EL2 that asks for a maintenance interrupt on EOI while HW is 0."""


def _lr(n: int) -> type[ICH_LR_EL2]:
    where = Encoding(3, 4, 12, 12 + n // 8, n % 8)
    return derive(ICH_LR_EL2, f"ICH_LR{n}_EL2", where, vncr=0x400 + 8 * n, vncr_class="A")


ICH_LR0_EL2 = _lr(0)
ICH_LR1_EL2 = _lr(1)
ICH_LR2_EL2 = _lr(2)
ICH_LR3_EL2 = _lr(3)
ICH_LR4_EL2 = _lr(4)
ICH_LR5_EL2 = _lr(5)
ICH_LR6_EL2 = _lr(6)
ICH_LR7_EL2 = _lr(7)
ICH_LR8_EL2 = _lr(8)
ICH_LR9_EL2 = _lr(9)
ICH_LR10_EL2 = _lr(10)
ICH_LR11_EL2 = _lr(11)
ICH_LR12_EL2 = _lr(12)
ICH_LR13_EL2 = _lr(13)
ICH_LR14_EL2 = _lr(14)
ICH_LR15_EL2 = _lr(15)

ICH_LRn_EL2 = (
    ICH_LR0_EL2,
    ICH_LR1_EL2,
    ICH_LR2_EL2,
    ICH_LR3_EL2,
    ICH_LR4_EL2,
    ICH_LR5_EL2,
    ICH_LR6_EL2,
    ICH_LR7_EL2,
    ICH_LR8_EL2,
    ICH_LR9_EL2,
    ICH_LR10_EL2,
    ICH_LR11_EL2,
    ICH_LR12_EL2,
    ICH_LR13_EL2,
    ICH_LR14_EL2,
    ICH_LR15_EL2,
)


AP = TypeVar("AP", AP0R_ELx, AP1R_ELx)


def _apr(register: type[AP], group: int, n: int) -> type[AP]:
    where = Encoding(3, 4, 12, 8 + group, n)
    slot = 0x480 + 0x20 * group + 8 * n
    return derive(register, f"ICH_AP{group}R{n}_EL2", where, vncr=slot, vncr_class="A")


ICH_AP0R0_EL2 = _apr(AP0R_ELx, 0, 0)
ICH_AP0R1_EL2 = _apr(AP0R_ELx, 0, 1)
ICH_AP0R2_EL2 = _apr(AP0R_ELx, 0, 2)
ICH_AP0R3_EL2 = _apr(AP0R_ELx, 0, 3)
ICH_AP1R0_EL2 = _apr(AP1R_ELx, 1, 0)
ICH_AP1R1_EL2 = _apr(AP1R_ELx, 1, 1)
ICH_AP1R2_EL2 = _apr(AP1R_ELx, 1, 2)
ICH_AP1R3_EL2 = _apr(AP1R_ELx, 1, 3)

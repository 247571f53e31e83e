"""Generic timer registers."""

from __future__ import annotations

from vel2.arch.bits import Field, Register, Res0


class CNTFRQ_EL0(Register, op0=3, op1=3, CRn=14, CRm=0, op2=0):
    """Counter frequency in Hz, as firmware wrote it."""

    _63 = Res0(63, 32)
    ClockFreq = Field(31, 0)


class CNTPCT_EL0(Register, op0=3, op1=3, CRn=14, CRm=0, op2=1, access="RO"):
    """Physical count."""

    PhysicalCount = Field(63, 0)


class CNTVCT_EL0(Register, op0=3, op1=3, CRn=14, CRm=0, op2=2, access="RO"):
    """Virtual count."""

    VirtualCount = Field(63, 0)


class CNTPCTSS_EL0(Register, op0=3, op1=3, CRn=14, CRm=0, op2=5, access="RO"):
    """Physical count, self-synchronised."""

    SSPhysicalCount = Field(63, 0)


class CNTVCTSS_EL0(Register, op0=3, op1=3, CRn=14, CRm=0, op2=6, access="RO"):
    """Virtual count, self-synchronised."""

    SSVirtualCount = Field(63, 0)


class CNT_TVAL_ELx(Register, family=True):
    """Layout of the TimerValue registers."""

    _63 = Res0(63, 32)
    TimerValue = Field(31, 0)


class CNT_CTL_ELx(Register, family=True):
    """Layout of the timer control registers."""

    _63 = Res0(63, 3)
    ISTATUS = Field(2)
    IMASK = Field(1)
    ENABLE = Field(0)


class CNT_CVAL_ELx(Register, family=True):
    """Layout of the CompareValue registers."""

    CompareValue = Field(63, 0)


class CNTP_TVAL_EL0(CNT_TVAL_ELx, op0=3, op1=3, CRn=14, CRm=2, op2=0, e2h="CNTHP_TVAL_EL2"):
    """EL1 physical timer: value."""


class CNTP_CTL_EL0(
    CNT_CTL_ELx, op0=3, op1=3, CRn=14, CRm=2, op2=1, vncr=0x180, vncr_class="P", e2h="CNTHP_CTL_EL2"
):
    """EL1 physical timer: control."""


class CNTP_CVAL_EL0(
    CNT_CVAL_ELx,
    op0=3,
    op1=3,
    CRn=14,
    CRm=2,
    op2=2,
    vncr=0x178,
    vncr_class="P",
    e2h="CNTHP_CVAL_EL2",
):
    """EL1 physical timer: compare."""


class CNTV_TVAL_EL0(CNT_TVAL_ELx, op0=3, op1=3, CRn=14, CRm=3, op2=0, e2h="CNTHV_TVAL_EL2"):
    """EL1 virtual timer: value."""


class CNTV_CTL_EL0(
    CNT_CTL_ELx, op0=3, op1=3, CRn=14, CRm=3, op2=1, vncr=0x170, vncr_class="P", e2h="CNTHV_CTL_EL2"
):
    """EL1 virtual timer: control."""


class CNTV_CVAL_EL0(
    CNT_CVAL_ELx,
    op0=3,
    op1=3,
    CRn=14,
    CRm=3,
    op2=2,
    vncr=0x168,
    vncr_class="P",
    e2h="CNTHV_CVAL_EL2",
):
    """EL1 virtual timer: compare."""


class CNTHP_TVAL_EL2(CNT_TVAL_ELx, op0=3, op1=4, CRn=14, CRm=2, op2=0):
    """EL2 physical timer: value."""


class CNTHP_CTL_EL2(CNT_CTL_ELx, op0=3, op1=4, CRn=14, CRm=2, op2=1):
    """EL2 physical timer: control."""


class CNTHP_CVAL_EL2(CNT_CVAL_ELx, op0=3, op1=4, CRn=14, CRm=2, op2=2):
    """EL2 physical timer: compare."""


class CNTHV_TVAL_EL2(CNT_TVAL_ELx, op0=3, op1=4, CRn=14, CRm=3, op2=0):
    """EL2 virtual timer: value."""


class CNTHV_CTL_EL2(CNT_CTL_ELx, op0=3, op1=4, CRn=14, CRm=3, op2=1):
    """EL2 virtual timer: control."""


class CNTHV_CVAL_EL2(CNT_CVAL_ELx, op0=3, op1=4, CRn=14, CRm=3, op2=2):
    """EL2 virtual timer: compare."""


class CNTHVS_TVAL_EL2(CNT_TVAL_ELx, op0=3, op1=4, CRn=14, CRm=4, op2=0):
    """Secure EL2 virtual timer: value."""


class CNTHVS_CTL_EL2(CNT_CTL_ELx, op0=3, op1=4, CRn=14, CRm=4, op2=1):
    """Secure EL2 virtual timer: control."""


class CNTHVS_CVAL_EL2(CNT_CVAL_ELx, op0=3, op1=4, CRn=14, CRm=4, op2=2):
    """Secure EL2 virtual timer: compare."""


class CNTHPS_TVAL_EL2(CNT_TVAL_ELx, op0=3, op1=4, CRn=14, CRm=5, op2=0):
    """Secure EL2 physical timer: value."""


class CNTHPS_CTL_EL2(CNT_CTL_ELx, op0=3, op1=4, CRn=14, CRm=5, op2=1):
    """Secure EL2 physical timer: control."""


class CNTHPS_CVAL_EL2(CNT_CVAL_ELx, op0=3, op1=4, CRn=14, CRm=5, op2=2):
    """Secure EL2 physical timer: compare."""


class CNTPS_TVAL_EL1(CNT_TVAL_ELx, op0=3, op1=7, CRn=14, CRm=2, op2=0):
    """EL3 physical timer: value."""


class CNTPS_CTL_EL1(CNT_CTL_ELx, op0=3, op1=7, CRn=14, CRm=2, op2=1):
    """EL3 physical timer: control."""


class CNTPS_CVAL_EL1(CNT_CVAL_ELx, op0=3, op1=7, CRn=14, CRm=2, op2=2):
    """EL3 physical timer: compare."""


class CNTKCTL_EL1(Register, op0=3, op1=0, CRn=14, CRm=1, op2=0, e2h="CNTHCTL_EL2"):
    """Timer access from EL0; bits 19:18 and 16:10 hold CNTHCTL_EL2's with FEAT_NV2p1 only."""

    _63 = Res0(63, 20)
    CNTPMASK = Field(19)
    CNTVMASK = Field(18)
    EVNTIS = Field(17)
    EL1NVVCT = Field(16)
    EL1NVPCT = Field(15)
    EL1TVCT = Field(14)
    EL1TVT = Field(13)
    ECV = Field(12)
    EL1PTEN = Field(11, negative=True)
    EL1PCTEN = Field(10, negative=True)
    EL0PTEN = Field(9, negative=True)
    EL0VTEN = Field(8, negative=True)
    EVNTI = Field(7, 4)
    EVNTDIR = Field(3)
    EVNTEN = Field(2)
    EL0VCTEN = Field(1, negative=True)
    EL0PCTEN = Field(0, negative=True)


class CNTHCTL_EL2(Register, op0=3, op1=4, CRn=14, CRm=1, op2=0):
    """Timer access from EL1 and EL0 while HCR_EL2.E2H is 0."""

    _63 = Res0(63, 20)
    CNTPMASK = Field(19)
    CNTVMASK = Field(18)
    EVNTIS = Field(17)
    EL1NVVCT = Field(16)
    EL1NVPCT = Field(15)
    EL1TVCT = Field(14)
    EL1TVT = Field(13)
    ECV = Field(12)
    _11 = Res0(11, 8)
    EVNTI = Field(7, 4)
    EVNTDIR = Field(3)
    EVNTEN = Field(2)
    EL1PCEN = Field(1, negative=True)
    EL1PCTEN = Field(0, negative=True)


class CNTHCTL_EL2_E2H(Register, op0=3, op1=4, CRn=14, CRm=1, op2=0, layout_of="CNTHCTL_EL2"):
    """Timer access from EL1 and EL0 while HCR_EL2.E2H is 1."""

    _63 = Res0(63, 20)
    CNTPMASK = Field(19)
    CNTVMASK = Field(18)
    EVNTIS = Field(17)
    EL1NVVCT = Field(16)
    EL1NVPCT = Field(15)
    EL1TVCT = Field(14)
    EL1TVT = Field(13)
    ECV = Field(12)
    EL1PTEN = Field(11, negative=True)
    EL1PCTEN = Field(10, negative=True)
    EL0PTEN = Field(9, negative=True)
    EL0VTEN = Field(8, negative=True)
    EVNTI = Field(7, 4)
    EVNTDIR = Field(3)
    EVNTEN = Field(2)
    EL0VCTEN = Field(1, negative=True)
    EL0PCTEN = Field(0, negative=True)


class CNTVOFF_EL2(Register, op0=3, op1=4, CRn=14, CRm=0, op2=3, vncr=0x60, vncr_class="A"):
    """Offset of the virtual count below the physical one."""

    VOffset = Field(63, 0)


class CNTPOFF_EL2(Register, op0=3, op1=4, CRn=14, CRm=0, op2=6, vncr=0x1A8, vncr_class="A"):
    """Offset of EL1's and EL0's physical count (FEAT_ECV)."""

    PhysicalOffset = Field(63, 0)

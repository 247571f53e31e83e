"""The memory-mapped registers of GICv3, most of them about LPIs, and the commands of an ITS.

A frame is 64 KiB (IHI 0069, chapters 9 and 12). An ITS has its control frame and then the frame of
GITS_TRANSLATER; a redistributor has the frame of RD_base, then that of SGI_base.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from vel2.arch.bits import Field, Layout, Res0

FRAME_BYTES = 0x1_0000
ITS_FRAMES = 2
REDISTRIBUTOR_FRAMES = 2
"""In GICv3; a redistributor of GICv4 has two more, for virtual LPIs."""
ID_REGISTERS = 0xFFD0
"""Offset of the identification registers (PIDR, CIDR), the same in every frame that has any."""
ISPENDR = 0x0200
"""Offset of GICD_ISPENDR<n>, a bit for each INTID, and of GICR_ISPENDR0 in SGI_base."""
FIRST_SPI, LAST_SPI = 32, 1019
FIRST_LPI = 8192
MAX_LPI_BITS = 16
"""Bits of an INTID that is an LPI on this machine (GICD_TYPER.IDbits + 1)."""
COMMAND_BYTES = 32
COMMAND_SHIFT = 5
QUEUE_PAGE_SHIFT = 12
ITT_SHIFT = 8


class Mapped(Layout):
    """A register at an offset in its frame."""

    offset: ClassVar[int]

    def __init_subclass__(cls, *, offset: int, width: int = 64) -> None:
        cls.offset = offset
        super().__init_subclass__(width=width)


class PageSize(IntEnum):
    """GITS_BASER<n>.Page_Size."""

    KIB_4 = 0
    KIB_16 = 1
    KIB_64 = 2


class GITS_CTLR(Mapped, offset=0x0000, width=32):
    """ITS Control Register."""

    Quiescent = Field(31)
    _30 = Res0(30, 9)
    UMSIirq = Field(8)
    ITS_Number = Field(7, 4)
    _3 = Res0(3, 2)
    ImDe = Field(1)
    Enabled = Field(0)


class GITS_IIDR(Mapped, offset=0x0004, width=32):
    """ITS Identification Register."""

    ProductID = Field(31, 24)
    _23 = Res0(23, 20)
    Variant = Field(19, 16)
    Revision = Field(15, 12)
    Implementer = Field(11, 0)


class GITS_TYPER(Mapped, offset=0x0008):
    """ITS Type Register."""

    _63 = Res0(63, 47)
    INV = Field(46)
    UMSIirq = Field(45)
    UMSI = Field(44)
    nID = Field(43)
    SVPET = Field(42, 41)
    VMAPP = Field(40)
    VSGI = Field(39)
    MPAM = Field(38)
    VMOVP = Field(37)
    CIL = Field(36)
    CIDbits = Field(35, 32)
    HCC = Field(31, 24)
    _23 = Res0(23, 20)
    PTA = Field(19)
    SEIS = Field(18)
    Devbits = Field(17, 13)
    ID_bits = Field(12, 8)
    ITT_entry_size = Field(7, 4)
    _3 = Res0(3)
    CCT = Field(2)
    Virtual = Field(1)
    Physical = Field(0)


class GITS_CBASER(Mapped, offset=0x0080):
    """ITS Command Queue Descriptor."""

    Valid = Field(63)
    _62 = Res0(62)
    InnerCache = Field(61, 59)
    _58 = Res0(58, 56)
    OuterCache = Field(55, 53)
    _52 = Res0(52)
    Physical_Address = Field(51, 12)
    Shareability = Field(11, 10)
    _9 = Res0(9, 8)
    Size = Field(7, 0)


class GITS_CWRITER(Mapped, offset=0x0088):
    """ITS Write Register."""

    _63 = Res0(63, 20)
    Offset = Field(19, 5)
    _4 = Res0(4, 1)
    Retry = Field(0)


class GITS_CREADR(Mapped, offset=0x0090):
    """ITS Read Register."""

    _63 = Res0(63, 20)
    Offset = Field(19, 5)
    _4 = Res0(4, 1)
    Stalled = Field(0)


class GITS_BASER(Mapped, offset=0x0100):
    """ITS Table Descriptors: the first of eight, each eight bytes."""

    Valid = Field(63)
    Indirect = Field(62)
    InnerCache = Field(61, 59)
    Type = Field(58, 56)
    OuterCache = Field(55, 53)
    Entry_Size = Field(52, 48)
    Physical_Address = Field(47, 12)
    Shareability = Field(11, 10)
    Page_Size = Field(9, 8, PageSize)
    Size = Field(7, 0)


BASERS = 8


class TableType(IntEnum):
    """GITS_BASER<n>.Type."""

    UNIMPLEMENTED = 0
    DEVICES = 1
    VPES = 2
    COLLECTIONS = 4


class GICD_CTLR(Mapped, offset=0x0000, width=32):
    """Distributor Control Register, in its layout with GICD_CTLR.DS = 1."""

    RWP = Field(31)
    _30 = Res0(30, 9)
    nASSGIreq = Field(8)
    E1NWF = Field(7)
    DS = Field(6)
    _5 = Res0(5)
    ARE = Field(4)
    _3 = Res0(3, 2)
    EnableGrp1 = Field(1)
    EnableGrp0 = Field(0)


GICR_IGROUPR0 = 0x0080
GICR_ISENABLER0 = 0x0100
GICR_ICENABLER0 = 0x0180
GICR_ISACTIVER0 = 0x0300
GICR_ICACTIVER0 = 0x0380
GICR_IPRIORITYR0 = 0x0400
GICR_IGRPMODR0 = 0x0D00
"""Offsets in SGI_base: a bit for each SGI and PPI, or a byte in GICR_IPRIORITYR<n>."""


class GICR_CTLR(Mapped, offset=0x0000, width=32):
    """Redistributor Control Register."""

    UWP = Field(31)
    _30 = Res0(30, 27)
    DPG1S = Field(26)
    DPG1NS = Field(25)
    DPG0 = Field(24)
    _23 = Res0(23, 4)
    RWP = Field(3)
    IR = Field(2)
    CES = Field(1)
    EnableLPIs = Field(0)


class GICR_IIDR(Mapped, offset=0x0004, width=32):
    """Redistributor Implementer Identification Register."""

    ProductID = Field(31, 24)
    _23 = Res0(23, 20)
    Variant = Field(19, 16)
    Revision = Field(15, 12)
    Implementer = Field(11, 0)


class AffinityValue(Layout, width=32):
    """GICR_TYPER.Affinity_Value: MPIDR_EL1's fields, but for Aff3, which follows the others."""

    Aff3 = Field(31, 24)
    Aff2_0 = Field(23, 0)


class GICR_TYPER(Mapped, offset=0x0008):
    """Redistributor Type Register."""

    Affinity_Value = Field(63, 32)
    PPInum = Field(31, 27)
    VSGI = Field(26)
    CommonLPIAff = Field(25, 24)
    Processor_Number = Field(23, 8)
    RVPEID = Field(7)
    MPAM = Field(6)
    DPGS = Field(5)
    Last = Field(4)
    DirectLPI = Field(3)
    Dirty = Field(2)
    VLPIS = Field(1)
    PLPIS = Field(0)


class GICR_STATUSR(Mapped, offset=0x0010, width=32):
    """Redistributor Error Reporting Status Register."""

    _31 = Res0(31, 4)
    WROD = Field(3)
    RWOD = Field(2)
    WRD = Field(1)
    RRD = Field(0)


class GICR_WAKER(Mapped, offset=0x0014, width=32):
    """Redistributor Wake Register."""

    IMPDEF_31 = Field(31)
    _30 = Res0(30, 3)
    ChildrenAsleep = Field(2)
    ProcessorSleep = Field(1)
    IMPDEF_0 = Field(0)


class GICR_PROPBASER(Mapped, offset=0x0070):
    """Redistributor Properties Base Address Register."""

    _63 = Res0(63, 59)
    OuterCache = Field(58, 56)
    _55 = Res0(55, 52)
    Physical_Address = Field(51, 12)
    Shareability = Field(11, 10)
    InnerCache = Field(9, 7)
    _6 = Res0(6, 5)
    IDbits = Field(4, 0)


class GICR_PENDBASER(Mapped, offset=0x0078):
    """Redistributor LPI Pending Table Base Address Register. PTZ reads as zero."""

    _63 = Res0(63)
    PTZ = Field(62)
    _61 = Res0(61, 59)
    OuterCache = Field(58, 56)
    _55 = Res0(55, 52)
    Physical_Address = Field(51, 16)
    _15 = Res0(15, 12)
    Shareability = Field(11, 10)
    InnerCache = Field(9, 7)
    _6 = Res0(6, 0)


INNER_SHAREABLE = 1
READ_WRITE_ALLOCATE_WRITE_BACK = 7
"""InnerCache of all of the registers above that have it."""


class Command(IntEnum):
    """What an ITS can be told, GICv4's aside."""

    MOVI = 0x01
    INT = 0x03
    CLEAR = 0x04
    SYNC = 0x05
    MAPD = 0x08
    MAPC = 0x09
    MAPTI = 0x0A
    MAPI = 0x0B
    INV = 0x0C
    INVALL = 0x0D
    MOVALL = 0x0E
    DISCARD = 0x0F


class ITS_DW0(Layout):
    """The first doubleword of a command."""

    DeviceID = Field(63, 32)
    _31 = Res0(31, 8)
    Command = Field(7, 0, Command)


class ITS_DW1(Layout):
    """The second doubleword: MAPTI has both fields, MAPI and those that name an event the lower."""

    pINTID = Field(63, 32)
    EventID = Field(31, 0)


class MAPD_DW1(Layout):
    """The second doubleword of MAPD; Size is the number of EventID bits, minus one."""

    _63 = Res0(63, 5)
    Size = Field(4, 0)


class MAPD_DW2(Layout):
    """The third doubleword of MAPD."""

    V = Field(63)
    _62 = Res0(62, 52)
    ITT_addr = Field(51, 8)
    _7 = Res0(7, 0)


class ITS_DW2(Layout):
    """The third doubleword: MAPC has all of it, the others ICID or RDbase (MOVALL: RDbase1)."""

    V = Field(63)
    _62 = Res0(62, 51)
    RDbase = Field(50, 16)
    ICID = Field(15, 0)


class MOVALL_DW3(Layout):
    """The fourth doubleword of MOVALL."""

    _63 = Res0(63, 51)
    RDbase2 = Field(50, 16)
    _15 = Res0(15, 0)


class LpiProperty(Layout, width=8):
    """A byte of the LPI Configuration table."""

    Priority = Field(7, 2)
    _1 = Res0(1)
    Enable = Field(0)

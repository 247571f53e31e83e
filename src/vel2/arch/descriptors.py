"""VMSAv8-64 translation table descriptors and granules.

Address fields are given for the common case: TCR.DS or VTCR.DS 0 and 48 output bits. OA_HIGH
and NLTA_HIGH are OA[49:48] when DS is 1 and RES0 otherwise. Bits of OA below the size of a
block are RES0 in a block descriptor; `Granule.address_mask` gives what remains.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from vel2.arch.bits import Field, Ignored, Layout, Res0, Unknown

ADDRESS_BITS = 48
ADDRESS_MASK = (1 << ADDRESS_BITS) - 1
"""Of any address without FEAT_LPA, FEAT_LVA and FEAT_LPA2; those have 52 bits at most."""
ADDRESS_BITS_LPA = 52
LAST_LEVEL = 3
ENTRIES = 512
"""Of a table of 4 KiB."""

DESC_INVALID = 0b00
DESC_BLOCK = 0b01
DESC_TABLE = 0b11
DESC_PAGE = 0b11
"""Bits 1:0: at level 3 0b11 is a page, above it a table; 0b01 is a block (reserved at level 3)."""


class SH(IntEnum):
    """Shareability."""

    NON = 0b00
    OUTER = 0b10
    INNER = 0b11


class S2AP(IntEnum):
    """Stage 2 data access permissions."""

    NONE = 0b00
    RO = 0b01
    WO = 0b10
    RW = 0b11


class S2MemAttr(IntEnum):
    """Stage 2 memory attributes with HCR_EL2.FWB = 0; the normal ones are outer, inner."""

    DEVICE_nGnRnE = 0b0000
    DEVICE_nGnRE = 0b0001
    DEVICE_nGRE = 0b0010
    DEVICE_GRE = 0b0011
    NORMAL_NC = 0b0101
    NORMAL_NC_WT = 0b0110
    NORMAL_NC_WB = 0b0111
    NORMAL_WT_NC = 0b1001
    NORMAL_WT = 0b1010
    NORMAL_WT_WB = 0b1011
    NORMAL_WB_NC = 0b1101
    NORMAL_WB_WT = 0b1110
    NORMAL_WB = 0b1111


class S2MemAttrFWB(IntEnum):
    """Stage 2 memory attributes with HCR_EL2.FWB = 1."""

    DEVICE_nGnRnE = 0b0000
    DEVICE_nGnRE = 0b0001
    DEVICE_nGRE = 0b0010
    DEVICE_GRE = 0b0011
    NORMAL_NC = 0b0101
    NORMAL_WB = 0b0110
    STAGE1 = 0b0111


class MAIR_Attr(Layout, width=8):
    """One attribute of MAIR_ELx, and PAR_EL1.ATTR; with Outer 0b0000 it is Device memory."""

    Outer = Field(7, 4)
    Inner = Field(3, 0)


MAIR_NORMAL_WB = MAIR_Attr.compose(Outer=0b1111, Inner=0b1111)
"""Normal memory, Write-Back, Read- and Write-Allocate."""


class S2MemAttrParts(Layout, width=4):
    """The halves of `S2MemAttr`; with Outer 0b00 Inner is a type of Device memory."""

    Outer = Field(3, 2)
    Inner = Field(1, 0)


class VirtualAddress(Layout):
    """A virtual address: the tag that TBI ignores, and the bit that says which TTBR translates."""

    Tag = Field(63, 56)
    Upper = Field(55)
    Address = Field(54, 0)


class PACError(Layout):
    """Where Auth puts its error code into an address without FEAT_PAuth2, which TBI changes."""

    _63 = Unknown(63)
    code = Field(62, 61)
    _60 = Unknown(60, 55)
    code_with_tbi = Field(54, 53)
    _52 = Unknown(52, 0)


class Stage1Leaf(Layout):
    """Stage 1 block or page descriptor; UXN is XN in a regime with one privilege level."""

    AMEC = Field(63)
    PBHA = Field(62, 59)
    SW = Field(58, 55)
    UXN = Field(54)
    PXN = Field(53)
    Contiguous = Field(52)
    DBM = Field(51)
    GP = Field(50)
    OA_HIGH = Field(49, 48)
    OA = Field(47, 12)
    nG = Field(11)
    AF = Field(10)
    SH = Field(9, 8, SH)
    AP = Field(7, 6)
    NS = Field(5)
    AttrIndx = Field(4, 2)
    TYPE = Field(1)
    VALID = Field(0)


class Stage1Table(Layout):
    """Stage 1 table descriptor; AF is used with FEAT_HAFT only."""

    NSTable = Field(63)
    APTable = Field(62, 61)
    UXNTable = Field(60)
    PXNTable = Field(59)
    _58 = Ignored(58, 51)
    _50 = Res0(50)
    NLTA_HIGH = Field(49, 48)
    NLTA = Field(47, 12)
    _11 = Ignored(11)
    AF = Field(10)
    _9 = Ignored(9, 2)
    TYPE = Field(1)
    VALID = Field(0)


class Stage2Leaf(Layout):
    """Stage 2 block or page descriptor; XN is XN[1:0] (FEAT_XNX, else bit 54 alone)."""

    AMEC = Field(63)
    PBHA = Field(62, 59)
    SW = Field(58, 55)
    XN = Field(54, 53)
    Contiguous = Field(52)
    DBM = Field(51)
    _50 = Res0(50)
    OA_HIGH = Field(49, 48)
    OA = Field(47, 12)
    FnXS = Field(11)
    AF = Field(10)
    SH = Field(9, 8, SH)
    S2AP = Field(7, 6, S2AP)
    MemAttr = Field(5, 2)
    TYPE = Field(1)
    VALID = Field(0)


class Stage2Table(Layout):
    """Stage 2 table descriptor; AF is used with FEAT_HAFT only."""

    _63 = Res0(63, 59)
    _58 = Ignored(58, 51)
    _50 = Res0(50)
    NLTA_HIGH = Field(49, 48)
    NLTA = Field(47, 12)
    _11 = Ignored(11)
    AF = Field(10)
    _9 = Ignored(9, 2)
    TYPE = Field(1)
    VALID = Field(0)


class Granule(NamedTuple):
    """What differs between the three translation granules."""

    name: str
    log2_bytes: int
    bits_per_level: int
    """Virtual address bits one full table resolves."""
    TG0: int
    """TCR_ELx.TG0 and VTCR_EL2.TG0."""
    TG1: int
    """TCR_ELx.TG1."""
    TG: int
    """TLBI range TG, and TTL[3:2]."""
    block_levels: tuple[int, ...]
    """Levels that may hold a block without FEAT_LPA and FEAT_LPA2."""
    block_level_lpa: int
    """One more level that may hold a block: with FEAT_LPA (64K) or TCR.DS = 1 (4K, 16K)."""
    start_levels: tuple[int | None, int | None, int | None, int | None]
    """Stage 2 start level by VTCR_EL2.SL0 with SL2 = 0; None is reserved."""
    contiguous: tuple[int, int, int, int]
    """Entries in a contiguous run, by level; 0 where the bit is reserved."""

    @property
    def size(self) -> int:
        """Give the size of a page and of a full table, in bytes."""
        return 1 << self.log2_bytes

    def level_shift(self, level: int) -> int:
        """Give log2 of what one entry at `level` maps."""
        return self.log2_bytes + (3 - level) * self.bits_per_level

    def address_mask(self, level: int) -> int:
        """Mask the output address bits of a leaf at `level`, for 48-bit addresses."""
        return ADDRESS_MASK & ~((1 << self.level_shift(level)) - 1)

    @property
    def table_mask(self) -> int:
        """Mask the next-level table address of a table descriptor, for 48-bit addresses."""
        return self.address_mask(3)


GRANULE_4K = Granule("4K", 12, 9, 0, 2, 1, (1, 2), 0, (2, 1, 0, 3), (0, 16, 16, 16))
GRANULE_16K = Granule("16K", 14, 11, 2, 1, 2, (2,), 1, (3, 2, 1, 0), (0, 0, 32, 128))
GRANULE_64K = Granule("64K", 16, 13, 1, 3, 3, (2,), 1, (3, 2, 1, None), (0, 0, 32, 32))

GRANULES: tuple[Granule, ...] = (GRANULE_4K, GRANULE_16K, GRANULE_64K)

SL0_WITH_SL2 = -1
"""Start level of a 4K stage 2 with VTCR_EL2.{SL2, SL0} = {1, 0b00} (FEAT_LPA2)."""

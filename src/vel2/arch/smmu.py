"""SMMUv3 as facts: registers, stream table, commands (Arm IHI 0070).

The SMMU's registers are memory: each layout here says in `offset` where it lies in the register
frame. Only what a user of stage 2 alone needs is here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from vel2.arch.bits import Field, Layout, Res0

__all__ = (
    "CMD",
    "CMDQ_BASE",
    "CMDQ_CONS",
    "CMDQ_PROD",
    "CR0",
    "CR0ACK",
    "CR1",
    "CR2",
    "GBPA",
    "IDR0",
    "IDR1",
    "IDR5",
    "IRQ_CTRL",
    "L1STD",
    "REGISTERS",
    "STE0",
    "STE1",
    "STE2",
    "STE3",
    "STRTAB_BASE",
    "STRTAB_BASE_CFG",
    "StreamConfig",
)


class SmmuRegister(Layout):
    """A register of the frame of SMMUv3."""

    offset: ClassVar[int]


class Cacheability(IntEnum):
    """Cacheability of the SMMU's own accesses (CR1, STE.S2IR0 and S2OR0 differ in 2 and 3)."""

    NC = 0
    WB = 1
    WT = 2


class StreamConfig(IntEnum):
    """STE.Config: what becomes of a stream's transactions."""

    ABORT = 0b000
    BYPASS = 0b100
    STAGE1 = 0b101
    STAGE2 = 0b110
    NESTED = 0b111


class IDR0(SmmuRegister, width=32, name="SMMU_IDR0"):
    """Features: stages, formats, coherence."""

    offset = 0x00
    _31 = Res0(31)
    RME_IMPL = Field(30)
    _29 = Res0(29)
    ST_LEVEL = Field(28, 27)
    TERM_MODEL = Field(26)
    STALL_MODEL = Field(25, 24)
    ATSRECERR = Field(23)
    TTENDIAN = Field(22, 21)
    VATOS = Field(20)
    CD2L = Field(19)
    VMID16 = Field(18)
    VMW = Field(17)
    PRI = Field(16)
    ATOS = Field(15)
    SEV = Field(14)
    MSI = Field(13)
    ASID16 = Field(12)
    NS1ATS = Field(11)
    ATS = Field(10)
    HYP = Field(9)
    DORMHINT = Field(8)
    HTTU = Field(7, 6)
    BTM = Field(5)
    COHACC = Field(4)
    TTF = Field(3, 2)
    S1P = Field(1)
    S2P = Field(0)


class IDR1(SmmuRegister, width=32, name="SMMU_IDR1"):
    """Sizes: of StreamIDs and of queues, as log2."""

    offset = 0x04
    ECMDQ = Field(31)
    TABLES_PRESET = Field(30)
    QUEUES_PRESET = Field(29)
    REL = Field(28)
    ATTR_TYPES_OVR = Field(27)
    ATTR_PERMS_OVR = Field(26)
    CMDQS = Field(25, 21)
    EVENTQS = Field(20, 16)
    PRIQS = Field(15, 11)
    SSIDSIZE = Field(10, 6)
    SIDSIZE = Field(5, 0)


class IDR5(SmmuRegister, width=32, name="SMMU_IDR5"):
    """Output address size, coded as ID_AA64MMFR0_EL1.PARange, and granules."""

    offset = 0x14
    STALL_MAX = Field(31, 16)
    _15 = Res0(15, 12)
    VAX = Field(11, 10)
    _9 = Res0(9)
    D128 = Field(8)
    DS = Field(7)
    GRAN64K = Field(6)
    GRAN16K = Field(5)
    GRAN4K = Field(4)
    _3 = Res0(3)
    OAS = Field(2, 0)


class CR0(SmmuRegister, width=32, name="SMMU_CR0"):
    """What is switched on."""

    offset = 0x20
    _31 = Res0(31, 11)
    DPT_WALK_EN = Field(10)
    _9 = Res0(9)
    VMW = Field(8, 6)
    _5 = Res0(5)
    ATSCHK = Field(4)
    CMDQEN = Field(3)
    EVENTQEN = Field(2)
    PRIQEN = Field(1)
    SMMUEN = Field(0)


class CR0ACK(CR0, name="SMMU_CR0ACK"):
    """What of `CR0` has taken effect."""

    offset = 0x24


class CR1(SmmuRegister, width=32, name="SMMU_CR1"):
    """Attributes of the SMMU's own accesses to tables and queues."""

    offset = 0x28
    _31 = Res0(31, 12)
    TABLE_SH = Field(11, 10)
    TABLE_OC = Field(9, 8, Cacheability)
    TABLE_IC = Field(7, 6, Cacheability)
    QUEUE_SH = Field(5, 4)
    QUEUE_OC = Field(3, 2, Cacheability)
    QUEUE_IC = Field(1, 0, Cacheability)


class CR2(SmmuRegister, width=32, name="SMMU_CR2"):
    """Broadcast TLB maintenance (PTM=1: none) and what is recorded."""

    offset = 0x2C
    _31 = Res0(31, 4)
    REC_CFG_ATS = Field(3)
    PTM = Field(2)
    RECINVSID = Field(1)
    E2H = Field(0)


class GBPA(SmmuRegister, width=32, name="SMMU_GBPA"):
    """What becomes of transactions while CR0.SMMUEN is 0."""

    offset = 0x44
    Update = Field(31)
    _30 = Res0(30, 21)
    ABORT = Field(20)
    INSTCFG = Field(19, 18)
    PRIVCFG = Field(17, 16)
    _15 = Res0(15, 14)
    SHCFG = Field(13, 12)
    ALLOCCFG = Field(11, 8)
    _7 = Res0(7, 5)
    MTCFG = Field(4)
    MemAttr = Field(3, 0)


class IRQ_CTRL(SmmuRegister, width=32, name="SMMU_IRQ_CTRL"):
    """Which interrupts there are."""

    offset = 0x50
    _31 = Res0(31, 3)
    EVENTQ_IRQEN = Field(2)
    PRIQ_IRQEN = Field(1)
    GERROR_IRQEN = Field(0)


class STRTAB_BASE(SmmuRegister, name="SMMU_STRTAB_BASE"):
    """Where the stream table is."""

    offset = 0x80
    _63 = Res0(63)
    RA = Field(62)
    _61 = Res0(61, 52)
    ADDR = Field(51, 6)
    _5 = Res0(5, 0)


class STRTAB_BASE_CFG(SmmuRegister, width=32, name="SMMU_STRTAB_BASE_CFG"):
    """Its shape: FMT=1 is two levels, of which the second resolves SPLIT bits."""

    offset = 0x88
    _31 = Res0(31, 18)
    FMT = Field(17, 16)
    _15 = Res0(15, 11)
    SPLIT = Field(10, 6)
    LOG2SIZE = Field(5, 0)


class CMDQ_BASE(SmmuRegister, name="SMMU_CMDQ_BASE"):
    """Where the command queue is, and log2 of its entries."""

    offset = 0x90
    _63 = Res0(63)
    RA = Field(62)
    _61 = Res0(61, 52)
    ADDR = Field(51, 5)
    LOG2SIZE = Field(4, 0)


class CMDQ_PROD(SmmuRegister, width=32, name="SMMU_CMDQ_PROD"):
    """How far software has written, with the wrap bit above the index."""

    offset = 0x98
    _31 = Res0(31, 20)
    WR = Field(19, 0)


class CMDQ_CONS(SmmuRegister, width=32, name="SMMU_CMDQ_CONS"):
    """How far the SMMU has read."""

    offset = 0x9C
    _31 = Res0(31)
    ERR = Field(30, 24)
    _23 = Res0(23, 20)
    RD = Field(19, 0)


REGISTERS: tuple[type[SmmuRegister], ...] = (
    *(IDR0, IDR1, IDR5, CR0, CR0ACK, CR1, CR2, GBPA, IRQ_CTRL),
    *(STRTAB_BASE, STRTAB_BASE_CFG, CMDQ_BASE, CMDQ_PROD, CMDQ_CONS),
)


class L1STD(Layout):
    """Level 1 of a stream table: where 2^(Span-1) STEs are; Span 0 is none."""

    _63 = Res0(63, 52)
    L2Ptr = Field(51, 6)
    _5 = Res0(5)
    Span = Field(4, 0)


class STE0(Layout):
    """STE, bits 63:0: whether it is valid, and which stages."""

    S1CDMax = Field(63, 59)
    _58 = Res0(58, 52)
    S1ContextPtr = Field(51, 6)
    S1Fmt = Field(5, 4)
    Config = Field(3, 1, StreamConfig)
    V = Field(0)


class STE1(Layout):
    """STE, bits 127:64: ATS, and what of a transaction's own attributes counts."""

    _63 = Res0(63, 60)
    _59 = Res0(59, 52)
    INSTCFG = Field(51, 50)
    PRIVCFG = Field(49, 48)
    NSCFG = Field(47, 46)
    SHCFG = Field(45, 44)
    _43 = Res0(43, 41)
    ALLOCCFG = Field(40, 37)
    MTCFG = Field(36)
    MemAttr = Field(35, 32)
    STRW = Field(31, 30)
    EATS = Field(29, 28)
    S1STALLD = Field(27)
    _26 = Res0(26, 20)
    MEV = Field(19)
    PPAR = Field(18)
    DCP = Field(17)
    CONT = Field(16, 13)
    DRE = Field(12)
    _11 = Res0(11, 8)
    S1CSH = Field(7, 6)
    S1COR = Field(5, 4)
    S1CIR = Field(3, 2)
    S1DSS = Field(1, 0)


class STE2(Layout):
    """STE, bits 191:128: stage 2, with the codes of VTCR_EL2."""

    _63 = Res0(63, 59)
    S2R = Field(58)
    S2S = Field(57)
    S2HA = Field(56)
    S2HD = Field(55)
    S2PTW = Field(54)
    S2AFFD = Field(53)
    S2ENDI = Field(52)
    S2AA64 = Field(51)
    S2PS = Field(50, 48)
    S2TG = Field(47, 46)
    S2SH0 = Field(45, 44)
    S2OR0 = Field(43, 42)
    S2IR0 = Field(41, 40)
    S2SL0 = Field(39, 38)
    S2T0SZ = Field(37, 32)
    _31 = Res0(31, 16)
    S2VMID = Field(15, 0)


class STE3(Layout):
    """STE, bits 255:192: the root of stage 2."""

    _63 = Res0(63, 52)
    S2TTB = Field(51, 4)
    _3 = Res0(3, 0)


class CMD(IntEnum):
    """Opcodes of commands: bits 7:0 of the first of their two words."""

    CFGI_ALL = 0x04
    """CFGI_STE_RANGE with a range of 31."""
    TLBI_NSNH_ALL = 0x30
    SYNC = 0x46


CFGI_ALL_RANGE = 31
"""The second word of CFGI_ALL."""

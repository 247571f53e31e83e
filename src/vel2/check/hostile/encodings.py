"""Groups of instruction encodings: the bits that are fixed, and the bits that may be anything.

The groups follow the decode tables of the Arm ARM. Features that L1 does not see (SME, MTE, MOPS,
GCS, 128-bit registers) are included: a feature must stay hidden from a guest that uses it anyway.
"""

from typing import NamedTuple

__all__ = ("A32", "COMPUTE", "MEMORY", "Group")


class Group(NamedTuple):
    """Encodings of one kind.

    :ivar fixed: the bits that define the kind. :ivar free: the bits that may be anything.
    """

    name: str
    fixed: int
    free: int


MEMORY = (
    Group("load/store, unsigned offset", 0x3900_0000, 0xC4C0_0C1F),
    Group("load/store, unscaled, post, unprivileged, pre", 0x3800_0000, 0xC4DF_FC1F),
    Group("load/store, register offset", 0x3820_0800, 0xC4DF_F01F),
    Group("atomics", 0x3820_0000, 0xC0DF_F01F),
    Group("64-byte atomics", 0xF820_8000, 0x001F_701F),
    Group("pointer authentication loads", 0xF820_0400, 0x00DF_F81F),
    Group("pairs", 0x2800_0000, 0xC5FF_FC1F),
    Group("exclusives, ordered, compare and swap", 0x0800_0000, 0xC0FF_FC1F),
    Group("release consistent, unscaled", 0x1900_0000, 0xC0DF_F01F),
    Group("memory copy and set", 0x1900_0400, 0xC4DF_F01F),
    Group("memory tags", 0xD920_0000, 0x00DF_FC1F),
    Group("vector structures", 0x0C00_0000, 0x40DF_FC1F),
    Group("vector single structures", 0x0D00_0000, 0x40FF_FC1F),
    Group("SVE contiguous loads", 0xA400_A000, 0x01FF_1C1F),
    Group("SVE contiguous stores", 0xE400_E000, 0x01EF_1C1F),
    Group("SVE fills and spills", 0x8580_0000, 0x603F_1C1F),
    Group("SME loads and stores", 0xE000_0000, 0x01FF_FC1F),
    Group("prefetch", 0xF880_0000, 0x003F_FC1F),
)
"""Bits 9:5 are the register of the address."""

COMPUTE = (
    Group("any", 0, 0xFFFF_FFFF),
    Group("SVE", 0x0400_0000, 0xE1FF_FFFF),
    Group("SVE loads and stores", 0x8400_0000, 0x61FF_FFFF),
    Group("SME", 0x8000_0000, 0x61FF_FFFF),
    Group("SME moves", 0xC000_0000, 0x00FF_FFFF),
    Group("floating point", 0x1E20_0000, 0xE1DF_FFFF),
    Group("Advanced SIMD", 0x0E20_0000, 0x71DF_FFFF),
    Group("one source, pointer authentication", 0xDAC0_0000, 0x0001_FFFF),
    Group("two sources, tags", 0x9AC0_0000, 0x601F_FFFF),
    Group("tag arithmetic", 0x9180_0000, 0x603F_FFFF),
    Group("tag multiple", 0xD920_0000, 0x00DF_FFFF),
    Group("branches to registers", 0xD61F_0000, 0x01E0_F7FF),
    Group("authenticated calls", 0xD63F_0800, 0x0100_07FF),
    Group("authenticated returns", 0xD65F_0BFF, 0x0080_0400),
    Group("exceptions", 0xD400_0000, 0x00FF_FFFF),
    Group("hints, barriers, PSTATE", 0xD500_0000, 0x0007_FFFF),
    Group("system", 0xD508_0000, 0x0027_FFFF),
    Group("system pairs", 0xD548_0000, 0x0037_FFFF),
    Group("128-bit registers", 0xD550_0000, 0x002F_FFFF),
    Group("registers", 0xD510_0000, 0x002F_FFFF),
    Group("permanently undefined", 0x0000_0000, 0x0000_FFFF),
    Group("reserved", 0x0001_0000, 0x01FE_FFFF),
)
"""QEMU 10.0 ends itself when it translates BRAA or BRAB of a register other than X16 and X17, from
any Exception level: they are left to chance.
"""

A32 = (
    Group("any", 0xE000_0000, 0x0FFF_FFFF),
    Group("unconditional", 0xF000_0000, 0x0FFF_FFFF),
    Group("MCR, MRC p15", 0xEE00_0F10, 0x00FF_F0EF),
    Group("MCR, MRC p14", 0xEE00_0E10, 0x00FF_F0EF),
    Group("MRC p15 c9, PMU", 0xEE19_0F10, 0x00E0_F0EF),
    Group("MRC p15 c14, timers", 0xEE1E_0F10, 0x00E0_F0EF),
    Group("MCRR, MRRC p15", 0xEC40_0F00, 0x001E_E0FF),
    Group("MRRC p15 c14, counters", 0xEC51_0F0E, 0x0000_E0F0),
    Group("MCRR, MRRC p14", 0xEC40_0E00, 0x001E_E0FF),
    Group("LDC, STC p14", 0xEC00_0E00, 0x01FF_F0FF),
    Group("VMRS, VMSR", 0xEEE0_0A10, 0x001F_F000),
    Group("floating point", 0xEE00_0A00, 0x00FF_F1FF),
    Group("Advanced SIMD", 0xF200_0000, 0x01FF_FFFF),
    Group("supervisor call", 0xEF00_0000, 0x00FF_FFFF),
    Group("HVC, SMC, BKPT, ERET, hints", 0xE100_0000, 0x006F_FFFF),
    Group("hints", 0xE320_F000, 0x0000_00FF),
    Group("CPS, SETEND", 0xF100_0000, 0x000F_FFFF),
    Group("exclusives", 0xE180_0F90, 0x007F_F00F),
    Group("load and store", 0xE400_0000, 0x03FF_FFFF),
    Group("load and store multiple", 0xE800_0000, 0x01FF_FFFF),
    Group("permanently undefined", 0xE7F0_00F0, 0x000F_FF0F),
)
"""AArch32, which L1 does not see, always executed; the condition is AL.

QEMU 10.0 ends itself when it translates an MRRC to PC (UNPREDICTABLE): the registers of MCRR and
MRRC are even ones here.
"""

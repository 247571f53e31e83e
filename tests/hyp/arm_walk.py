"""A stage-2 walk transcribed from the Arm ARM's pseudocode, one function per function.

It shares nothing with `vel2.hyp.walk`, not even constants, and is written for being compared with
the Arm ARM rather than for speed. What the VM does not have (FEAT_LPA, FEAT_LPA2, FEAT_TTST,
FEAT_D128, hardware management of dirty state) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

NO_FAULT = None
TRANSLATION, ACCESS_FLAG, ADDRESS_SIZE, EXTERNAL_WALK = 0x04, 0x08, 0x00, 0x14
FINAL_LEVEL = 3
GRANULE_BITS = {0b00: 12, 0b01: 16, 0b10: 14, 0b11: 12}
"""0b11 is reserved: an IMPLEMENTATION DEFINED choice of the granules there are, here 4 KiB."""
PHYSICAL_ADDRESS_SIZES = (32, 36, 40, 42, 44, 48, 52, 56)


class Memory(NamedTuple):
    """What the walk can do to memory."""

    read: Callable[[int], int]
    write: Callable[[int, int], None]
    is_ram: Callable[[int], bool]


class Params(NamedTuple):
    """S2TTWParams, as far as they matter, from VTCR_EL2."""

    granule: int
    t0sz: int
    sl0: int
    ps: int
    ha: int
    pa_max: int


class Result(NamedTuple):
    """A fault, or a leaf."""

    fsc: int | None
    output: int = 0
    level: int = 0
    shift: int = 0
    descriptor: int = 0


def params(vtcr: int, pa_max: int) -> Params:
    """Read VTCR_EL2 (AArch64.GetS2TTWParams)."""
    granule = GRANULE_BITS[vtcr >> 14 & 3]
    return Params(granule, vtcr & 0x3F, vtcr >> 6 & 3, vtcr >> 16 & 7, vtcr >> 21 & 1, pa_max)


def start_level(p: Params) -> int:
    """AArch64.S2StartLevel."""
    if p.granule == 12:
        return {0b00: 2, 0b01: 1, 0b10: 0, 0b11: 3}[p.sl0]
    return 3 - p.sl0


def invalid_sl(p: Params) -> bool:
    """AArch64.S2InvalidSL."""
    if p.granule == 12:
        return {0b10: p.pa_max < 44, 0b11: True}.get(p.sl0, False)
    if p.granule == 14:
        return {0b10: p.pa_max < 42, 0b11: True}.get(p.sl0, False)
    return {0b10: p.pa_max < 44, 0b11: True}.get(p.sl0, False)


def inconsistent_sl(p: Params) -> bool:
    """AArch64.S2InconsistentSL."""
    levels = FINAL_LEVEL - start_level(p)
    stride = p.granule - 3
    sl_min_iasize = levels * stride + p.granule + 1
    sl_max_iasize = sl_min_iasize + (stride - 1) + 4
    return not sl_min_iasize <= 64 - p.t0sz <= sl_max_iasize


def txsz_faults(p: Params) -> bool:
    """AArch64.S2MinTxSZ and S2MaxTxSZ: this implementation faults outside of them."""
    return not 64 - min(p.pa_max, 48) <= p.t0sz <= 39


def oa_size(p: Params) -> int:
    """AArch64.PhysicalAddressSize."""
    return min(PHYSICAL_ADDRESS_SIZES[p.ps], p.pa_max, 48)


def block_supported(p: Params, level: int) -> bool:
    """AArch64.BlockDescSupported with DS = 0 and 48-bit addresses."""
    return level in ((1, 2) if p.granule == 12 else (2,))


def walk(memory: Memory, vttbr: int, vtcr: int, ipa: int, pa_max: int) -> Result:
    """AArch64.S2Walk, with the checks AArch64.S2Translate makes before it."""
    p = params(vtcr, pa_max)
    if invalid_sl(p) or txsz_faults(p) or inconsistent_sl(p):
        return Result(TRANSLATION)
    iasize = 64 - p.t0sz
    if ipa >> iasize:
        return Result(TRANSLATION)
    level = start_level(p)
    stride = p.granule - 3
    tsize = iasize - ((FINAL_LEVEL - level) * stride + p.granule) + 3
    base = (vttbr & 0xFFFF_FFFF_FFFE) >> tsize << tsize
    if base >> oa_size(p):
        return Result(ADDRESS_SIZE)
    top = iasize - 1
    while True:
        lsb = (FINAL_LEVEL - level) * stride + p.granule
        index = (ipa & ((1 << (top + 1)) - 1)) >> lsb
        address = base + 8 * index
        if not memory.is_ram(address):
            return Result(EXTERNAL_WALK + level)
        descriptor = memory.read(address)
        kind = descriptor & 3
        if kind == 3 and level < FINAL_LEVEL:
            base = (descriptor & 0xFFFF_FFFF_FFFF) >> p.granule << p.granule
            if base >> oa_size(p):
                return Result(ADDRESS_SIZE + level)
            top = lsb - 1
            level += 1
            continue
        if kind != 3 and not (kind == 1 and block_supported(p, level)):
            return Result(TRANSLATION + level)
        output = (descriptor & 0xFFFF_FFFF_FFFF) >> lsb << lsb | ipa & ((1 << lsb) - 1)
        if output >> oa_size(p):
            return Result(ADDRESS_SIZE + level)
        if not descriptor >> 10 & 1:
            if not p.ha:
                return Result(ACCESS_FLAG + level)
            memory.write(address, descriptor | 1 << 10)
        return Result(NO_FAULT, output, level, lsb, descriptor)


def stage1_tables(
    read: Callable[[int], int], is_ram: Callable[[int], bool], tcr: int, ttbr: int, va: int
) -> int | None:
    """AArch64.S1Walk as far as the addresses of its tables go, from TCR_EL1 of an EL1&0 regime.

    :return: the level of the first table that is not memory, or None if the walk ends before.
    """
    if va >> 55 & 1:
        txsz, granule = tcr >> 16 & 0x3F, {0b01: 14, 0b10: 12, 0b11: 16, 0b00: 12}[tcr >> 30 & 3]
    else:
        txsz, granule = tcr & 0x3F, GRANULE_BITS[tcr >> 14 & 3]
    iasize = 64 - txsz
    stride = granule - 3
    # AArch64.S1StartLevel
    level = FINAL_LEVEL - ((iasize - 1) - granule) // stride
    if level > FINAL_LEVEL:
        return None
    top = iasize - 1
    base = ttbr & 0xFFFF_FFFF_FFFE
    while True:
        lsb = (FINAL_LEVEL - level) * stride + granule
        if top == iasize - 1:
            base = base >> (iasize - lsb + 3) << (iasize - lsb + 3)
        index = (va & ((1 << (top + 1)) - 1)) >> lsb
        if not is_ram(base + 8 * index):
            return level
        descriptor = read(base + 8 * index)
        if level == FINAL_LEVEL or descriptor & 3 != 3:
            return None
        base = (descriptor & 0xFFFF_FFFF_FFFF) >> granule << granule
        top = lsb - 1
        level += 1

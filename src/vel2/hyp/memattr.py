"""Memory attributes of two stages combined, in the form of PAR_EL1.

Hardware's AT reports the attributes of L2's stage 1, and software adds those of L1's stage 2. With
HCR_EL2.FWB=0 the stronger type wins, separately for outer and inner cacheability, and allocation
hints come from stage 1 (S2CombineS1MemAttrs). With FWB=1 stage 2 can also leave everything to stage
1, or turn anything into Normal Write-Back (S2ApplyFWBMemAttrs).
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import MAIR_NORMAL_WB, MAIR_Attr, S2MemAttrParts
from vel2.lang import inline, resident, u64

__all__ = ("combine",)

PAR = sr.PAR_EL1
FWB = sr.HCR_EL2.FWB.mask
DEVICE = 0
"""The outer half of an attribute, of either stage."""
NON_CACHEABLE = 0b0100
WRITE_THROUGH = 0b1000
WRITE_BACK = 0b0100
WRITE_BACK_RWA = 0b1111
ALL_NON_CACHEABLE = MAIR_Attr.compose(Outer=NON_CACHEABLE, Inner=NON_CACHEABLE)
S2_NON_CACHEABLE, S2_WRITE_THROUGH = 0b01, 0b10
S2_NORMAL_FWB, S2_WRITE_BACK_FWB, S2_STAGE1_FWB = 0b100, 0b10, 0b11
OUTER_SHAREABLE, INNER_SHAREABLE = 0b10, 0b11
HINTS = 0b0011
"""Of half of a MAIR attribute: whether reads and writes allocate."""
DEVICE_TYPE_LSB = 2
"""Of a MAIR attribute of Device memory: 0b0000dd00."""


@inline
def is_device(attr: u64) -> bool:
    """Whether a MAIR attribute is one of Device memory."""
    return MAIR_Attr.Outer.get(attr) == DEVICE


@inline
def is_write_through(nibble: u64) -> bool:
    """Whether half of a MAIR attribute is Write-Through: 0b00RW (transient) or 0b10RW."""
    return nibble & WRITE_BACK == 0


@inline
def cacheability(stage1: u64, stage2: u64) -> u64:
    """Combine a half of a MAIR attribute with a half of MemAttr, both of Normal memory."""
    if stage1 == NON_CACHEABLE or stage2 == S2_NON_CACHEABLE:
        return NON_CACHEABLE
    if stage2 == S2_WRITE_THROUGH and not is_write_through(stage1):
        return WRITE_THROUGH | stage1 & HINTS
    return stage1


@inline
def device_attr(stage1: u64, memattr: u64) -> u64:
    """Give the MAIR attribute where stage 2 says Device: the stronger type of the two."""
    type2 = S2MemAttrParts.Inner.get(memattr)
    type1 = MAIR_Attr.Inner.get(stage1) >> DEVICE_TYPE_LSB
    if is_device(stage1) and type1 < type2:
        return u64(type1 << DEVICE_TYPE_LSB)
    return u64(type2 << DEVICE_TYPE_LSB)


@inline
def combined_attr(stage1: u64, memattr: u64) -> u64:
    """Combine a MAIR attribute with MemAttr; the result is a MAIR attribute."""
    if S2MemAttrParts.Outer.get(memattr) == DEVICE:
        return device_attr(stage1, memattr)
    if is_device(stage1):
        return stage1
    outer = cacheability(MAIR_Attr.Outer.get(stage1), S2MemAttrParts.Outer.get(memattr))
    inner = cacheability(MAIR_Attr.Inner.get(stage1), S2MemAttrParts.Inner.get(memattr))
    return MAIR_Attr.Outer.put(outer) | MAIR_Attr.Inner.put(inner)


@inline
def write_back(nibble: u64) -> u64:
    """Make half of a MAIR attribute of Normal memory Write-Back; hints stay where there are any."""
    if nibble == NON_CACHEABLE:
        return WRITE_BACK_RWA
    return nibble | WRITE_BACK


@inline
def combined_attr_fwb(stage1: u64, memattr: u64) -> u64:
    """Combine a MAIR attribute with MemAttr in the form of HCR_EL2.FWB=1."""
    if memattr & S2_NORMAL_FWB == 0:
        return device_attr(stage1, memattr)
    kind = S2MemAttrParts.Inner.get(memattr)
    if kind == S2_STAGE1_FWB:
        return stage1
    if kind == S2_WRITE_BACK_FWB:
        if is_device(stage1):
            return MAIR_NORMAL_WB
        outer = write_back(MAIR_Attr.Outer.get(stage1))
        return MAIR_Attr.Outer.put(outer) | write_back(MAIR_Attr.Inner.get(stage1))
    if is_device(stage1):
        return stage1
    return ALL_NON_CACHEABLE


@inline
def shareability(stage1: u64, stage2: u64) -> u64:
    """Combine SH of Normal memory: the wider of the two."""
    if stage1 == OUTER_SHAREABLE or stage2 == OUTER_SHAREABLE:
        return OUTER_SHAREABLE
    if stage1 == INNER_SHAREABLE or stage2 == INNER_SHAREABLE:
        return INNER_SHAREABLE
    return 0


@resident
def combine(par: u64, memattr: u64, sh: u64, hcr: u64) -> u64:
    """Give a successful PAR_EL1 of stage 1 the attributes that both stages make.

    :param hcr: L1's HCR_EL2.
    """
    attr = PAR.ATTR.get(par)
    if hcr & FWB:
        attr = combined_attr_fwb(attr, memattr)
    else:
        attr = combined_attr(attr, memattr)
    wanted = shareability(PAR.SH.get(par), sh)
    if is_device(attr) or attr == ALL_NON_CACHEABLE:
        wanted = OUTER_SHAREABLE
    return PAR.SH.set(PAR.ATTR.set(par, attr), wanted)

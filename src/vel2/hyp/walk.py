"""A walk of L1's own stage 2 in software: AArch64.S2Walk without the features hidden from L1.

L1's tables are read at their L1 address, which is also where the machine has them, because the
canonical stage 2 is the identity. They are read only where L1 has memory: a table in a hole or in
L0's memory is an external abort on the walk, as it would be on the machine. The walk trusts nothing
else that L1 writes.

L1's other CPUs may write to the tables meanwhile. A descriptor is read once. When the walk has to
set its access flag, it does so only in the very descriptor that it translates by, as the
pseudocode's MemSwapTableDesc; if that has become another one, nothing was translated, and the walk
begins again. Hardware does so without end. L0 does so `WALKS` times, and then has the guest's
instruction executed again (`CHANGED`), with whatever interrupts it in between: so no guest holds
L0, or the lock that a walk is done under, by writing to its tables.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import (
    ADDRESS_MASK,
    GRANULE_4K,
    GRANULE_16K,
    GRANULE_64K,
    LAST_LEVEL,
    S2AP,
    Stage2Leaf,
)
from vel2.arch.esr import FSC
from vel2.hyp.fallible import try_exchange, try_load_entry
from vel2.hyp.records import CHANGED, NO_FAULT, Walk
from vel2.hyp.stage2 import PA_BITS, is_ram, is_writable, pa_of
from vel2.hyp.state import Vm
from vel2.lang import L1IPA, L2IPA, inline, resident, u64

__all__ = (
    "S2AP_READ",
    "S2AP_WRITE",
    "guest_stage2",
    "set_access_flag",
)

VTCR = sr.VTCR_EL2
VALID = Stage2Leaf.VALID.mask
TABLE = VALID | Stage2Leaf.TYPE.mask
AF = Stage2Leaf.AF.mask
MIN_INPUT_BITS = 25
NO_LEVEL = 4
MAX_CONCATENATED_BITS = 4
WALKS = 4
"""How often a walk is begun whose leaf another CPU changes before its access flag is set."""
S2AP_READ = int(S2AP.RO)
S2AP_WRITE = int(S2AP.WO)


@inline
def granule_bits(vtcr: u64) -> u64:
    """Give log2 of the granule.

    A reserved VTCR_EL2.TG0 is an IMPLEMENTATION DEFINED choice of the sizes that there are: the
    smallest, as on the machine.
    """
    tg0 = VTCR.TG0.get(vtcr)
    if tg0 == GRANULE_64K.TG0:
        return u64(GRANULE_64K.log2_bytes)
    if tg0 == GRANULE_16K.TG0:
        return u64(GRANULE_16K.log2_bytes)
    return u64(GRANULE_4K.log2_bytes)


@inline
def start_level(vtcr: u64, granule: u64, pa_bits: u64) -> u64:
    """Give the start level (AArch64.S2StartLevel), or `NO_LEVEL` (AArch64.S2InvalidSL)."""
    sl0 = VTCR.SL0.get(vtcr)
    if sl0 == 3 or (sl0 == 2 and pa_bits < top_level_pa_bits(granule)):
        return NO_LEVEL
    if granule == GRANULE_4K.log2_bytes:
        return u64(2 - sl0)
    return u64(3 - sl0)


@inline
def top_level_pa_bits(granule: u64) -> u64:
    """Give the physical address size from which a walk may start at the highest level, SL0 = 2."""
    if granule == GRANULE_16K.log2_bytes:
        return 42
    return 44


@inline
def is_inconsistent(level: u64, input_bits: u64, granule: u64) -> bool:
    """Whether SL0 and T0SZ disagree (AArch64.S2InconsistentSL)."""
    stride = u64(granule - 3)
    resolved_below = u64((3 - level) * stride + granule)
    return input_bits <= resolved_below or input_bits > u64(
        resolved_below + stride + MAX_CONCATENATED_BITS
    )


@inline
def is_leaf(entry: u64, level: u64, granule: u64) -> bool:
    """Whether a descriptor that is no table maps something: a page, or a block where one may be.

    A block may be at levels 1 and 2 with a granule of 4 KiB, else at level 2 (48-bit addresses).
    """
    if level == LAST_LEVEL:
        return entry & TABLE == TABLE
    return level == 2 or (level == 1 and granule == GRANULE_4K.log2_bytes)


@inline
def fail(result: Walk, fault: u64, level: u64) -> None:
    """Note a fault of the walk."""
    result.fsc = u64(fault + level)
    result.level = level


@inline
def is_walkable(level: u64, input_bits: u64, pa_bits: u64, granule: u64) -> bool:
    """Whether VTCR_EL2 describes tables that can be walked: if not, every walk of them faults."""
    if level >= NO_LEVEL or input_bits < MIN_INPUT_BITS or input_bits > pa_bits:
        return False
    return not is_inconsistent(level, input_bits, granule)


@inline
def output_size(vtcr: u64, pa_bits: u64) -> u64:
    """Give log2 of what L1's tables may point at: VTCR_EL2.PS, and no more than the machine has."""
    bits = PA_BITS[VTCR.PS.get(vtcr)]
    if bits > pa_bits:
        return pa_bits
    return bits


@inline
def read_entry(vm: Vm, result: Walk, slot: L1IPA) -> bool:
    """Read a descriptor into `result.entry`; False where L1 has no memory that answers."""
    return is_ram(vm, slot) and try_load_entry(result, pa_of(slot)) != 0


@resident
def guest_stage2(vm: Vm, result: Walk, vttbr: u64, vtcr: u64, ipa: L2IPA) -> None:
    """Walk L1's stage 2 for one address of L2 (AArch64.S2Translate).

    :param result: gets the fault status code with L1's level, or output, level and attributes; or
        `CHANGED`.
    :param vttbr: as L1 wrote it; likewise `vtcr`.
    """
    for _ in range(WALKS):
        walk_once(vm, result, vttbr, vtcr, ipa)
        if result.fsc != CHANGED:
            return


@resident
def walk_once(vm: Vm, result: Walk, vttbr: u64, vtcr: u64, ipa: L2IPA) -> None:
    """Walk once: see `guest_stage2`."""
    result.fsc = NO_FAULT
    granule = granule_bits(vtcr)
    input_bits = u64(64 - VTCR.T0SZ.get(vtcr))
    pa_bits = u64(64 - VTCR.T0SZ.get(vm.stage2.vtcr))
    level = start_level(vtcr, granule, pa_bits)
    if not is_walkable(level, input_bits, pa_bits, granule) or ipa >> input_bits != 0:
        fail(result, FSC.TRANSLATION, 0)
        return
    output_bits = output_size(vtcr, pa_bits)
    stride = u64(granule - 3)
    shift = u64((3 - level) * stride + granule)
    root_bits = u64(input_bits - shift + 3)
    table = vttbr & ADDRESS_MASK & ~u64((1 << root_bits) - 1)
    index = ipa >> shift
    if table >> output_bits != 0:
        fail(result, FSC.ADDRESS_SIZE, 0)
        return
    while level <= LAST_LEVEL:
        slot = L1IPA(table + index * 8)
        if not read_entry(vm, result, slot):
            fail(result, FSC.SYNC_EXTERNAL_WALK, level)
            return
        entry = result.entry
        if entry & VALID == 0:
            fail(result, FSC.TRANSLATION, level)
            return
        if level == LAST_LEVEL or entry & TABLE != TABLE:
            if not is_leaf(entry, level, granule):
                fail(result, FSC.TRANSLATION, level)
                return
            finish(result, level, shift, ipa, output_bits, vtcr)
            if result.fsc == NO_FAULT and entry & AF == 0:
                set_access_flag(vm, result, slot, level)
            return
        table = entry & ADDRESS_MASK & ~u64((1 << granule) - 1)
        if table >> output_bits != 0:
            fail(result, FSC.ADDRESS_SIZE, level)
            return
        level = u64(level + 1)
        shift = u64(shift - stride)
        index = ipa >> shift & u64((1 << stride) - 1)


@inline
def finish(result: Walk, level: u64, shift: u64, ipa: L2IPA, output_bits: u64, vtcr: u64) -> None:
    """Check the leaf in `result.entry`, and note what it says."""
    entry = result.entry
    offset_mask = u64((1 << shift) - 1)
    output = entry & ADDRESS_MASK & ~offset_mask | ipa & offset_mask
    if output >> output_bits != 0:
        fail(result, FSC.ADDRESS_SIZE, level)
    elif entry & AF == 0 and vtcr & VTCR.HA.mask == 0:
        fail(result, FSC.ACCESS_FLAG, level)
    else:
        result.output = L1IPA(output)
        result.level = shift_to_level(shift)
        result.s2ap = Stage2Leaf.S2AP.get(entry)
        result.xn = Stage2Leaf.XN.get(entry)
        result.memattr = Stage2Leaf.MemAttr.get(entry)
        result.sh = Stage2Leaf.SH.get(entry)
        result.guest_level = level
        result.shift = shift


@resident
def set_access_flag(vm: Vm, result: Walk, slot: L1IPA, level: u64) -> None:
    """Set the access flag of the leaf in `result.entry`, as VTCR_EL2.HA asks for.

    Another CPU may have set it just so, which is as good; any other change is `CHANGED`. A leaf in
    ROM is left as it is: a store there is a command to a flash device, which no walk gives.
    """
    if not is_writable(vm, slot):
        return
    entry = result.entry
    accessed = entry | AF
    if try_exchange(result, pa_of(slot), entry, accessed) == 0:
        fail(result, FSC.SYNC_EXTERNAL_WALK, level)
    elif result.entry != entry and result.entry != accessed:
        result.fsc = CHANGED


@inline
def shift_to_level(shift: u64) -> u64:
    """Give the 4 KiB-granule level whose leaf is not larger than 2**shift bytes."""
    if shift >= 30:
        return 1
    if shift >= 21:
        return 2
    return 3

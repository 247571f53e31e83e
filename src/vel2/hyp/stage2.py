"""Stage-2 tables as hardware walks them, 4 KiB granule: the canonical one, and what shadows share.

Every table that hardware walks, canonical or shadow, has the same VTCR_EL2, so a change of context
writes VTTBR_EL2 alone. VMID 1 is the canonical stage 2's (vEL2), VMID 2 + n that of shadow context
n; L1's VMIDs are never given to hardware.

The canonical stage 2 maps L1's memory map, and nothing else, to itself: L0's memory, UART1 and
every hole are absent, so an access there is a stage-2 fault that `abort` answers as the machine
would. A leaf says in its software bits at which level it could be.

Hardware wants the largest blocks. QEMU wants pages: when its TLB holds an entry that a block of
either stage made, TLBI of one address empties all of it, and the next instructions walk two stages
each. So the host chooses (`Configuration.canonical_by_pages`); shadow leaves are as large as L1's
either way.
"""

from enum import IntEnum

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import ENTRIES, LAST_LEVEL, S2MemAttrParts, Stage2Leaf
from vel2.hyp import pool
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.state import REGION_DEVICE, SHADOW_CONTEXTS, Stage2, Vm
from vel2.lang import IPA, L1IPA, PA, dsb_ish, inline, load_u64, msr, resident, store_u64, u8, u64

__all__ = (
    "ADDRESS",
    "FIRST_SHADOW_VMID",
    "MEMATTR_DEVICE_MASK",
    "PA_BITS",
    "TABLE",
    "VALID",
    "Mapped",
    "canonical_leaf",
    "entry_at",
    "init",
    "ipa_limit",
    "is_ram",
    "is_writable",
    "leaf_type",
    "load_canonical",
    "map_leaf",
    "map_regions",
    "pa_of",
    "shift_at",
    "table_at",
)

VALID = Stage2Leaf.VALID.mask
TABLE = Stage2Leaf.VALID.mask | Stage2Leaf.TYPE.mask
PAGE = TABLE
"""At level 3 the same two bits make a page."""
ADDRESS = Stage2Leaf.OA.mask
INDEX_MASK = ENTRIES - 1
READ_WRITE = Stage2Leaf.S2AP.put(3)
NORMAL = Stage2Leaf.MemAttr.put(0b1111) | Stage2Leaf.SH.put(3)
DEVICE = Stage2Leaf.MemAttr.put(0b0001)
NO_EXECUTE = Stage2Leaf.XN.put(0b10)
DEVICE_ATTRIBUTES = Stage2Leaf.AF.mask | READ_WRITE | DEVICE | NO_EXECUTE
RAM_ATTRIBUTES = Stage2Leaf.AF.mask | READ_WRITE | NORMAL
MEMATTR_DEVICE_MASK = Stage2Leaf.MemAttr.put(S2MemAttrParts.Outer.mask)
"""Where these bits are 0 the memory is of a Device type."""

PA_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
"""Physical address size by ID_AA64MMFR0_EL1.PARange."""
PS_MASK = len(PA_BITS) - 1
LEVEL_1_MAX_BITS = 43
"""Level 1 resolves 39 bits, and up to 16 concatenated tables four more."""
CANONICAL_VMID = 1
FIRST_SHADOW_VMID = 2
VTTBR_VMID_SHIFT = sr.VTTBR_EL2.VMID.lsb


class Mapped(IntEnum):
    """What came of mapping a leaf."""

    NO_TABLE = 0
    """The pool has none left; nothing is half-done."""
    NOW = 1
    BEFORE = 2
    """It was mapped just so."""


@inline
def shift_at(level: u64) -> u64:
    """Give log2 of what one entry at `level` maps."""
    return u64(39 - 9 * level)


@inline
def index_at(vm: Vm, ipa: IPA, level: u64) -> u64:
    """Give the entry number for `ipa`; a root may be several tables in a row."""
    index = ipa >> shift_at(level)
    if level != vm.stage2.start_level:
        index = index & INDEX_MASK
    return index


@inline
def entry_at(vm: Vm, table: PA, ipa: IPA, level: u64) -> PA:
    """Give the address of the entry for `ipa` in a table at `level`."""
    return PA(table + index_at(vm, ipa, level) * 8)


@inline
def ipa_limit(vm: Vm) -> u64:
    """Give the first IPA that hardware's tables cannot map."""
    return u64(1 << u64(64 - sr.VTCR_EL2.T0SZ.get(vm.stage2.vtcr)))


@resident
def find_leaf(vm: Vm, root: PA, ipa: IPA) -> u64:
    """Walk hardware's tables; give the leaf that maps `ipa` as it stands there, or 0."""
    if u64(ipa) >= ipa_limit(vm):
        return 0
    table = root
    level = vm.stage2.start_level
    while level <= LAST_LEVEL:
        entry = load_u64(entry_at(vm, table, ipa, level))
        if entry & VALID == 0:
            return 0
        if level == LAST_LEVEL or entry & TABLE != TABLE:
            return entry
        table = PA(entry & ADDRESS)
        level = u64(level + 1)
    return 0


@resident
def canonical_leaf(vm: Vm, ipa: L1IPA) -> u64:
    """Give the canonical leaf for an address of L1 (level in SW), or 0 for a hole."""
    return find_leaf(vm, vm.stage2.canonical.root, IPA(ipa))


@resident
def is_ram(vm: Vm, ipa: L1IPA) -> bool:
    """Whether L1 has memory, not a device or a hole, at `ipa`."""
    leaf = canonical_leaf(vm, ipa)
    return leaf != 0 and leaf & MEMATTR_DEVICE_MASK != 0


@inline
def pa_of(ipa: L1IPA) -> PA:
    """Give where an address of L1 is in the machine: the canonical stage 2 is the identity.

    The caller has found that L1 has something there.
    """
    return PA(ipa)


@inline
def is_writable(vm: Vm, ipa: L1IPA) -> bool:
    """Whether what L1 has at `ipa` is its RAM, and neither flash nor a device nor a hole."""
    return u64(ipa) >= vm.config.ram_base and u64(ipa) < vm.config.ram_end


@inline
def note_part(vm: Vm, table: PA, step: u64, guest_shift: u64) -> None:
    """Remember in a table at level `step` that it, or a table below it, holds part of a leaf of L1.

    An invalidation of any address in that leaf must find all of its parts. It walks towards the
    address, and the parts may be in tables that it does not come to; so every table whose entries
    are smaller than the leaf says how large the leaf is.
    """
    if guest_shift > shift_at(step):
        record = pool.record_of(vm, pool.index_of(vm, table))
        if record.guest_shift < guest_shift:
            record.guest_shift = u8(guest_shift)


@resident
def table_at(vm: Vm, owner: Stage2, ipa: IPA, level: u64, guest_shift: u64) -> PA:
    """Give the table at `level` on the way to `ipa`, made where there is none.

    A block in the way is taken out, not split: what it mapped faults, or is mapped by the caller.

    :return: `NO_PAGE` when the pool has no table left; nothing is half-done then.
    """
    table = owner.root
    step = vm.stage2.start_level
    while step < level:
        slot = entry_at(vm, table, ipa, step)
        entry = load_u64(slot)
        if entry & TABLE != TABLE:
            if entry & VALID:
                store_u64(slot, 0)
                pool.flush(owner)
            below = pool.take(vm, owner)
            if below == pool.NO_PAGE:
                return below
            dsb_ish()
            store_u64(slot, u64(below | TABLE))
            table = below
        else:
            table = PA(entry & ADDRESS)
        step = u64(step + 1)
        note_part(vm, table, step, guest_shift)
    return table


@resident
def map_leaf(vm: Vm, owner: Stage2, ipa: IPA, level: u64, leaf: u64, guest_shift: u64) -> Mapped:
    """Map one block or page, replacing what was there by break-before-make.

    :param guest_shift: log2 of the leaf of L1 that this is (a part of), for later invalidation.
    """
    table = table_at(vm, owner, ipa, level, guest_shift)
    if table == pool.NO_PAGE:
        return Mapped.NO_TABLE
    slot = entry_at(vm, table, ipa, level)
    old = load_u64(slot)
    if old == leaf:
        return Mapped.BEFORE
    if old & VALID:
        store_u64(slot, 0)
        pool.flush(owner)
        if level < LAST_LEVEL and old & TABLE == TABLE:
            pool.spare(vm, owner, PA(old & ADDRESS), u64(level + 1))
    store_u64(slot, leaf)
    dsb_ish()
    return Mapped.NOW


@inline
def leaf_type(level: u64) -> u64:
    """Give the type bits of a leaf at `level`."""
    if level == LAST_LEVEL:
        return PAGE
    return VALID


@resident
def map_pages(vm: Vm, base: L1IPA, level: u64, attributes: u64) -> bool:
    """Map what one block at `level` would map by pages, marked as parts of that block."""
    address = u64(base)
    end = u64(base + (1 << shift_at(level)))
    while address < end:
        table = table_at(vm, vm.stage2.canonical, IPA(address), LAST_LEVEL, 0)
        if table == pool.NO_PAGE:
            return False
        leaf = u64(Stage2Leaf.SW.put(level) | address | attributes | PAGE)
        for i in range(ENTRIES):
            store_u64(PA(table + i * 8), u64(leaf + (i << PAGE_SHIFT)))
        address = u64(address + (ENTRIES << PAGE_SHIFT))
    return True


@inline
def by_pages(vm: Vm, owner: Stage2, level: u64, attributes: u64) -> bool:
    """Whether what fits a block at `level` is mapped by pages: all but the huge device windows."""
    if (
        vm.config.canonical_by_pages == 0
        or level == LAST_LEVEL
        or owner.root != vm.stage2.canonical.root
    ):
        return False
    return level != 1 or attributes & MEMATTR_DEVICE_MASK != 0


@resident
def map_identity(vm: Vm, owner: Stage2, base: L1IPA, size: u64, attributes: u64) -> bool:
    """Map a range of L1's memory map to itself, in the canonical stage 2 or in that of devices.

    What the machine cannot address (a window that QEMU leaves above a small PA range) stays out.
    """
    address = u64(base)
    end = u64(base + size)
    if end > ipa_limit(vm):
        end = ipa_limit(vm)
    while address < end:
        level = u64(1)
        while level < LAST_LEVEL:
            block = u64(1 << shift_at(level))
            if address & u64(block - 1) == 0 and u64(end - address) >= block:
                break
            level = u64(level + 1)
        mapped = False
        if by_pages(vm, owner, level, attributes):
            mapped = map_pages(vm, L1IPA(address), level, attributes)
        else:
            leaf = u64(Stage2Leaf.SW.put(level) | address | attributes | leaf_type(level))
            mapped = map_leaf(vm, owner, IPA(address), level, leaf, 0) != Mapped.NO_TABLE
        if not mapped:
            return False
        address = u64(address + (1 << shift_at(level)))
    return True


@resident
def map_regions(vm: Vm, owner: Stage2) -> bool:
    """Map all of L1's memory map to itself; False if the pool has no table left."""
    for i in range(vm.config.region_count):
        region = vm.config.regions[i]
        attributes = u64(RAM_ATTRIBUTES)
        if region.kind == REGION_DEVICE:
            attributes = DEVICE_ATTRIBUTES
        if not map_identity(vm, owner, L1IPA(region.base), region.length, attributes):
            return False
    return True


@resident
def init(vm: Vm, mmfr0: u64) -> bool:
    """Fix what VTCR_EL2 is, divide the pool and build the canonical stage 2.

    :return: False if the pool is too small for the memory map.
    """
    ps = sr.ID_AA64MMFR0_EL1.PARange.get(mmfr0)
    if ps > vm.config.max_parange:
        ps = vm.config.max_parange
    bits = PA_BITS[ps & PS_MASK]
    root_pages = u64(1)
    vm.stage2.start_level = 0
    if bits <= LEVEL_1_MAX_BITS:
        vm.stage2.start_level = 1
        if bits > 39:
            root_pages = u64(1 << u64(bits - 39))
    vm.stage2.vtcr = u64(
        sr.VTCR_EL2.res1
        | sr.VTCR_EL2.PS.put(ps)
        | sr.VTCR_EL2.compose(SH0=3, ORGN0=1, IRGN0=1, VS=1)
        | sr.VTCR_EL2.SL0.put(u64(2 - vm.stage2.start_level))
        | sr.VTCR_EL2.T0SZ.put(u64(64 - bits))
    )
    pool.init(vm, root_pages)
    for i in range(SHADOW_CONTEXTS):
        vmid = u64(FIRST_SHADOW_VMID + i)
        vm.stage2.shadows[i].vttbr = u64(vm.stage2.shadows[i].root | vmid << VTTBR_VMID_SHIFT)
    vm.stage2.canonical.vttbr = u64(vm.stage2.canonical.root | CANONICAL_VMID << VTTBR_VMID_SHIFT)
    return map_regions(vm, vm.stage2.canonical)


@inline
def load_canonical(vm: Vm) -> None:
    """Make hardware walk the canonical stage 2."""
    msr(sr.VTTBR_EL2, vm.stage2.canonical.vttbr)

"""Translation tables of either stage, with a 4 KiB granule and 39 bits of input address."""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, Stage1Leaf, Stage2Leaf
from vel2.check.payloads.layout import PAGE_BYTES, RAM_BASE, TABLES, State
from vel2.lang import PA, dsb_ish, dsb_sy, inline, load_u64, resident, store_u64, u64

LAST_LEVEL = 3
START_LEVEL = 1
INPUT_BITS = 39
INDEX_MASK = 511
TABLE = 0b11
ADDRESS = ((1 << 48) - 1) & ~(PAGE_BYTES - 1)
BLOCK_2M = 1 << 21
S2_NORMAL = Stage2Leaf.compose(AF=1, SH=3, S2AP=3, MemAttr=0b1111)
S1_NORMAL = Stage1Leaf.compose(AF=1, SH=3, AttrIndx=0)
S1_DEVICE = Stage1Leaf.compose(AF=1, AttrIndx=1, UXN=1, PXN=1)
MAIR = 0x04_FF
TCR_39 = sr.TCR_EL1.compose(
    T0SZ=64 - INPUT_BITS,
    T1SZ=64 - INPUT_BITS,
    TG1=2,
    SH0=3,
    ORGN0=1,
    IRGN0=1,
    SH1=3,
    ORGN1=1,
    IRGN1=1,
)
UPPER_BASE = (1 << 64) - (1 << INPUT_BITS)


@inline
def level_shift(level: u64) -> u64:
    """Give log2 of what one entry at `level` maps, 4 KiB granule."""
    return u64(GRANULE_4K.log2_bytes + (LAST_LEVEL - level) * GRANULE_4K.bits_per_level)


@resident
def new_table(state: State) -> u64:
    """Take a cleared page for a translation table."""
    if state.next_table == 0:
        state.next_table = TABLES
    table = state.next_table
    state.next_table = u64(table + PAGE_BYTES)
    for i in range(512):
        store_u64(PA(table + i * 8), 0)
    return table


@resident
def entry_of(state: State, root: u64, address: u64, level: u64) -> u64:
    """Give the address of the entry for `address` at `level`, making the tables on the way.

    :param root: a level-1 table, for 39 bits of input address, of either stage.
    """
    table = root
    step = u64(START_LEVEL)
    while step < level:
        slot = u64(table + (address >> level_shift(step) & INDEX_MASK) * 8)
        entry = load_u64(PA(slot))
        if entry & TABLE != TABLE:
            entry = new_table(state) | TABLE
            dsb_ish()
            store_u64(PA(slot), entry)
        table = entry & ADDRESS
        step = u64(step + 1)
    return u64(table + (address >> level_shift(level) & INDEX_MASK) * 8)


@resident
def map_to(state: State, root: u64, address: u64, level: u64, output: u64, attributes: u64) -> None:
    """Map one block or page; attributes as in the leaf's descriptor, without its type."""
    leaf = u64(output | attributes | 1)
    if level == LAST_LEVEL:
        leaf = leaf | TABLE
    store_u64(PA(entry_of(state, root, address, level)), leaf)
    dsb_sy()


@resident
def identity_table(state: State, end: u64, attributes: u64) -> u64:
    """Make a table that maps RAM up to an address to itself, in 2 MiB blocks; give its root."""
    root = new_table(state)
    address = u64(RAM_BASE)
    while address < end:
        map_to(state, root, address, 2, address, attributes)
        address = u64(address + BLOCK_2M)
    return root

"""Translation tables of a hostile program: two that map RAM to itself, and sixty that do not.

The pages point at one another and at themselves, at L0's memory, holes, flash and devices. Leaves
have the wrong type for their level, wrong sizes, reserved bits and every attribute. A burst's
registers decide which page is a root, of which stage, and with which granule.
"""

from collections.abc import Iterator

from vel2.arch.descriptors import Stage1Leaf, Stage2Leaf
from vel2.check.hostile.layout import (
    HELD_BLOCKS,
    HELD_ENTRY,
    HELD_ROOT,
    HELD_SELF,
    IMAGE_BASE,
    PAGE_BYTES,
    RAM_BASE,
    SANE_STAGE1,
    SANE_STAGE2,
    TABLE_PAGES,
    TABLES,
)
from vel2.check.hostile.values import Values

__all__ = ("descriptor", "table_pages")

ENTRIES = 512
BLOCK, TABLE = 0b01, 0b11
BLOCK_2M, GIGABYTE = 1 << 21, 1 << 30
S1_NORMAL = Stage1Leaf.compose(AF=1, SH=3, AttrIndx=0)
S2_NORMAL = Stage2Leaf.compose(AF=1, SH=3, S2AP=3, MemAttr=0b1111)
S2_DEVICE = Stage2Leaf.compose(AF=1, S2AP=3, MemAttr=0b0001)
ADDRESS = (1 << 48) - PAGE_BYTES
FIRST_WILD = 8
READ_ONLY = Stage1Leaf.AP.put(0b10)

Page = list[int]


def table_pages(values: Values) -> bytes:
    """Give all pages, in order."""
    pages = [[0] * ENTRIES for _ in range(TABLE_PAGES)]
    identity(values, pages, SANE_STAGE1, S1_NORMAL, S1_NORMAL)
    identity(values, pages, SANE_STAGE2, S2_NORMAL, S2_DEVICE)
    leave_out_the_harness(values, pages)
    for number in range(FIRST_WILD, TABLE_PAGES):
        pages[number] = wild_page(values, pages)
    if values.recursion:
        pages += held_pages(values)
    return b"".join(entry.to_bytes(8, "little") for page in pages for entry in page)


def address_of(number: int) -> int:
    """Give the address of a page by its number."""
    return TABLES + number * PAGE_BYTES


def identity(values: Values, pages: list[Page], root: int, normal: int, device: int) -> None:
    """Map addresses to themselves from level 1: RAM's gigabyte by 2 MiB, L0's memory included.

    Beyond the first four gigabytes there are wild entries.
    """
    pages[root][0] = device | BLOCK
    pages[root][1] = address_of(root + 1) | TABLE
    for index in range(2, 8):
        pages[root][index] = index * GIGABYTE | device | BLOCK
    for index in range(8, ENTRIES):
        pages[root][index] = descriptor(values)
    for index in range(ENTRIES):
        pages[root + 1][index] = RAM_BASE + index * BLOCK_2M | normal | BLOCK


def leave_out_the_harness(values: Values, pages: list[Page]) -> None:
    """Take the harness out of the sane stage 2, all but the page that L2's EL1 executes."""
    level3 = SANE_STAGE2 + 2
    pages[SANE_STAGE2 + 1][(IMAGE_BASE - RAM_BASE) // BLOCK_2M] = address_of(level3) | TABLE
    page = values.places.el1_vectors & -PAGE_BYTES
    read_only = S2_NORMAL & ~Stage2Leaf.S2AP.mask | Stage2Leaf.S2AP.put(1)
    pages[level3][page // PAGE_BYTES % ENTRIES] = page | read_only | TABLE


def held_pages(values: Values) -> list[Page]:
    """Make EL2's held stage 1: the root and RAM's gigabyte, wild where the harness is not.

    Bits of the descriptors that are ignored in tables make them pages of level 3 as well.
    """
    rng = values.rng
    root = [descriptor(values) for _ in range(ENTRIES)]
    root[HELD_ENTRY] = address_of(HELD_BLOCKS) | S1_NORMAL | TABLE
    root[HELD_SELF] = address_of(HELD_ROOT) | S1_NORMAL | TABLE
    blocks = []
    for index in range(ENTRIES):
        block = RAM_BASE + index * BLOCK_2M | S1_NORMAL | BLOCK
        at = rng.random()
        if at < 0.2:
            block |= READ_ONLY
        elif at < 0.6:
            block = descriptor(values)
        blocks.append(block)
    harness = (IMAGE_BASE - RAM_BASE) // BLOCK_2M
    assert harness == HELD_ENTRY
    blocks[harness] = IMAGE_BASE | S1_NORMAL | BLOCK
    return [root, blocks]


def wild_page(values: Values, pages: list[Page]) -> Page:
    """Make a page: noise of one kind or another, or a sane one with a few wild entries."""
    rng = values.rng
    kind = rng.randrange(6)
    if kind == 0:
        return [descriptor(values)] * ENTRIES
    if kind == 1:
        return [rng.getrandbits(64) for _ in range(ENTRIES)]
    if kind == 2:
        own = address_of(rng.randrange(TABLE_PAGES)) | TABLE
        return [own] * ENTRIES
    if kind == 3:
        start = values.address() & ADDRESS
        bits = attributes(values)
        return [(start + i * PAGE_BYTES & ADDRESS) | bits | TABLE for i in range(ENTRIES)]
    page = list(pages[rng.choice((0, 1, 4, 5, 6))]) if kind == 4 else [0] * ENTRIES
    for _ in range(rng.choice((4, 32, 128))):
        page[rng.randrange(ENTRIES) if rng.random() < 0.5 else rng.randrange(8)] = descriptor(
            values
        )
    return page


def attributes(values: Values) -> int:
    """Give the bits of a leaf that are neither address nor type: mostly usable ones."""
    rng = values.rng
    bits = rng.getrandbits(64) & ~(ADDRESS | 0b11)
    at = rng.random()
    if at < 0.4:
        return values.pick((S1_NORMAL, S2_NORMAL, S2_DEVICE))
    if at < 0.8:
        return bits & 0xFFF | (rng.getrandbits(64) & 0xFFF << 52 if at < 0.6 else 0) | 1 << 10
    return bits


def descriptor(values: Values) -> int:
    """Give one descriptor."""
    rng = values.rng
    at = rng.random()
    if at < 0.1:
        return rng.getrandbits(64) & ~1
    if at < 0.4:
        return address_of(rng.randrange(TABLE_PAGES)) | TABLE | (attributes(values) * (at < 0.15))
    where = values.address() & ADDRESS
    if at < 0.6:
        where &= values.pick((-BLOCK_2M, -GIGABYTE, -PAGE_BYTES))
    return where | attributes(values) | values.pick((BLOCK, TABLE))


def table_slots(values: Values) -> Iterator[int]:
    """Give addresses of entries to change, without end."""
    while True:
        yield values.table() + 8 * values.pick((0, 0, 1, 1, values.rng.randrange(ENTRIES)))

"""The part of `stage2` about TLBI and VMIDs: what must be forgotten, and what must still work."""

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, Parameters, State
from vel2.check.payloads.library.assembly import HVC_DONE
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import invalidate_all, use_stage2
from vel2.check.payloads.library.faults import ALIAS, MARKER, UNTOUCHED
from vel2.check.payloads.library.guest import enter_guest, is_hvc
from vel2.check.payloads.library.tables import (
    BLOCK_2M,
    LAST_LEVEL,
    S2_NORMAL,
    entry_of,
    identity_table,
    map_to,
)
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    msr,
    resident,
    store_u64,
    symbol_address,
    sysop,
    u64,
)

PAGES = 16
BASE = ALIAS + 0x4000_0000
BLOCK_BASE = ALIAS + 0x8000_0000
TTL_4K = 1 << 46
TTL_LEVEL_3 = TTL_4K | 3 << 44
TTL_LEVEL_2 = TTL_4K | 2 << 44
RANGE_4K = 1 << 46
FAULT = 0
"""What `read_page` returns if L2's read faults; pages never hold this value."""


@resident
def fill_arena() -> None:
    """Give each of the arena's first pages a mark of its own."""
    for i in range(PAGES):
        store_u64(PA(u64(ARENA + i * PAGE_BYTES)), u64(MARKER + i))


@resident
def map_pages(state: State, root: u64) -> None:
    """Map `PAGES` pages at `BASE` onto the arena."""
    for i in range(PAGES):
        at = u64(i * PAGE_BYTES)
        map_to(state, root, u64(BASE + at), LAST_LEVEL, u64(ARENA + at), S2_NORMAL)


@resident
def read_page(state: State, address: u64) -> u64:
    """Let L2 read; give what it got, or FAULT."""
    state.vector = enter_guest(state, symbol_address("guest_read"), address, UNTOUCHED)
    if is_hvc(state, HVC_DONE):
        return state.x[1]
    return FAULT


@resident
def touch_pages(state: State) -> None:
    """Let L2 use every page, so that its translation may be cached."""
    for i in range(PAGES):
        expect(
            state,
            bytes_address(b"page\0"),
            read_page(state, u64(BASE + i * PAGE_BYTES)),
            u64(MARKER + i),
        )


@resident
def unmap_page(state: State, root: u64, index: u64) -> None:
    """Clear the descriptor of a page, without TLBI."""
    store_u64(PA(entry_of(state, root, u64(BASE + index * PAGE_BYTES), LAST_LEVEL)), 0)
    dsb_sy()


@resident
def expect_pages(state: State, gone: u64) -> None:
    """Require that exactly the pages in the set `gone` fault."""
    for i in range(PAGES):
        want = u64(MARKER + i)
        if gone >> i & 1:
            want = FAULT
        got = read_page(state, u64(BASE + i * PAGE_BYTES))
        expect(state, bytes_address(b"page\0"), got, want)


@resident
def finish_stage2_tlbi() -> None:
    """Complete a stage-2 TLBI, and invalidate combined translations, as software must."""
    dsb_sy()
    sysop(TLBI.VMALLE1IS)
    dsb_sy()
    isb()


ONE_PAGE = (
    (b"tlbi-ipas2e1\0", TLBI.IPAS2E1, 0),
    (b"tlbi-ipas2e1is\0", TLBI.IPAS2E1IS, 0),
    (b"tlbi-ipas2le1is\0", TLBI.IPAS2LE1IS, 0),
    (b"tlbi-ipas2e1is-ttl\0", TLBI.IPAS2E1IS, TTL_LEVEL_3),
)


@resident
def tlbi_precision(state: State, root: u64) -> None:
    """Check that each stage-2 TLBI makes what it names fault, and leaves the rest."""
    fill_arena()
    for name, instruction, hint in ONE_PAGE:
        begin(state, bytes_address(name), NO_SUBJECT)
        map_pages(state, root)
        touch_pages(state)
        unmap_page(state, root, 3)
        sysop(instruction, BASE >> 12 | 3 | hint)
        finish_stage2_tlbi()
        expect_pages(state, 1 << 3)
        end(state)
    range_operation(state, root)
    whole_operations(state, root)
    block_to_pages(state, root)
    pages_to_block(state, root)
    remap_after_tlbi(state, root)


@resident
def range_operation(state: State, root: u64) -> None:
    """Check TLBI RIPAS2E1IS over four pages."""
    begin(state, bytes_address(b"tlbi-ripas2e1is\0"), NO_SUBJECT)
    map_pages(state, root)
    touch_pages(state)
    for i in range(4, 8):
        unmap_page(state, root, i)
    # SCALE=0, NUM=1: (1 + 1) << 1 pages.
    sysop(TLBI.RIPAS2E1IS, RANGE_4K | 1 << 39 | u64(BASE + 4 * PAGE_BYTES) >> 12)
    finish_stage2_tlbi()
    expect_pages(state, 0xF0)
    end(state)


WHOLE = (
    (b"tlbi-vmalls12e1\0", TLBI.VMALLS12E1),
    (b"tlbi-vmalls12e1is\0", TLBI.VMALLS12E1IS),
    (b"tlbi-alle1\0", TLBI.ALLE1),
    (b"tlbi-alle1is\0", TLBI.ALLE1IS),
)


@resident
def whole_operations(state: State, root: u64) -> None:
    """Check the operations that name a whole VMID, or all."""
    for name, instruction in WHOLE:
        begin(state, bytes_address(name), NO_SUBJECT)
        map_pages(state, root)
        touch_pages(state)
        unmap_page(state, root, 0)
        unmap_page(state, root, 15)
        sysop(instruction)
        dsb_sy()
        isb()
        expect_pages(state, 1 << 15 | 1)
        end(state)


@resident
def block_to_pages(state: State, root: u64) -> None:
    """Check that one IPAS2E1 removes the whole translation of a block."""
    begin(state, bytes_address(b"tlbi-block-to-pages\0"), NO_SUBJECT)
    block = u64(ARENA >> 21 << 21)
    offset = u64(ARENA - block)
    map_to(state, root, BLOCK_BASE, 2, block, S2_NORMAL)
    invalidate_all()
    for i in range(PAGES):
        got = read_page(state, u64(BLOCK_BASE + offset + i * PAGE_BYTES))
        expect(state, bytes_address(b"before\0"), got, u64(MARKER + i))
    store_u64(PA(entry_of(state, root, BLOCK_BASE, 2)), 0)
    dsb_sy()
    sysop(TLBI.IPAS2E1IS, u64(BLOCK_BASE + 5 * PAGE_BYTES) >> 12)
    finish_stage2_tlbi()
    for i in range(PAGES):
        got = read_page(state, u64(BLOCK_BASE + offset + i * PAGE_BYTES))
        expect(state, bytes_address(b"after\0"), got, FAULT)
    map_to(state, root, u64(BLOCK_BASE + offset), 3, u64(ARENA + PAGE_BYTES), S2_NORMAL)
    got = read_page(state, u64(BLOCK_BASE + offset))
    expect(state, bytes_address(b"page\0"), got, u64(MARKER + 1))
    got = read_page(state, u64(BLOCK_BASE + offset + PAGE_BYTES))
    expect(state, bytes_address(b"next\0"), got, FAULT)
    end(state)


@resident
def pages_to_block(state: State, root: u64) -> None:
    """Check that pages that became a block, with TLBI for each, read as the block."""
    begin(state, bytes_address(b"tlbi-pages-to-block\0"), NO_SUBJECT)
    block = u64(ARENA >> 21 << 21)
    offset = u64(ARENA - block)
    store_u64(PA(entry_of(state, root, BLOCK_BASE, 2)), 0)
    dsb_sy()
    sysop(TLBI.IPAS2E1IS, u64(BLOCK_BASE + offset) >> 12)
    finish_stage2_tlbi()
    map_to(state, root, BLOCK_BASE, 2, block, S2_NORMAL)
    for i in range(PAGES):
        got = read_page(state, u64(BLOCK_BASE + offset + i * PAGE_BYTES))
        expect(state, bytes_address(b"page\0"), got, u64(MARKER + i))
    store_u64(PA(entry_of(state, root, BLOCK_BASE, 2)), 0)
    dsb_sy()
    sysop(TLBI.IPAS2E1IS, BLOCK_BASE >> 12 | TTL_LEVEL_2)
    finish_stage2_tlbi()
    got = read_page(state, u64(BLOCK_BASE + BLOCK_2M - PAGE_BYTES))
    expect(state, bytes_address(b"end\0"), got, FAULT)
    end(state)


@resident
def remap_after_tlbi(state: State, root: u64) -> None:
    """Check that a page that has moved is read at its new place."""
    begin(state, bytes_address(b"tlbi-remap\0"), NO_SUBJECT)
    map_pages(state, root)
    invalidate_all()
    touch_pages(state)
    unmap_page(state, root, 2)
    sysop(TLBI.IPAS2E1IS, BASE >> 12 | 2)
    finish_stage2_tlbi()
    map_to(state, root, u64(BASE + 2 * PAGE_BYTES), 3, u64(ARENA + 9 * PAGE_BYTES), S2_NORMAL)
    got = read_page(state, u64(BASE + 2 * PAGE_BYTES))
    expect(state, bytes_address(b"page\0"), got, u64(MARKER + 9))
    end(state)


FIRST_VMID = 21
VMIDS = 20
"""There are twice as many contexts: more than are likely to be kept, so some are made again."""


@resident
def vmid_switch(state: State, parameters: Parameters) -> None:
    """Check many VMIDs with the same IPA: each reads its own page, without TLBI between them."""
    first = identity_table(state, parameters.ram_end, S2_NORMAL)
    second = identity_table(state, parameters.ram_end, S2_NORMAL)
    map_to(state, first, BASE, 3, ARENA, S2_NORMAL)
    map_to(state, second, BASE, 3, u64(ARENA + PAGE_BYTES), S2_NORMAL)
    invalidate_all()
    for _ in range(3):
        begin(state, bytes_address(b"vmid-switch\0"), NO_SUBJECT)
        use_stage2(first, FIRST_VMID)
        expect(state, bytes_address(b"first\0"), read_page(state, BASE), MARKER)
        use_stage2(second, FIRST_VMID + 1)
        expect(state, bytes_address(b"second\0"), read_page(state, BASE), MARKER + 1)
        end(state)
    begin(state, bytes_address(b"vmid-many\0"), NO_SUBJECT)
    for i in range(VMIDS):
        use_stage2(first, u64(FIRST_VMID + 2 * i))
        expect(state, bytes_address(b"first\0"), read_page(state, BASE), MARKER)
        use_stage2(second, u64(FIRST_VMID + 2 * i + 1))
        expect(state, bytes_address(b"second\0"), read_page(state, BASE), MARKER + 1)
    use_stage2(first, FIRST_VMID)
    expect(state, bytes_address(b"again\0"), read_page(state, BASE), MARKER)
    end(state)
    tlbi_of_one_vmid(state, first, second)
    reuse_vmid(state, first, second)
    msr(sr.VTTBR_EL2, first)


@resident
def tlbi_of_one_vmid(state: State, first: u64, second: u64) -> None:
    """Check that a TLBI under one VMID affects it, even if another VMID shares its tables."""
    begin(state, bytes_address(b"tlbi-one-vmid\0"), NO_SUBJECT)
    use_stage2(first, FIRST_VMID)
    expect(state, bytes_address(b"before\0"), read_page(state, BASE), MARKER)
    use_stage2(second, FIRST_VMID + 1)
    expect(state, bytes_address(b"before\0"), read_page(state, BASE), MARKER + 1)
    store_u64(PA(entry_of(state, second, BASE, 3)), 0)
    dsb_sy()
    sysop(TLBI.IPAS2E1IS, BASE >> 12)
    finish_stage2_tlbi()
    expect(state, bytes_address(b"second\0"), read_page(state, BASE), FAULT)
    use_stage2(first, FIRST_VMID)
    expect(state, bytes_address(b"first\0"), read_page(state, BASE), MARKER)
    map_to(state, second, BASE, 3, u64(ARENA + PAGE_BYTES), S2_NORMAL)
    use_stage2(second, FIRST_VMID + 1)
    expect(state, bytes_address(b"after\0"), read_page(state, BASE), MARKER + 1)
    end(state)


@resident
def reuse_vmid(state: State, first: u64, second: u64) -> None:
    """Check that a VMID can be given to other tables after VMALLS12E1IS."""
    begin(state, bytes_address(b"vmid-reuse\0"), NO_SUBJECT)
    use_stage2(first, FIRST_VMID)
    expect(state, bytes_address(b"first\0"), read_page(state, BASE), MARKER)
    use_stage2(second, FIRST_VMID)
    sysop(TLBI.VMALLS12E1IS)
    dsb_sy()
    isb()
    expect(state, bytes_address(b"second\0"), read_page(state, BASE), MARKER + 1)
    use_stage2(first, FIRST_VMID)
    sysop(TLBI.VMALLS12E1IS)
    dsb_sy()
    isb()
    expect(state, bytes_address(b"back\0"), read_page(state, BASE), MARKER)
    end(state)

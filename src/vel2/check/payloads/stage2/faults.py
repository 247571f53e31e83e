"""The part of `stage2` about faults: each kind, at each level, by each kind of access and AT."""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_16K, GRANULE_64K, S2MemAttrFWB, Stage2Leaf
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, RAM_BASE, Parameters, State
from vel2.check.payloads.library.assembly import GUEST_INSTRUCTIONS, NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import (
    NO_SUBJECT,
    begin,
    end,
    expect,
    put,
    put_byte,
    put_field,
    put_hex,
)
from vel2.check.payloads.library.controls import HCR_GUEST, invalidate_all, physical_size, set_hcr
from vel2.check.payloads.library.faults import ALIAS, MARKER, UNTOUCHED, block_of
from vel2.check.payloads.library.guest import done, enter_guest, enter_guest_el0, probe
from vel2.check.payloads.library.seen import saw
from vel2.check.payloads.library.stage1 import guest_stage1_on
from vel2.check.payloads.library.tables import (
    INPUT_BITS,
    S1_NORMAL,
    S2_NORMAL,
    TABLE,
    entry_of,
    identity_table,
    map_to,
    new_table,
)
from vel2.lang import (
    PA,
    bytes_address,
    inline,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    store_u64,
    symbol_address,
    u64,
)
from vel2.runtime.console import NEWLINE, SPACE

IPA = ALIAS + (ARENA - RAM_BASE) + 0x678
"""Its leaves and tables are made and broken; leaves of every size lead to the arena."""
AF = Stage2Leaf.AF.mask
S2AP = Stage2Leaf.S2AP
XN = Stage2Leaf.XN
NO_ACCESS = S2_NORMAL & ~S2AP.mask
READ_ONLY = NO_ACCESS | S2AP.put(1)
WRITE_ONLY = NO_ACCESS | S2AP.put(2)
ACCESSES = (
    (b"read\0", "guest_read"),
    (b"write\0", "guest_write"),
    (b"execute\0", "guest_execute"),
)
LOADS_AND_STORES = ACCESSES[:2]
READS, WRITES = 1, 2
TRANSLATIONS = (
    (b"at-s12e1r\0", "do_at_s12e1r", READS),
    (b"at-s12e1w\0", "do_at_s12e1w", WRITES),
    (b"at-s12e0r\0", "do_at_s12e0r", READS),
    (b"at-s1e1r\0", "do_at_s1e1r", READS | WRITES),
)
"""QEMU 10.0 ends on an assertion at an AT S12* that fails stage 2's permission check. The third
item says in which cases each can be run there."""
ALL = READS | WRITES
NEITHER = 4
RETURN = 0xD65F_03C0_D65F_03C0
"""Two RET: code for the execute tests; L2's x30 leads to its HVC."""


@resident
def saw_par(state: State, name: u64, subject: u64) -> None:
    """Print what an AT gave: PAR_EL1, or the exception it took."""
    if state.vector != NO_EXCEPTION:
        saw(state, name, subject)
        return
    put(bytes_address(b"saw \0"))
    put(name)
    put_byte(SPACE)
    put_hex(subject)
    put_field(bytes_address(b"par\0"), mrs(sr.PAR_EL1))
    put_byte(NEWLINE)


@resident
def access_all(state: State, address: u64, allowed: u64) -> None:
    """Let L2 access an address in the three ways, and translate it in four; print what comes.

    :param allowed: what stage 2's leaf, if there is one, permits: READS, WRITES, ALL or NEITHER.
    """
    state.guest_x[30] = symbol_address("guest_hvc")
    for name, code in ACCESSES:
        state.vector = enter_guest(state, symbol_address(code), address, UNTOUCHED)
        saw(state, bytes_address(name), address)
    for name, code, kind in TRANSLATIONS:
        if allowed & kind or kind == ALL:
            state.vector = probe(symbol_address(code), address, 0)
            saw_par(state, bytes_address(name), address)


@resident
def heading(name: u64, level: u64) -> None:
    """Print what the following lines are about."""
    put(bytes_address(b"# \0"))
    put(name)
    put_field(bytes_address(b"level\0"), level)
    put_byte(NEWLINE)


@resident
def set_leaf(state: State, root: u64, level: u64, attributes: u64) -> u64:
    """Make the leaf for `IPA` at a level, pointing at the arena; give its entry's address."""
    slot = entry_of(state, root, IPA, 1)
    store_u64(PA(slot), 0)
    map_to(state, root, block_of(IPA, level), level, block_of(ARENA, level), attributes)
    invalidate_all()
    return entry_of(state, root, IPA, level)


@resident
def unmap(state: State, root: u64) -> None:
    """Leave nothing mapped around `IPA`."""
    store_u64(PA(entry_of(state, root, IPA, 1)), 0)
    invalidate_all()


@resident
def fill_with_returns(state: State) -> None:
    """Fill the page at `ARENA` with code that returns; L2's x30 then leads to its HVC."""
    here = u64(ARENA)
    while here < ARENA + PAGE_BYTES:
        store_u64(PA(here), RETURN)
        here = u64(here + 8)
    state.guest_x[30] = symbol_address("guest_hvc")


LEAF_CASES = (
    (b"no-access-flag\0", S2_NORMAL & ~AF, ALL),
    (b"no-access\0", NO_ACCESS, NEITHER),
    (b"read-only\0", READ_ONLY, READS),
    (b"write-only\0", WRITE_ONLY, WRITES),
    (b"execute-never\0", S2_NORMAL | XN.put(2), ALL),
)


@resident
def leaf_faults(state: State, root: u64) -> None:
    """Show translation, access flag and permission faults at levels 1 to 3, and level 0."""
    for level in range(1, 4):
        slot = set_leaf(state, root, level, S2_NORMAL)
        store_u64(PA(slot), 0)
        invalidate_all()
        heading(bytes_address(b"invalid\0"), level)
        access_all(state, IPA, ALL)
        for name, attributes, allowed in LEAF_CASES:
            set_leaf(state, root, level, attributes)
            heading(bytes_address(name), level)
            access_all(state, IPA, allowed)
    slot = set_leaf(state, root, 3, S2_NORMAL)
    store_u64(PA(slot), load_u64(PA(slot)) & ~u64(2))
    invalidate_all()
    heading(bytes_address(b"reserved-type\0"), 3)
    access_all(state, IPA, ALL)
    heading(bytes_address(b"beyond-input-size\0"), 0)
    access_all(state, IPA | 1 << INPUT_BITS, ALL)
    access_all(state, IPA | 1 << 47, ALL)
    unmap(state, root)


@resident
def address_size_faults(state: State, root: u64) -> None:
    """Show outputs and tables beyond VTCR_EL2.PS = 32 bits."""
    vtcr = mrs(sr.VTCR_EL2)
    msr(sr.VTCR_EL2, vtcr & ~sr.VTCR_EL2.PS.mask)
    isb()
    for level in range(1, 4):
        slot = set_leaf(state, root, level, S2_NORMAL)
        store_u64(PA(slot), load_u64(PA(slot)) | 1 << 40)
        invalidate_all()
        heading(bytes_address(b"output-too-large\0"), level)
        access_all(state, IPA, ALL)
    for level in range(1, 3):
        slot = set_leaf(state, root, level, S2_NORMAL)
        store_u64(PA(slot), (root | 1 << 40) | TABLE)
        invalidate_all()
        heading(bytes_address(b"table-too-large\0"), level)
        access_all(state, IPA, ALL)
    store_u64(PA(entry_of(state, root, IPA, 1)), 0)
    vttbr = mrs(sr.VTTBR_EL2)
    msr(sr.VTTBR_EL2, vttbr | 1 << 40)
    invalidate_all()
    heading(bytes_address(b"vttbr-too-large\0"), 0)
    access_all(state, IPA, ALL)
    msr(sr.VTTBR_EL2, vttbr)
    msr(sr.VTCR_EL2, vtcr)
    invalidate_all()


@resident
def instructions(state: State, root: u64) -> None:
    """Show the syndrome of each kind of load and store at an unmapped address."""
    heading(bytes_address(b"instructions\0"), 0)
    for name, _ in INSTRUCTIONS:
        code = symbol_address(name)
        state.vector = enter_guest(state, code, IPA, UNTOUCHED)
        saw(state, bytes_address(b"instruction\0"), code)


INSTRUCTIONS = tuple((f"guest_{name}", word) for name, word in GUEST_INSTRUCTIONS)


@resident
def permissions(state: State, root: u64) -> None:
    """Check what S2AP allows, by what gets through."""
    for name, attributes, may_read, may_write in PERMISSION_CASES:
        set_leaf(state, root, 3, attributes)
        here = block_of(ARENA, 3) | IPA & (PAGE_BYTES - 1)
        store_u64(PA(here), MARKER)
        begin(state, bytes_address(name), IPA)
        state.vector = enter_guest(state, symbol_address("guest_read"), IPA, UNTOUCHED)
        expect(state, bytes_address(b"read\0"), done(state), may_read)
        state.vector = enter_guest(state, symbol_address("guest_write"), IPA, UNTOUCHED)
        expect(state, bytes_address(b"write\0"), done(state), may_write)
        want = u64(MARKER)
        if may_write:
            want = UNTOUCHED
        expect(state, bytes_address(b"memory\0"), load_u64(PA(here)), want)
        end(state)


PERMISSION_CASES = (
    (b"s2ap-none\0", NO_ACCESS, 0, 0),
    (b"s2ap-read-only\0", READ_ONLY, 1, 0),
    (b"s2ap-write-only\0", WRITE_ONLY, 0, 1),
    (b"s2ap-read-write\0", S2_NORMAL, 1, 1),
)


XN_CASES = (
    (b"xn-none\0", 0, 1, 1),
    (b"xn-not-el1\0", 1, 0, 1),
    (b"xn-all\0", 2, 0, 0),
    (b"xn-not-el0\0", 3, 1, 0),
)
"""XN[1:0]; whether EL1 and EL0 may execute (FEAT_XNX)."""


@resident
def execute_permissions(state: State, root: u64) -> None:
    """Check XN[1:0] for EL1 and EL0, each before and after the other has used the translation."""
    fill_with_returns(state)
    for name, xn, el1, el0 in XN_CASES:
        set_leaf(state, root, 3, S2_NORMAL | XN.put(xn))
        for _ in range(2):
            begin(state, bytes_address(name), NO_SUBJECT)
            code = symbol_address("guest_execute")
            state.vector = enter_guest_el0(state, code, IPA, 0)
            expect(state, bytes_address(b"el0\0"), returned(state), el0)
            state.vector = enter_guest(state, code, IPA, 0)
            expect(state, bytes_address(b"el1\0"), done(state), el1)
            end(state)
            saw(state, bytes_address(name), IPA)


@inline
def returned(state: State) -> u64:
    """Give 1 if L2's EL0 got to `guest_hvc`, which is UNDEFINED there."""
    if state.vector == 8 and mrs(sr.ELR_EL12) == symbol_address("guest_hvc"):
        msr(sr.ELR_EL12, 0)
        return 1
    return 0


@resident
def across_pages(state: State, root: u64) -> None:
    """Show accesses across the end of a page, with stage 1 on so that they need not be aligned."""
    own = code_table(state)
    map_to(state, own, block_of(IPA, 1), 1, block_of(IPA, 1), S1_NORMAL)
    guest_stage1_on(own)
    set_leaf(state, root, 3, S2_NORMAL)
    heading(bytes_address(b"across\0"), 3)
    last = u64(block_of(IPA, 3) + PAGE_BYTES - 3)
    first = u64(block_of(IPA, 3) - 5)
    for name, code in LOADS_AND_STORES:
        state.vector = enter_guest(state, symbol_address(code), last, UNTOUCHED)
        saw(state, bytes_address(name), last)
        state.vector = enter_guest(state, symbol_address(code), first, UNTOUCHED)
        saw(state, bytes_address(name), first)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    unmap(state, root)


CODE_END = RAM_BASE + (16 << 20)


@resident
def code_table(state: State) -> u64:
    """Make a stage 1 for L2 that maps the payload to itself."""
    return identity_table(state, CODE_END, S1_NORMAL)


@resident
def other_granules(state: State, parameters: Parameters) -> None:
    """Show L2 under stage 2 with granules of 16 KiB and 64 KiB: faults at levels 2 and 3."""
    for granule, sl0 in GRANULES:
        root = new_large_table(state)
        block = u64(1 << (2 * granule.log2_bytes - 3))
        address = u64(RAM_BASE >> (2 * granule.log2_bytes - 3) << (2 * granule.log2_bytes - 3))
        while address < parameters.ram_end:
            index = address >> (2 * granule.log2_bytes - 3)
            store_u64(PA(root + index * 8), address | S2_NORMAL | 1)
            address = u64(address + block)
        msr(
            sr.VTCR_EL2,
            sr.VTCR_EL2.res1
            | sr.VTCR_EL2.compose(
                SH0=3, ORGN0=1, IRGN0=1, SL0=sl0, TG0=granule.TG0, T0SZ=64 - GRANULE_BITS
            )
            | sr.VTCR_EL2.PS.put(physical_size()),
        )
        msr(sr.VTTBR_EL2, root | sr.VTTBR_EL2.VMID.put(GRANULE_VMID))
        isb()
        invalidate_all()
        slot = u64(root + (GRANULE_IPA >> (2 * granule.log2_bytes - 3)) * 8)
        heading(bytes_address(b"granule-invalid\0"), granule.log2_bytes)
        access_all(state, GRANULE_IPA, ALL)
        table = new_large_table(state)
        store_u64(PA(slot), table | TABLE)
        index = GRANULE_IPA >> granule.log2_bytes & ((1 << granule.bits_per_level) - 1)
        leaf = u64(table + index * 8)
        heading(bytes_address(b"granule-invalid-page\0"), granule.log2_bytes)
        access_all(state, GRANULE_IPA, ALL)
        for name, attributes, allowed in LEAF_CASES:
            store_u64(PA(leaf), ARENA | attributes | TABLE)
            invalidate_all()
            heading(bytes_address(name), granule.log2_bytes)
            access_all(state, GRANULE_IPA, allowed)
        store_u64(PA(slot), 0)
        invalidate_all()


GRANULES = ((GRANULE_16K, 1), (GRANULE_64K, 1))
"""With SL0: from level 2, in one table."""
GRANULE_BITS = 36
GRANULE_IPA = 0x8_1234_5678
GRANULE_VMID = 9
LARGE_TABLE = 0x1_0000


@resident
def new_large_table(state: State) -> u64:
    """Take a cleared table for any granule, aligned to 64 KiB."""
    new_table(state)
    while state.next_table & (LARGE_TABLE - 1):
        new_table(state)
    table = state.next_table
    for _ in range(LARGE_TABLE // PAGE_BYTES):
        new_table(state)
    return table


@resident
def access_flag_by_hardware(state: State, root: u64) -> None:
    """Check VTCR_EL2.HA, with FEAT_HAFDBS: a leaf without AF works, and has AF afterwards."""
    if sr.ID_AA64MMFR1_EL1.HAFDBS.get(mrs(sr.ID_AA64MMFR1_EL1)) == 0:
        return
    use_39_bits(root, sr.VTCR_EL2.HA.mask)
    for level in range(1, 4):
        slot = set_leaf(state, root, level, S2_NORMAL & ~AF)
        begin(state, bytes_address(b"hardware-access-flag\0"), level)
        state.vector = enter_guest(state, symbol_address("guest_read"), IPA, UNTOUCHED)
        expect(state, bytes_address(b"read\0"), done(state), 1)
        expect(state, bytes_address(b"af\0"), load_u64(PA(slot)) & AF, AF)
        end(state)
    use_39_bits(root, 0)
    invalidate_all()


@resident
def use_39_bits(root: u64, more: u64) -> None:
    """Use a 4 KiB-granule stage 2 with more bits of VTCR_EL2."""
    msr(
        sr.VTCR_EL2,
        sr.VTCR_EL2.res1
        | sr.VTCR_EL2.compose(SH0=3, ORGN0=1, IRGN0=1, SL0=1, T0SZ=64 - INPUT_BITS)
        | sr.VTCR_EL2.PS.put(physical_size())
        | more,
    )
    msr(sr.VTTBR_EL2, root | sr.VTTBR_EL2.VMID.put(GRANULE_VMID))
    set_hcr(HCR_GUEST)
    isb()


@resident
def attributes(state: State, root: u64) -> None:
    """Show the memory attributes AT S12E1R gives: those of both stages combined."""
    use_39_bits(root, 0)
    own = new_table(state)
    map_to(state, own, block_of(IPA, 1), 1, block_of(IPA, 1), S1_NORMAL)
    for stage1 in range(2):
        for memattr in range(16):
            set_leaf(state, root, 3, S2_NORMAL & ~MEMATTR.mask | MEMATTR.put(memattr))
            if stage1:
                guest_stage1_on(own)
            if memattr & 3 or memattr < 4:
                heading(bytes_address(b"memattr\0"), memattr)
                state.vector = probe(symbol_address("do_at_s12e1r"), IPA, 0)
                saw_par(state, bytes_address(b"at-s12e1r\0"), stage1)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    if sr.ID_AA64MMFR2_EL1.FWB.get(mrs(sr.ID_AA64MMFR2_EL1)) != 0:
        attributes_with_fwb(state, root, own)
    unmap(state, root)


@resident
def attributes_with_fwb(state: State, root: u64, own: u64) -> None:
    """Show the same with HCR_EL2.FWB, where stage 2 decides, and that L2 runs under it.

    Device memory in both stages is left out: QEMU takes stage 2's type, not the stronger one.
    """
    set_hcr(HCR_GUEST | sr.HCR_EL2.FWB.mask)
    isb()
    for stage1 in range(2):
        invalidate_all()
        if stage1:
            guest_stage1_on(own)
        for memattr in MEMATTR_FWB:
            if stage1 or memattr >= FIRST_NORMAL_FWB:
                set_leaf(state, root, 3, S2_NORMAL & ~MEMATTR.mask | MEMATTR.put(memattr))
                invalidate_all()
                heading(bytes_address(b"memattr-fwb\0"), memattr)
                state.vector = probe(symbol_address("do_at_s12e1r"), IPA, 0)
                saw_par(state, bytes_address(b"at-s12e1r\0"), stage1)
                if stage1 == 0:
                    begin(state, bytes_address(b"read-fwb\0"), memattr)
                    state.vector = enter_guest(state, symbol_address("guest_read"), IPA, UNTOUCHED)
                    expect(state, bytes_address(b"read\0"), done(state), 1)
                    end(state)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    set_hcr(HCR_GUEST)
    isb()


MEMATTR_FWB = tuple(int(value) for value in S2MemAttrFWB)
FIRST_NORMAL_FWB = int(S2MemAttrFWB.NORMAL_NC)
MEMATTR = Stage2Leaf.MemAttr

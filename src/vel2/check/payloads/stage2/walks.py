"""The part of `stage2` where stage 1 has a part too: walks of L2's tables, EL0, HCR_EL2.TGE."""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, Stage1Leaf, Stage2Leaf
from vel2.check.payloads.layout import ARENA, State
from vel2.check.payloads.library.assembly import SCTLR_OFF
from vel2.check.payloads.library.controls import HCR_GUEST, has_e2h, invalidate_all, set_hcr
from vel2.check.payloads.library.faults import ALIAS, UNTOUCHED, block_of
from vel2.check.payloads.library.guest import enter_guest, enter_guest_el0, probe
from vel2.check.payloads.library.seen import saw
from vel2.check.payloads.library.stage1 import guest_stage1_on
from vel2.check.payloads.library.tables import (
    INDEX_MASK,
    S1_NORMAL,
    S2_NORMAL,
    TABLE,
    entry_of,
    map_to,
    new_table,
)
from vel2.check.payloads.stage2.faults import (
    AF,
    ALL,
    IPA,
    NO_ACCESS,
    READ_ONLY,
    TRANSLATIONS,
    WRITE_ONLY,
    XN,
    access_all,
    code_table,
    fill_with_returns,
    heading,
    saw_par,
    set_leaf,
    unmap,
    use_39_bits,
)
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    mrs,
    msr,
    resident,
    store_u64,
    symbol_address,
    u64,
)


@resident
def stage1_walk_faults(state: State, root: u64) -> None:
    """Show stage-2 faults on L2's stage-1 walk: the stage-1 table of each level is at `IPA`."""
    own = code_table(state)
    guest_stage1_on(own)
    va = u64(ALIAS + 0x7_6543_2108)
    for level in range(2, 4):
        store_u64(PA(entry_of(state, own, va, 1)), 0)
        slot = entry_of(state, own, va, u64(level - 1))
        store_u64(PA(slot), block_of(IPA, 3) | TABLE)
        for name, attributes in WALK_CASES:
            leaf = set_leaf(state, root, 3, attributes)
            if attributes == 0:
                store_u64(PA(leaf), 0)
                invalidate_all()
            heading(bytes_address(name), level)
            access_all(state, va, ALL)
        for name, attributes in DEVICE_WALK_CASES:
            set_leaf(state, root, 3, attributes)
            for hcr in (0, sr.HCR_EL2.PTW.mask):
                set_hcr(HCR_GUEST | hcr)
                isb()
                invalidate_all()
                heading(bytes_address(name), hcr)
                access_all(state, va, ALL)
            set_hcr(HCR_GUEST)
            isb()
    store_u64(PA(entry_of(state, own, va, 1)), 0)
    access_flag_of_guest(state, own, root, va)
    store_u64(PA(entry_of(state, own, va, 1)), 0)
    store_u64(PA(entry_of(state, root, IPA, 1)), 0)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    invalidate_all()


WALK_CASES = (
    (b"walk-invalid\0", 0),
    (b"walk-no-access-flag\0", S2_NORMAL & ~AF),
    (b"walk-no-access\0", NO_ACCESS),
    (b"walk-write-only\0", WRITE_ONLY),
)


DEVICE_WALK_CASES = (
    (b"walk-device\0", S2_NORMAL & ~Stage2Leaf.MemAttr.mask | Stage2Leaf.MemAttr.put(1)),
    (b"walk-not-device\0", S2_NORMAL),
)
"""What HCR_EL2.PTW is about."""


@resident
def access_flag_of_guest(state: State, own: u64, root: u64, va: u64) -> None:
    """Show L2's walk that sets an access flag, in a table that stage 2 lets it write or not."""
    tcr = mrs(sr.TCR_EL12)
    msr(sr.TCR_EL12, tcr | sr.TCR_EL1.HA.mask)
    isb()
    store_u64(PA(entry_of(state, own, va, 2)), block_of(IPA, 3) | TABLE)
    for name, attributes in ACCESS_FLAG_CASES:
        set_leaf(state, root, 3, attributes)
        slot = u64(block_of(ARENA, 3) + (va >> GRANULE_4K.log2_bytes & INDEX_MASK) * 8)
        store_u64(PA(slot), ARENA | S1_NORMAL & ~AF | TABLE)
        dsb_sy()
        heading(bytes_address(name), 3)
        access_all(state, va, ALL)
        store_u64(PA(slot), 0)
    msr(sr.TCR_EL12, tcr)
    isb()


ACCESS_FLAG_CASES = (
    (b"walk-sets-flag\0", S2_NORMAL),
    (b"walk-may-not-set-flag\0", READ_ONLY),
)


@resident
def execute_only(state: State, root: u64) -> None:
    """Show EL0's fetch from an execute-only page, after EL1 has read it, where stage 2 forbids it.

    Stage 1 lets EL0 execute but not read there, and EL1 read but not execute.
    """
    fill_with_returns(state)
    own = code_table(state)
    map_to(state, own, block_of(IPA, 3), 3, block_of(IPA, 3), S1_NORMAL | Stage1Leaf.PXN.mask)
    guest_stage1_on(own)
    for xn in range(4):
        set_leaf(state, root, 3, S2_NORMAL | XN.put(xn))
        heading(bytes_address(b"execute-only\0"), xn)
        code = symbol_address("guest_read")
        state.vector = enter_guest(state, code, IPA, UNTOUCHED)
        saw(state, bytes_address(b"read\0"), IPA)
        code = symbol_address("guest_execute")
        state.vector = enter_guest_el0(state, code, IPA, UNTOUCHED)
        saw(state, bytes_address(b"execute\0"), IPA)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    unmap(state, root)


@resident
def translation_with_tge(state: State, root: u64) -> None:
    """Show AT with HCR_EL2.TGE: the guest's stage 1 is off, and with E2H so is its stage 2.

    With E2H=0 and stage 1 on, QEMU does not implement the first: that is left out.
    """
    own = new_table(state)
    map_to(state, own, block_of(IPA, 1), 1, block_of(IPA, 1), S1_NORMAL)
    set_leaf(state, root, 3, S2_NORMAL)
    for stage1 in range(2):
        if stage1:
            guest_stage1_on(own)
        for more in (0, sr.HCR_EL2.TGE.mask, sr.HCR_EL2.compose(TGE=1, DC=1)):
            if more != sr.HCR_EL2.TGE.mask or stage1 == 0 or has_e2h():
                set_hcr(HCR_GUEST | more)
                isb()
                heading(bytes_address(b"tge\0"), more)
                for name, code, _ in TRANSLATIONS:
                    state.vector = probe(symbol_address(code), IPA, 0)
                    saw_par(state, bytes_address(name), stage1)
    set_hcr(HCR_GUEST)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    unmap(state, root)


@resident
def reserved_granule(state: State, root: u64) -> None:
    """Show VTCR_EL2.TG0 = 0b11, for which the machine may choose a granule."""
    set_leaf(state, root, 3, S2_NORMAL)
    use_39_bits(root, sr.VTCR_EL2.TG0.mask)
    invalidate_all()
    heading(bytes_address(b"reserved-granule\0"), 3)
    access_all(state, IPA, ALL)
    use_39_bits(root, 0)
    unmap(state, root)

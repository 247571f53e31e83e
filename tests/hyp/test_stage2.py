"""Hardware's stage-2 tables and the pool their pages come from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import (
    BIG_RAM_BASE,
    DEVICE_BASE,
    GIB,
    MIB,
    RAM_BASE,
    RAM_BYTES,
    REGIONS,
    Op,
    Rig,
    fresh_rig,
    shared_rig,
)
from vel2.arch.descriptors import Stage2Leaf
from vel2.hyp import pool, stage2
from vel2.hyp.state import REGION_DEVICE, REGION_RAM, SHADOW_CONTEXTS, Stage2

ADDRESS = 0xFFFF_FFFF_F000
SMALL_POOL = 30
"""The roots, the records and the canonical tables leave a handful."""

LEAVES = st.one_of(
    st.tuples(st.just(3), st.integers(0, 5).map(lambda n: n * 0x1000)),
    st.tuples(st.just(3), st.integers(0, 3).map(lambda n: 0x1F_F000 + n * 0x1000)),
    st.tuples(st.just(3), st.integers(0, 5).map(lambda n: n * GIB)),
    st.tuples(st.just(2), st.integers(0, 5).map(lambda n: n * 2 * MIB)),
    st.tuples(st.just(1), st.integers(0, 5).map(lambda n: n * GIB)),
    st.tuples(st.just(3), st.just((1 << 40) - 0x1000)),
)


def size_of(level: int) -> int:
    """Give the bytes that a leaf maps."""
    return 1 << (39 - 9 * level)


def descriptor(level: int, number: int) -> int:
    """Make a distinct valid leaf."""
    return number << 30 & ADDRESS | 0x7FC | (3 if level == 3 else 1)


class Model:
    """What a set of tables maps, as a dictionary."""

    def __init__(self) -> None:
        self.leaves: dict[int, tuple[int, int]] = {}

    def overlapping(self, ipa: int, level: int) -> list[int]:
        """List the leaves that share an address with a leaf."""
        end = ipa + size_of(level)
        return [at for at, (own, _) in self.leaves.items() if at < end and ipa < at + size_of(own)]

    def take_out(self, ipa: int, level: int) -> bool:
        """Remove what a leaf will replace; tell whether there was anything."""
        old = self.overlapping(ipa, level)
        for at in old:
            del self.leaves[at]
        return bool(old)


def flushes(rig: Rig, context: Stage2) -> int:
    """Count the invalidations of a context's whole VMID."""
    wanted = ("TLBI VMALLS12E1IS", context.vttbr)
    return sum((op.name, op.vttbr) == wanted for op in rig.instructions())


@pytest.mark.parametrize("pa_bits", [40, 48])
@settings(max_examples=25)
@given(wanted=st.lists(LEAVES, max_size=14))
def test_tables_map_what_was_asked_for_last(pa_bits: int, wanted: list[tuple[int, int]]) -> None:
    """Show that any sequence of leaves of any sizes leaves what a dictionary says, by BBM."""
    rig = fresh_rig(pa_bits)
    context = rig.vm.stage2.shadows[0]
    context.in_use = context.dirty = 1
    model = Model()

    def broken_before_made(op: Op) -> None:
        if op.name.startswith("TLBI"):
            assert rig.leaves(context) == model.leaves, "a leaf was not invalid at its TLBI"

    rig.sim.watch = broken_before_made
    for number, (level, ipa) in enumerate(wanted, start=1):
        leaf = descriptor(level, number)
        replaced = model.take_out(ipa, level)
        rig.sim.trace.clear()
        assert rig.run(stage2.map_leaf, rig.vm, context, ipa, level, leaf, 0)
        assert flushes(rig, context) >= replaced, "a valid leaf was replaced without a TLBI"
        model.leaves[ipa] = (level, leaf)
    assert rig.leaves(context) == model.leaves
    rig.check_pool()
    for ipa, (level, leaf) in model.leaves.items():
        found = rig.run(stage2.find_leaf, rig.vm, context.root, ipa + size_of(level) - 1)
        assert found == leaf


@settings(max_examples=40)
@given(wanted=st.lists(st.tuples(st.integers(0, 2), LEAVES), max_size=20))
def test_an_empty_pool_leaves_everything_consistent(
    wanted: list[tuple[int, tuple[int, int]]],
) -> None:
    """Show that exhaustion and eviction lose no page and never leave a mapping that is stale."""
    rig = fresh_rig(48, SMALL_POOL)
    models = [Model() for _ in range(3)]
    for number, (which, (level, ipa)) in enumerate(wanted, start=1):
        context, model = rig.vm.stage2.shadows[which], models[which]
        context.in_use = context.dirty = 1
        rig.vm.stage2.contexts = 3
        context.last_use = number
        model.take_out(ipa, level)
        leaf = descriptor(level, number)
        if rig.run(stage2.map_leaf, rig.vm, context, ipa, level, leaf, 0):
            model.leaves[ipa] = (level, leaf)
        for other, expected in zip(rig.vm.stage2.shadows, models, strict=False):
            found = rig.leaves(other)
            assert found.items() <= expected.leaves.items()
            if other.root != context.root and expected.leaves and not found:
                expected.leaves.clear()  # evicted as a whole
                older = [c for c in rig.vm.stage2.shadows if c.pages and c.root != context.root]
                assert all(other.last_use < c.last_use for c in older), "not the oldest went"
            assert found == expected.leaves
        rig.check_pool()


def test_a_table_is_used_again_by_its_context() -> None:
    """Show that a table cut off by a block goes to the spare list and comes back from it."""
    rig = fresh_rig()
    context = rig.vm.stage2.shadows[0]
    rig.run(stage2.map_leaf, rig.vm, context, 0x1000, 3, descriptor(3, 1), 0)
    used = rig.vm.stage2.pool_used
    rig.run(stage2.map_leaf, rig.vm, context, 0, 1, descriptor(1, 2), 0)
    assert len(rig.chain(context.spare, "next_spare")) == 1, "the one below comes when it is taken"
    rig.check_pool()
    rig.run(stage2.map_leaf, rig.vm, context, GIB, 3, descriptor(3, 3), 0)
    assert context.spare == 0 and rig.vm.stage2.pool_used == used
    assert rig.leaves(context) == {0: (1, descriptor(1, 2)), GIB: (3, descriptor(3, 3))}


@given(pages=st.integers(0, 8))
@settings(max_examples=9)
def test_all_pages_come_back(pages: int) -> None:
    """Show that `give_back_all` returns every page, spare ones too, exactly once."""
    rig = fresh_rig()
    context = rig.vm.stage2.shadows[2]
    before = rig.vm.stage2.pool_used
    for _ in range(pages):
        assert rig.run(pool.take, rig.vm, context)
    assert rig.vm.stage2.pool_used == before + pages
    rig.run(pool.give_back_all, rig.vm, context)
    assert rig.vm.stage2.pool_used == before and context.pages == context.spare == 0
    rig.check_pool()


def test_pages_are_taken_cleared() -> None:
    """Show that nothing of a page's last use is in it when it is taken again."""
    rig = fresh_rig()
    page = rig.run(pool.take, rig.vm, rig.vm.stage2.shadows[0])
    for offset in range(0, 0x1000, 8):
        rig.store(page + offset, 0x5A5A_5A5A)
    rig.run(pool.give_back_all, rig.vm, rig.vm.stage2.shadows[0])
    again = rig.run(pool.take, rig.vm, rig.vm.stage2.shadows[1])
    assert again == page
    assert not any(rig.load(again + offset) for offset in range(0, 0x1000, 8))


@pytest.mark.parametrize("pa_bits", [40, 48])
@settings(max_examples=20)
@given(data=st.data())
def test_identity_map_is_exact_and_coarse(pa_bits: int, data: st.DataObject) -> None:
    """Show that a range is mapped to itself, all of it and nothing else, in the largest blocks."""
    rig = fresh_rig(pa_bits)
    context = rig.vm.stage2.canonical
    before = rig.leaves(context)
    base = 8 * GIB + data.draw(st.integers(0, 2 * GIB // 0x1000)) * 0x1000
    if data.draw(st.booleans()):
        base &= -2 * MIB
    size = data.draw(st.one_of(st.integers(1, 1100), st.integers(1, 3 * GIB // 0x1000))) * 0x1000
    assert rig.run(
        stage2.map_identity, rig.vm, rig.vm.stage2.canonical, base, size, stage2.RAM_ATTRIBUTES
    )
    after = rig.leaves(context)
    assert before.items() <= after.items()
    covered = base
    for ipa in sorted(after.keys() - before.keys()):
        level, leaf = after[ipa]
        assert ipa == covered == leaf & ADDRESS
        covered += size_of(level)
        larger = size_of(level - 1)
        assert level == 1 or ipa % larger or base + size - ipa < larger
    assert covered == base + size
    rig.check_pool()


@pytest.mark.parametrize("pa_bits", [40, 48])
def test_pages_say_which_block_they_make_up(pa_bits: int) -> None:
    """Show that by pages the same is mapped as by blocks, each marked with that block's level."""
    base, size = 8 * GIB + 6 * MIB - 0x3000, 5 * MIB
    maps = []
    for by_pages in (0, 1):
        rig = fresh_rig(pa_bits)
        rig.vm.config.canonical_by_pages = by_pages
        before = rig.leaves(rig.vm.stage2.canonical)
        assert rig.run(
            stage2.map_identity, rig.vm, rig.vm.stage2.canonical, base, size, stage2.RAM_ATTRIBUTES
        )
        after = rig.leaves(rig.vm.stage2.canonical)
        mapped = {}
        for ipa in after.keys() - before.keys():
            level, leaf = after[ipa]
            for page in range(0, size_of(level), 0x1000):
                mapped[ipa + page] = leaf + page & ~Stage2Leaf.TYPE.mask
        maps.append(mapped)
        assert by_pages == 0 or {after[ipa][0] for ipa in after.keys() - before.keys()} == {3}
        rig.check_pool()
    assert maps[0] == maps[1] and len(maps[0]) == size // 0x1000
    assert {Stage2Leaf.SW.get(leaf) for leaf in maps[1].values()} == {2, 3}


def test_huge_device_windows_stay_blocks() -> None:
    """Show that a gigabyte of devices takes one entry, whatever the host asked for."""
    rig = fresh_rig()
    rig.vm.config.canonical_by_pages = 1
    base = 8 * GIB
    before = rig.leaves(rig.vm.stage2.canonical)
    assert rig.run(
        stage2.map_identity,
        rig.vm,
        rig.vm.stage2.canonical,
        base,
        2 * GIB,
        stage2.DEVICE_ATTRIBUTES,
    )
    after = rig.leaves(rig.vm.stage2.canonical)
    assert {ipa: after[ipa][0] for ipa in after.keys() - before.keys()} == {
        base: 1,
        base + GIB: 1,
    }


@pytest.mark.parametrize("pa_bits", [32, 36, 40, 42, 44, 48, 52])
def test_canonical_tables_map_the_memory_map_only(pa_bits: int) -> None:
    """Show for every physical address size that L1's map, and not a byte of L0, is reachable."""
    regions = tuple(region for region in REGIONS if region[0] + region[1] <= 1 << min(pa_bits, 48))
    rig = Rig(pa_bits, 200, regions)
    assert rig.ready
    mapped = 0
    for ipa, (level, leaf) in rig.leaves(rig.vm.stage2.canonical).items():
        assert leaf & ADDRESS == ipa
        inside = [kind for base, size, kind in regions if base <= ipa < base + size]
        assert len(inside) == 1
        assert Stage2Leaf.MemAttr.get(leaf) == (0xF if inside[0] == REGION_RAM else 1)
        assert Stage2Leaf.XN.get(leaf) == (0 if inside[0] == REGION_RAM else 2)
        mapped += size_of(level)
    assert mapped == sum(size for _, size, _ in regions)
    rig.check_pool()
    roots = [context.root for context in (rig.vm.stage2.canonical, *rig.vm.stage2.shadows)]
    root_bytes = roots[1] - roots[0]
    assert all(root % root_bytes == 0 for root in roots)
    assert (
        len({context.vttbr >> 48 for context in (rig.vm.stage2.canonical, *rig.vm.stage2.shadows)})
        == 1 + SHADOW_CONTEXTS
    )


def test_a_region_beyond_the_address_size_maps_nothing() -> None:
    """Show that a window the machine cannot address does not spill over the root table."""
    high = (1 << 40, GIB, REGION_DEVICE)
    rig = Rig(40, 96, (*REGIONS, high))
    assert rig.ready
    assert not any(rig.leaves(context) for context in rig.vm.stage2.shadows)
    assert rig.leaves(rig.vm.stage2.canonical) == shared_rig(40).leaves(
        shared_rig(40).vm.stage2.canonical
    )


@given(ipa=st.integers(0, (1 << 64) - 1))
@settings(max_examples=60)
def test_holes_have_no_leaf(ipa: int) -> None:
    """Show that an address has a canonical leaf exactly if the memory map has it."""
    rig = fresh_rig()
    mapped = any(base <= ipa < base + size for base, size, _ in REGIONS)
    assert (rig.run(stage2.canonical_leaf, rig.vm, ipa) != 0) == mapped
    ram = any(base <= ipa < base + size for base, size, kind in REGIONS if kind == REGION_RAM)
    assert rig.run(stage2.is_ram, rig.vm, ipa) == ram


@pytest.mark.parametrize(
    ("ipa", "leaf", "ram"),
    [
        (RAM_BASE - 1, False, False),
        (RAM_BASE, True, True),
        (RAM_BASE + RAM_BYTES - 1, True, True),
        (RAM_BASE + RAM_BYTES, False, False),
        (BIG_RAM_BASE, True, True),
        (DEVICE_BASE, True, False),
        (DEVICE_BASE + 0x3000, False, False),
        (1 << 48, False, False),
        ((1 << 64) - 1, False, False),
    ],
)
def test_edges_of_regions(ipa: int, leaf: bool, ram: bool) -> None:
    """Show both sides of each edge of the memory map."""
    rig = fresh_rig()
    assert (rig.run(stage2.canonical_leaf, rig.vm, ipa) != 0) == leaf
    assert rig.run(stage2.is_ram, rig.vm, ipa) == ram

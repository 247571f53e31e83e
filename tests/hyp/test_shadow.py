"""Shadow stage 2: which context L1's registers mean, what is filled in, and what TLBI takes out."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import (
    BIG_RAM_BASE,
    BIG_RAM_BYTES,
    DEVICE_BASE,
    FAR_DEVICE_BASE,
    GIB,
    MIB,
    RAM_BASE,
    REGIONS,
    Rig,
    fresh_rig,
)
from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.insn import TLBI
from vel2.hyp import shadow, stage2, tlbi
from vel2.hyp.state import REGION_DEVICE, SHADOW_CONTEXTS, Stage2

ADDRESS = 0xFFFF_FFFF_F000
VM = sr.HCR_EL2.VM.mask
DC = sr.HCR_EL2.DC.mask
VS = sr.VTCR_EL2.VS.mask
CnP = sr.VTTBR_EL2.CnP.mask


class Key(NamedTuple):
    """What L1 has in its stage-2 registers."""

    hcr: int
    vttbr: int
    vtcr: int


def select(rig: Rig, key: Key) -> int:
    """Enter vEL1 with L1's registers; give the number of the context chosen."""
    rig.set_slot(sr.HCR_EL2, key.hcr)
    rig.set_slot(sr.VTTBR_EL2, key.vttbr)
    rig.set_slot(sr.VTCR_EL2, key.vtcr)
    rig.run(shadow.select, rig.vcpu)
    for number, context in enumerate(rig.vm.stage2.shadows):
        if rig.sim.address_of(context) == rig.vcpu.shadow:
            return number
    raise AssertionError("the vcpu's shadow is none of the contexts")


def meaning(key: Key) -> tuple[int, ...]:
    """Say what must differ for two settings to be different translations."""
    vmid = key.vttbr >> 48 & (0xFFFF if key.vtcr & VS else 0xFF)
    if key.hcr & (VM | DC) == 0:
        return (0, vmid)
    return (1, key.vttbr & ~CnP, key.vtcr)


KEYS = st.builds(
    Key,
    st.sampled_from((0, VM, VM, VM, DC)),
    st.builds(
        lambda vmid, base, cnp: vmid << 48 | base << 12 | cnp,
        st.sampled_from((0, 1, 2, 0x101, 0x102, 0xFFFF)),
        st.sampled_from((0x40000, 0x40001)),
        st.integers(0, 1),
    ),
    st.sampled_from((0x19, 0x19 | VS)),
)


@settings(max_examples=40)
@given(keys=st.lists(KEYS, min_size=1, max_size=40))
def test_contexts_are_a_cache_of_meanings(keys: list[Key]) -> None:
    """Show key equality (VMID of 8 or 16 bits, CnP, stage 2 off), and that room is used first."""
    rig = fresh_rig()
    cache: dict[int, tuple[int, ...]] = {}
    for key in keys:
        wanted = meaning(key)
        number = select(rig, key)
        if wanted in cache.values():
            assert cache.get(number) == wanted, "a known meaning got another context"
        else:
            assert number not in cache, "a context was evicted although one was free"
        cache[number] = wanted
        assert rig.vm.stage2.contexts == len(cache)
        context = rig.vm.stage2.shadows[number]
        root = context.root if key.hcr & (VM | DC) else rig.vm.stage2.canonical.root
        assert rig[sr.VTTBR_EL2] == context.vttbr == root | (2 + number) << 48
        assert context.dirty


def guest(number: int) -> Key:
    """Give the key of one of many guests."""
    return Key(VM, number + 1 << 48 | 0x4000_0000, VS | 0x19)


@pytest.mark.parametrize(("more", "at_least"), [(1, 0.9), (8, 0.5), (16, 0.3)])
def test_one_guest_more_than_contexts_is_no_cliff(more: int, at_least: float) -> None:
    """Show how many of L1's guests keep their context when it runs all of them in turn.

    If the context unused for longest went, none would.
    """
    rig = fresh_rig()
    kept = turns = 0
    for round_number in range(12):
        for number in range(SHADOW_CONTEXTS + more):
            before = {context.guest_vttbr for context in rig.vm.stage2.shadows}
            key = guest(number)
            rig.set_slot(sr.HCR_EL2, key.hcr)
            rig.set_slot(sr.VTTBR_EL2, key.vttbr)
            rig.set_slot(sr.VTCR_EL2, key.vtcr)
            rig.prepare(shadow.select, rig.vcpu)
            turns += round_number > 3
            kept += round_number > 3 and key.vttbr in before
    assert kept / turns >= at_least
    assert len({context.guest_vttbr for context in rig.vm.stage2.shadows}) == SHADOW_CONTEXTS


def test_a_context_that_runs_is_never_given_away() -> None:
    """Show that what a vCPU ran last stays its own while hundreds of other contexts are wanted."""
    rig = fresh_rig()
    for number in range(SHADOW_CONTEXTS):
        select(rig, guest(number))
    held = rig.stage2_of(rig.vcpu.shadow)
    key = held.guest_vttbr
    for _ in range(4 * SHADOW_CONTEXTS):
        first = rig.run(shadow.vacant, rig.vm)
        assert rig.vm.stage2.shadows[first].root != held.root
    assert held.guest_vttbr == key


def test_an_evicted_context_starts_empty_and_flushed() -> None:
    """Show that nothing of the L2 before is left for the next owner of a context."""
    for pa_bits in (40, 48):
        rig = fresh_rig(pa_bits)
        for n in range(SHADOW_CONTEXTS):
            select(rig, guest(n))
            put_leaf(rig, 30, BIG_RAM_BASE, 0, 0x123)
        assert all(rig.leaves(context) for context in rig.vm.stage2.shadows)
        number = select(rig, Key(VM, 0xAAAA << 48 | 0x4000_0000, VS | 0x19))
        evicted = rig.vm.stage2.shadows[number]
        assert rig.leaves(evicted) == {}
        assert ("TLBI VMALLS12E1IS", evicted.vttbr) in [
            (o.name, o.vttbr) for o in rig.instructions()
        ]
        assert sum(not rig.leaves(context) for context in rig.vm.stage2.shadows) == 1
        rig.check_pool()


def put_leaf(rig: Rig, shift: int, output_base: int, ipa_base: int, offset: int) -> bool:
    """Fill in the shadow leaf for one address of a leaf of L1; False where L1 has a hole."""
    found = rig.vcpu.walk
    found.output = output_base + offset
    found.shift = shift
    found.level = 1 if shift >= 30 else 2 if shift >= 21 else 3
    found.s2ap, found.xn, found.memattr, found.sh = 3, 0, 0xF, 3
    canonical = rig.prepare(stage2.canonical_leaf, rig.vm, output_base + offset)
    if canonical:
        rig.prepare(shadow.fill, rig.vcpu, ipa_base + offset, canonical)
    return canonical != 0


def running(pa_bits: int = 48, pool_pages: int = 96) -> tuple[Rig, Stage2]:
    """Give a rig that runs L2 under one shadow context."""
    rig = fresh_rig(pa_bits, pool_pages)
    return rig, rig.vm.stage2.shadows[select(rig, Key(VM, 1 << 48 | RAM_BASE, 0x19))]


OUTPUTS = st.one_of(
    st.integers(BIG_RAM_BASE, BIG_RAM_BASE + BIG_RAM_BYTES - 1),
    st.integers(RAM_BASE, RAM_BASE + 2 * MIB - 1),
    st.integers(DEVICE_BASE, DEVICE_BASE + 0x2FFF),
)


@settings(max_examples=80)
@given(
    pa_bits=st.sampled_from((40, 48)),
    output=OUTPUTS,
    ipa=st.integers(0, (1 << 40) - 1),
    shift=st.sampled_from((12, 14, 16, 21, 25, 29, 30)),
    s2ap=st.integers(0, 3),
    xn=st.integers(0, 3),
    memattr=st.integers(0, 15),
    sh=st.integers(0, 3),
)
def test_fill_never_gives_more_than_both_allow(
    pa_bits: int, output: int, ipa: int, shift: int, s2ap: int, xn: int, memattr: int, sh: int
) -> None:
    """Show for random leaves that address, size, permissions and type are those of both stages."""
    rig, context = running(pa_bits)
    offset = ipa & ((1 << shift) - 1)
    output = output & -(1 << shift) | offset
    canonical = rig.run(stage2.canonical_leaf, rig.vm, output)
    if canonical == 0:
        return
    found = rig.vcpu.walk
    found.output, found.shift = output, shift
    found.level = 1 if shift >= 30 else 2 if shift >= 21 else 3
    found.s2ap, found.xn, found.memattr, found.sh = s2ap, xn, memattr, sh
    rig.run(shadow.fill, rig.vcpu, ipa, canonical)
    ((base, (level, leaf)),) = rig.leaves(context).items()
    size = 1 << (39 - 9 * level)
    assert base == ipa & -size
    assert leaf & ADDRESS == output & -size, "L2 sees another address than L1 gave it"
    assert size <= 1 << shift, "the shadow leaf is larger than L1's"
    ((region_base, region_size, kind),) = (
        region for region in REGIONS if region[0] <= output < region[0] + region[1]
    )
    assert region_base <= leaf & ADDRESS
    assert (leaf & ADDRESS) + size <= region_base + region_size, "L1 has less memory than L2 sees"
    device = kind == REGION_DEVICE
    executable = {0: {0, 1}, 1: {0}, 2: set(), 3: {1}}
    allowed = executable[xn] if not device else set()
    assert executable[Stage2Leaf.XN.get(leaf)] == allowed
    assert Stage2Leaf.S2AP.get(leaf) == s2ap
    assert Stage2Leaf.MemAttr.get(leaf) == (1 if device else memattr)
    assert device or Stage2Leaf.SH.get(leaf) == sh
    assert Stage2Leaf.AF.get(leaf) == 1 and leaf >> 55 == 0
    rig.check_pool()


@pytest.mark.parametrize("before", [12, 21, 30])
@pytest.mark.parametrize("after", [12, 21, 30])
def test_an_entry_is_never_replaced_while_it_may_be_in_a_tlb(before: int, after: int) -> None:
    """Show that another leaf for an address comes after a TLBI under the VMID of the context.

    The rig refuses one that is there before the old one is out of every TLB (`ordering`).
    """
    rig, context = running()
    put_leaf(rig, before, BIG_RAM_BASE, 0, 0)
    found = rig.vcpu.walk
    found.output, found.shift = BIG_RAM_BASE + GIB, after
    found.level = 1 if after >= 30 else 2 if after >= 21 else 3
    canonical = rig.prepare(stage2.canonical_leaf, rig.vm, found.output)
    rig.run(shadow.fill, rig.vcpu, 0, canonical)
    assert [op.name for op in rig.instructions()] == ["TLBI VMALLS12E1IS"]
    assert rig.instructions()[0].vttbr == context.vttbr
    leaf = rig.leaves(context)[0]
    assert leaf[1] & ADDRESS == BIG_RAM_BASE + GIB and leaf[0] == found.level
    rig.check_pool()


def test_fill_in_an_empty_pool_gives_up_the_oldest_then_itself() -> None:
    """Show that L2 always gets on: another context's tables go first, then its own."""
    rig, context = running(48, 28)
    free = rig.vm.stage2.pool_pages - rig.vm.stage2.pool_used
    assert 3 <= free <= 6
    page = 0
    for page in range(2 * free):
        put_leaf(rig, 12, BIG_RAM_BASE, page * GIB, 0)
        assert rig.vm.stage2.pool_used <= rig.vm.stage2.pool_pages
        rig.check_pool()
    put_leaf(rig, 12, BIG_RAM_BASE, page * GIB, 0)
    assert page * GIB in rig.leaves(context)


CASES = [
    (30, 0, 0x8_0000_0000),
    (30, BIG_RAM_BASE, 0x8_0000_0000),
    (29, 0, 0x8_2000_0000),
    (29, RAM_BASE, 0),
    (25, FAR_DEVICE_BASE & -(1 << 25), 0x1200_0000),
    (25, BIG_RAM_BASE, 0x1200_0000),
    (21, RAM_BASE, 0x20_0000),
    (21, DEVICE_BASE, 0x20_0000),
    (16, BIG_RAM_BASE + 0x1_0000, 0x3_0000),
    (14, DEVICE_BASE, 0x4000),
    (12, BIG_RAM_BASE, 0x5000),
]
"""Leaves of L1: log2 of the size, output, IPA. Some are in parts far from each other."""


@pytest.mark.parametrize(("shift", "output", "ipa"), CASES)
@pytest.mark.parametrize("pa_bits", [40, 48])
@settings(max_examples=8)
@given(data=st.data())
def test_invalidating_any_address_takes_out_all_parts_of_a_leaf(
    pa_bits: int, shift: int, output: int, ipa: int, data: st.DataObject
) -> None:
    """Show that TLBI IPAS2E1 anywhere in a leaf of L1 removes every shadow leaf made of it."""
    rig, context = running(pa_bits)
    bases = [base for base, _, _ in REGIONS if output <= base < output + (1 << shift)] or [output]
    offsets = [base - output for base in bases]
    offsets.append(data.draw(st.integers(0, (1 << shift) - 1)))
    filled = [put_leaf(rig, shift, output, ipa, offset) for offset in offsets]
    assert any(filled) and rig.leaves(context)
    neighbour = ipa + (1 << shift) + GIB & -GIB
    put_leaf(rig, 12, BIG_RAM_BASE, neighbour, 0)
    at = ipa + data.draw(st.one_of(st.sampled_from(offsets), st.integers(0, (1 << shift) - 1)))
    rig.sim.trace.clear()
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.IPAS2E1IS.trap_key, at >> 12)
    left = rig.leaves(context)
    assert not [base for base in left if ipa <= base < ipa + (1 << shift)], "a part was left"
    assert neighbour in left, "a leaf far away was lost"
    assert ("TLBI VMALLS12E1IS", context.vttbr) in [(o.name, o.vttbr) for o in rig.instructions()]
    rig.check_pool()


@settings(max_examples=60)
@given(
    pa_bits=st.sampled_from((40, 48)),
    leaves=st.lists(
        st.tuples(st.sampled_from((12, 21, 30)), st.integers(0, 3), st.integers(0, 3)), max_size=8
    ),
    start=st.integers(0, 4 * GIB // 0x1000).map(lambda n: n * 0x1000),
    size=st.one_of(st.just(0x1000), st.integers(1, 3 * GIB // 0x1000).map(lambda n: n * 0x1000)),
)
def test_unmap_takes_out_what_overlaps_and_no_more(
    pa_bits: int, leaves: list[tuple[int, int, int]], start: int, size: int
) -> None:
    """Show that `unmap` removes exactly the leaves that share an address with the range."""
    rig, context = running(pa_bits)
    for shift, number, gigabyte in leaves:
        put_leaf(rig, shift, BIG_RAM_BASE, gigabyte * GIB + (number << shift) & -(1 << shift), 0)
    before = rig.leaves(context)
    expected = {
        ipa: leaf
        for ipa, leaf in before.items()
        if ipa + (1 << (39 - 9 * leaf[0])) <= start or start + size <= ipa
    }
    reached, parts = start, 0
    while reached < start + size:
        reached = rig.run(shadow.unmap, rig.vm, context, reached, start + size)
        parts += 1
    assert rig.leaves(context) == expected
    assert context.unflushed or expected == before
    assert parts <= 1 + size // (shadow.PART * 0x1000)
    rig.check_pool()


@pytest.mark.parametrize("pa_bits", [40, 48])
def test_an_address_beyond_the_tables_is_nobodys(pa_bits: int) -> None:
    """Show that invalidating an IPA beyond hardware's tables reads and changes nothing."""
    rig, context = running(pa_bits)
    put_leaf(rig, 12, BIG_RAM_BASE, 0, 0)
    before = rig.leaves(context)
    assert rig.run(shadow.invalidation_shift, rig.vm, context, (1 << 48) - 0x1000) == 12
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.IPAS2E1.trap_key, (1 << 36) - 1)
    assert rig.leaves(context) == before

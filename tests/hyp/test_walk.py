"""A walk of L1's stage 2 against the Arm ARM's pseudocode."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.hyp import arm_walk
from tests.hyp.rig import (
    BIG_RAM_BASE,
    BIG_RAM_BYTES,
    DEVICE_BASE,
    RAM_BASE,
    RAM_BYTES,
    TABLES_BYTES,
    Rig,
    fresh_rig,
)
from vel2.hyp import walk
from vel2.hyp.records import NO_FAULT
from vel2.lang import SimulatedAbort

SL_RANGES = {
    (tg0, sl0): (levels * (granule - 3) + granule + 1, levels * (granule - 3) + 2 * granule + 1)
    for tg0, granule, table in (
        (0, 12, {0: 1, 1: 2, 2: 3}),
        (1, 16, {0: 0, 1: 1, 2: 2}),
        (2, 14, {0: 0, 1: 1, 2: 2}),
    )
    for sl0, levels in table.items()
}
"""Smallest and largest input size by (TG0, SL0), for choosing values that mostly make sense."""

POINTERS = st.one_of(
    st.integers(0, TABLES_BYTES // 0x1000 - 1).map(lambda n: RAM_BASE + n * 0x1000),
    st.integers(0, TABLES_BYTES // 0x1_0000 - 1).map(lambda n: RAM_BASE + n * 0x1_0000),
    st.sampled_from((0, DEVICE_BASE, RAM_BASE - 0x1000, RAM_BASE + RAM_BYTES, 1 << 39, 1 << 44)),
)
SIZE_LIMITS = [(1 << bits) + side for bits in (32, 36, 40, 42, 44, 48) for side in (-0x1000, 0)]
OUTPUTS = st.one_of(
    POINTERS,
    st.sampled_from([limit for limit in SIZE_LIMITS if limit < 1 << 48]),
    st.integers(0, BIG_RAM_BYTES - 1).map(lambda n: BIG_RAM_BASE + n),
    st.integers(0, (1 << 48) - 1),
)
ATTRIBUTES = st.integers(0, (1 << 64) - 1).map(lambda x: x & 0xFFF8_0000_0000_0FFC)
DESCRIPTORS = st.one_of(
    st.builds(lambda address, bits: address & ~0xFFF | bits | 3, POINTERS, ATTRIBUTES),
    st.builds(
        lambda address, bits, kind: address & ~0xFFF | bits | kind,
        OUTPUTS,
        ATTRIBUTES,
        st.sampled_from((0, 1, 1, 2, 3, 3, 3)),
    ),
)


@st.composite
def vtcr_values(draw: st.DrawFn) -> int:
    """Draw a VTCR_EL2 that is usually consistent and sometimes not."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.integers(0, (1 << 22) - 1))
    (tg0, sl0), (low, high) = draw(st.sampled_from(sorted(SL_RANGES.items())))
    size = draw(
        st.one_of(
            st.integers(max(low, 25), min(high, 48)),
            st.sampled_from((low - 1, low, high, high + 1)),
        )
    )
    ps = draw(st.sampled_from((0, 1, 2, 4, 5, 5, 5, 6)))
    return 64 - size & 0x3F | sl0 << 6 | tg0 << 14 | ps << 16 | draw(st.integers(0, 1)) << 21


def in_ram(address: int) -> bool:
    """Whether the rig's memory map has RAM at an address."""
    return (
        RAM_BASE <= address < RAM_BASE + RAM_BYTES
        or BIG_RAM_BASE <= address < BIG_RAM_BASE + BIG_RAM_BYTES
    )


class ScriptedMemory:
    """Memory whose contents are decided as the model reads them, and then stored in the rig."""

    def __init__(self, rig: Rig, descriptors: list[int]) -> None:
        self.rig = rig
        self.left = list(descriptors)
        self.known: dict[int, int] = {}
        self.written: dict[int, int] = {}

    def read(self, address: int) -> int:
        """Give the next descriptor at an address not read before."""
        if not RAM_BASE <= address < RAM_BASE + TABLES_BYTES:
            assume(False)
        if address not in self.known:
            self.known[address] = self.left.pop(0) if self.left else 0
            self.rig.store(address, self.known[address])
        return self.known[address]

    def write(self, address: int, value: int) -> None:
        """Note an update that the walk must make."""
        self.written[address] = value


@settings(max_examples=250)
@given(
    pa_bits=st.sampled_from((40, 48)),
    vttbr=st.builds(lambda p, low: p | low, POINTERS, st.sampled_from((0, 0, 1, 0x7FE))),
    vtcr=vtcr_values(),
    ipa_bits=st.integers(0, (1 << 48) - 1),
    where=st.sampled_from(("anywhere", "inside", "inside", "last", "first beyond")),
    descriptors=st.lists(DESCRIPTORS, min_size=4, max_size=4),
)
def test_walk_is_the_one_of_the_arm_arm(
    pa_bits: int, vttbr: int, vtcr: int, ipa_bits: int, where: str, descriptors: list[int]
) -> None:
    """Show that every walk gives the fault, output, level and attributes of AArch64.S2Walk."""
    rig = fresh_rig(pa_bits)
    size = 64 - (vtcr & 0x3F)
    inside = ipa_bits & ((1 << size) - 1)
    ipa = {
        "anywhere": ipa_bits,
        "inside": inside,
        "last": (1 << size) - 1,
        "first beyond": (1 << size) | inside,
    }[where]
    assume(ipa < 1 << 52)
    memory = ScriptedMemory(rig, descriptors)
    expected = arm_walk.walk(
        arm_walk.Memory(memory.read, memory.write, in_ram), vttbr, vtcr, ipa, pa_bits
    )
    rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, vttbr, vtcr, ipa)
    found = rig.vcpu.walk
    assert found.fsc == (NO_FAULT if expected.fsc is None else expected.fsc)
    for address, value in memory.known.items():
        assert rig.load(address) == memory.written.get(address, value)
    if expected.fsc is None:
        check_leaf(rig, expected)


def check_leaf(rig: Rig, expected: arm_walk.Result) -> None:
    """Compare what the walk says of a leaf with its descriptor."""
    found = rig.vcpu.walk
    descriptor = expected.descriptor
    assert found.output == expected.output
    assert found.guest_level == expected.level
    assert found.shift == expected.shift
    assert 39 - 9 * found.level <= expected.shift < 39 - 9 * (found.level - 1) or found.level == 1
    assert found.s2ap == descriptor >> 6 & 3
    assert found.xn == descriptor >> 53 & 3
    assert found.memattr == descriptor >> 2 & 15
    assert found.sh == descriptor >> 8 & 3


LIMITS = sorted(
    {limit + side for limits in SL_RANGES.values() for limit in limits for side in (-1, 0, 1)}
    | {24, 25, 26, 39, 40, 41, 47, 48, 49, 63, 64}
)


@pytest.mark.parametrize("pa_bits", [40, 48])
@pytest.mark.parametrize("sl0", range(4))
@pytest.mark.parametrize("tg0", range(4))
def test_each_limit_of_the_input_size(tg0: int, sl0: int, pa_bits: int) -> None:
    """Show which T0SZ agree with SL0 and TG0, at each limit and to either side of it."""
    rig = fresh_rig(pa_bits)
    for size in (size for size in LIMITS if 1 <= size <= 64):
        vtcr = vtcr_of(tg0, sl0, size)
        memory = ScriptedMemory(rig, [])
        expected = arm_walk.walk(
            arm_walk.Memory(memory.read, memory.write, in_ram), RAM_BASE, vtcr, 0, pa_bits
        )
        rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, RAM_BASE, vtcr, 0)
        assert rig.vcpu.walk.fsc == expected.fsc, size


def test_a_table_in_rom_is_read_and_not_written() -> None:
    """Show that a leaf in flash is as if its access flag were set, and stays as it is."""
    rig = fresh_rig()
    rig.vm.config.ram_base = RAM_BASE + 0x1000
    leaf = BIG_RAM_BASE | 3 << 6 | 1
    for table, kept in ((RAM_BASE, leaf), (RAM_BASE + 0x1000, leaf | 1 << 10)):
        rig.store(table, leaf)
        rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, table, vtcr_of(0, 1, 39, ha=1), 0)
        assert (rig.vcpu.walk.fsc, rig.vcpu.walk.output) == (NO_FAULT, BIG_RAM_BASE)
        assert rig.load(table) == kept


@pytest.mark.parametrize("access", ["load", "store"])
def test_an_abort_of_l0s_access_is_one_on_the_walk(access: str) -> None:
    """Show what L1 gets where its memory does not answer L0: an External abort on its walk."""
    rig = fresh_rig()
    rig.store(RAM_BASE, BIG_RAM_BASE | 3 << 6 | 1)
    true_access = getattr(rig.sim, access)

    def abort(size: int, address: int, *value: int) -> int:
        if address == RAM_BASE:
            raise SimulatedAbort
        found: int = true_access(size, address, *value)
        return found

    with patch.object(rig.sim, access, abort):
        rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, RAM_BASE, vtcr_of(0, 1, 39, ha=1), 0)
    assert rig.vcpu.walk.fsc == 0x15


def vtcr_of(tg0: int, sl0: int, size: int, ps: int = 5, ha: int = 0) -> int:
    """Compose a VTCR_EL2."""
    return 64 - size & 0x3F | sl0 << 6 | tg0 << 14 | ps << 16 | ha << 21


@pytest.mark.parametrize(
    ("tg0", "sl0", "size", "depth", "shift"),
    [
        (0, 2, 48, 4, 12),
        (0, 1, 39, 3, 12),
        (0, 1, 40, 3, 12),
        (0, 1, 40, 1, 30),
        (0, 0, 30, 1, 21),
        (1, 2, 44, 2, 29),
        (1, 1, 42, 2, 16),
        (2, 2, 40, 2, 25),
        (2, 1, 36, 2, 14),
    ],
)
def test_each_granule_maps(tg0: int, sl0: int, size: int, depth: int, shift: int) -> None:
    """Show a walk that succeeds for every granule, with blocks, pages and concatenated roots."""
    rig = fresh_rig()
    output = BIG_RAM_BASE
    tables = [RAM_BASE + 0x1_0000 * (n + 1) | 3 for n in range(depth - 1)]
    page_shift = {0: 12, 1: 16, 2: 14}[tg0]
    leaf = output | 1 << 10 | 3 << 6 | 0xF << 2 | (3 if shift == page_shift else 1)
    memory = ScriptedMemory(rig, [*tables, leaf])
    vtcr = vtcr_of(tg0, sl0, size)
    expected = arm_walk.walk(
        arm_walk.Memory(memory.read, memory.write, in_ram), RAM_BASE, vtcr, 0x123, 48
    )
    assert expected.fsc is None and expected.shift == shift
    rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, RAM_BASE, vtcr, 0x123)
    assert rig.vcpu.walk.fsc == NO_FAULT
    check_leaf(rig, expected)


@pytest.mark.parametrize(("ps", "bits"), [(0, 32), (1, 36), (2, 40), (3, 42), (4, 44)])
def test_each_limit_of_the_output_size(ps: int, bits: int) -> None:
    """Show where VTCR_EL2.PS ends what L1's tables may name: its root, a table, a leaf."""
    gib, vtcr = 1 << 30, vtcr_of(0, 1, 39, ps)
    attributes = 1 << 10 | 3 << 6
    rig = fresh_rig(48)

    def fsc(root: int, entry: int) -> int:
        rig.store(RAM_BASE, entry)
        rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, root, vtcr, 0)
        return rig.vcpu.walk.fsc

    assert fsc(RAM_BASE, (1 << bits) - gib | attributes | 1) == NO_FAULT
    assert fsc(RAM_BASE, 1 << bits | attributes | 1) == 0x01
    assert fsc(RAM_BASE, 2 << bits | attributes | 1) == 0x01
    assert fsc(RAM_BASE, 1 << bits | 3) == 0x01
    assert fsc(1 << bits, 0) == 0x00


def test_a_table_in_l0_is_an_external_abort_and_is_not_read() -> None:
    """Show that L1 cannot make the walk look at L0's memory, whatever L0 has there."""
    rig = fresh_rig()
    rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, rig.l0_base, vtcr_of(0, 1, 39), 0)
    assert rig.vcpu.walk.fsc == 0x15


def test_access_flag_is_set_only_when_asked_for() -> None:
    """Show that VTCR_EL2.HA decides between an Access flag fault and an update of L1's leaf."""
    for ha, fsc in ((0, 0x09), (1, NO_FAULT)):
        rig = fresh_rig()
        leaf = BIG_RAM_BASE | 3 << 6 | 1
        rig.store(RAM_BASE, leaf)
        rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, RAM_BASE, vtcr_of(0, 1, 39, ha=ha), 0)
        assert rig.vcpu.walk.fsc == fsc
        assert rig.load(RAM_BASE) == leaf | ha << 10

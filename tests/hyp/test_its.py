"""The ITS and the LPIs that L1 sees, against a reference of what its commands mean, and against
whatever it may write: hardware is never given an address that is not L0's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.gic_rig import (
    END,
    GIC,
    GICR,
    GITS,
    L0_BASE,
    RAM_BASE,
    RAM_BYTES,
    ROOT,
    STRIDE,
    VCPU,
    GicRig,
)
from vel2.arch import gicv3 as g
from vel2.arch.esr import EC, ISS_DABT, ESR_ELx
from vel2.hyp import its, lpi, mmio
from vel2.hyp.gicstate import MAX_COLLECTIONS, MAX_DEVICES, MAX_EVENTS
from vel2.hyp.its_queue import STEPS
from vel2.hyp.outcome import Outcome

QUEUE = RAM_BASE + 0x1_0000
PROPERTIES = RAM_BASE + 0x2_0000
PENDING = RAM_BASE + 0x4_0000
VALID = 1 << 63
ENABLED = g.GITS_CTLR.Enabled.mask
LPIS = g.GICR_CTLR.EnableLPIs.mask
ACCESSES_MAX = STEPS * (2 * 0x1000 // 8 + 32)
"""Of memory, at one trap: a step of INVALL copies a page."""

DEVICES = st.sampled_from((0, 1, 2, 8, 0xFFFF, 0x1_0000, 0xFFFF_FFFF))
EVENTS = st.sampled_from((0, 1, 31, MAX_EVENTS - 1, MAX_EVENTS, 0xFFFF_FFFF))
INTIDS = st.sampled_from((0, 8191, 8192, 8193, 0xFFFF, 0x1_0000, 0xFFFF_FFFF))
ICIDS = st.sampled_from((0, 1, MAX_COLLECTIONS - 1, MAX_COLLECTIONS, 0xFFFF))
RDBASES = st.sampled_from((5, 8, 5, 8, 0, GICR >> 16, (1 << 35) - 1))
SIZES = st.sampled_from((0, 4, 7, 7, 8, 31))
WORDS = st.integers(0, (1 << 64) - 1)
Words = tuple[int, int, int, int]


def mapd(device: int, size: int = 7, valid: bool = True) -> Words:
    """Compose MAPD, with an ITT that is L0's stage 2."""
    return (g.Command.MAPD | device << 32, size, valid << 63 | ROOT, 0)


def mapc(icid: int, processor: int = 5, valid: bool = True) -> Words:
    """Compose MAPC."""
    return (g.Command.MAPC, 0, valid << 63 | processor << 16 | icid, 0)


def mapti(device: int, event: int, intid: int, icid: int) -> Words:
    """Compose MAPTI."""
    return (g.Command.MAPTI | device << 32, intid << 32 | event, icid, 0)


def about(code: int, device: int, event: int, icid: int = 0) -> Words:
    """Compose a command about an event."""
    return (code | device << 32, event, icid, 0)


@st.composite
def commands(draw: st.DrawFn) -> Words:
    """Draw a command: of each kind, with fields at and around their limits, or any four words."""
    code = draw(st.sampled_from((*g.Command, 0, 0x2A, 0x100)))
    device, event, icid = draw(DEVICES), draw(EVENTS), draw(ICIDS)
    if draw(st.integers(0, 15)) == 0:
        return (draw(WORDS) & ~0xFF | code & 0xFF, draw(WORDS), draw(WORDS), draw(WORDS))
    if code == g.Command.MAPD:
        return mapd(device, draw(SIZES), draw(st.booleans()) or draw(st.booleans()))
    if code in (g.Command.MAPC, g.Command.SYNC, g.Command.MOVALL):
        valid = draw(st.booleans()) or draw(st.booleans())
        third = valid << 63 | draw(RDBASES) << 16 | icid
        return (code, 0, third, draw(RDBASES) << 16)
    return (code | device << 32, draw(INTIDS) << 32 | event, icid, 0)


class Reference:
    """What L1's commands mean, with the limits that L1 sees; `DEVICES` are fewer than places."""

    def __init__(self, processors: list[int]) -> None:
        self.processors = processors
        self.devices: dict[int, tuple[int, dict[int, tuple[int, int]]]] = {}
        self.collections: dict[int, int] = {}
        self.told: list[tuple[str, int, int]] = []

    def do(self, words: Words) -> None:
        """Do one command, or ignore it."""
        code = words[0] & 0xFF
        if code in set(g.Command):
            method = getattr(self, g.Command(code).name.lower(), None)
            if method is not None:
                method(*words)
            else:
                self.with_event(g.Command(code), *words)

    def index(self, word: int) -> int | None:
        """Find a redistributor by an RDbase field."""
        processor = word >> 16 & (1 << 35) - 1
        return self.processors.index(processor) if processor in self.processors else None

    def mapd(self, first: int, second: int, third: int, _: int) -> None:
        device, size = first >> 32, (second & 31) + 1
        if third & VALID == 0:
            self.devices.pop(device, None)
        elif size <= 8 and device <= 0xFFFF:
            self.devices[device] = (size, {})

    def mapc(self, _: int, __: int, third: int, ___: int) -> None:
        icid, index = third & 0xFFFF, self.index(third)
        if icid >= MAX_COLLECTIONS:
            return
        if third & VALID == 0:
            self.collections.pop(icid, None)
        elif index is not None:
            self.collections[icid] = index

    def mapti(self, first: int, second: int, third: int, _: int) -> None:
        self.map_event(first, second, second >> 32, third)

    def mapi(self, first: int, second: int, third: int, _: int) -> None:
        self.map_event(first, second, second & 0xFFFF_FFFF, third)

    def map_event(self, first: int, second: int, intid: int, third: int) -> None:
        size, events = self.devices.get(first >> 32, (0, {}))
        event, icid = second & 0xFFFF_FFFF, third & 0xFFFF
        if events is None or first >> 32 not in self.devices:
            return
        if event < 1 << size and 8192 <= intid <= 0xFFFF and icid < MAX_COLLECTIONS:
            events[event] = (intid, icid)

    def sync(self, _: int, __: int, third: int, ___: int) -> None:
        index = self.index(third)
        if index is not None:
            self.told.append(("SYNC", index, 0))

    def movall(self, _: int, __: int, third: int, fourth: int) -> None:
        source, target = self.index(third), self.index(fourth)
        if source is not None and target is not None:
            self.told.append(("MOVALL", source, target))

    def invall(self, _: int, __: int, third: int, ___: int) -> None:
        if third & 0xFFFF in self.collections:
            self.told.append(("INVALL", self.collections[third & 0xFFFF], 0))

    def with_event(self, code: g.Command, first: int, second: int, third: int, _: int) -> None:
        events = self.devices.get(first >> 32, (0, {}))[1]
        event = second & 0xFFFF_FFFF
        intid, icid = events.get(event, (0, -1))
        moved = third & 0xFFFF
        if icid not in self.collections:
            return
        if code is g.Command.MOVI and moved not in self.collections:
            return
        self.told.append((code.name, self.collections[icid], intid))
        if code is g.Command.DISCARD:
            del events[event]
        if code is g.Command.MOVI:
            events[event] = (intid, moved)


def enabled(pta: int = 0) -> GicRig:
    """Give a machine where L1 has enabled the ITS, with tables that it has no memory for."""
    rig = GicRig(pta)
    assert rig.trouble == 0
    for number in range(2):
        offset = g.GITS_BASER.offset + 8 * number
        rig.run(its.write, rig.vm, offset, 8, VALID | ROOT)
    rig.run(its.write, rig.vm, g.GITS_CBASER.offset, 8, VALID | QUEUE)
    assert rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, ENABLED) == Outcome.SKIP
    return rig


def send(rig: GicRig, *given: Words) -> int:
    """Write commands to L1's queue and tell the ITS; give how often the store was executed."""
    writer = rig.gic.cwriter
    for words in given:
        for i, word in enumerate(words):
            rig.store(QUEUE + writer + 8 * i, word)
        writer = (writer + g.COMMAND_BYTES) % 0x1000
    times = 1
    while rig.run(its.write, rig.vm, g.GITS_CWRITER.offset, 8, writer) == Outcome.RESUME:
        assert rig.sim.accesses <= ACCESSES_MAX
        times += 1
    return times


def mapped(rig: GicRig) -> dict[int, tuple[int, dict[int, tuple[int, int]]]]:
    """Give what hardware's device table says."""
    return {id: (device.size, device.events) for id, device in rig.hardware.devices.items()}


@settings(max_examples=60, deadline=None)
@given(given=st.lists(commands(), min_size=1, max_size=60), pta=st.integers(0, 1))
def test_hardware_is_told_what_l1s_commands_mean(given: list[Words], pta: int) -> None:
    """Show that tables and effects are those of the reference, whatever the commands are."""
    rig = enabled(pta)
    reference = Reference(rig.hardware.processors)
    always = [mapc(0), mapc(1, 8), mapd(1), mapti(1, 0, 8192, 0), mapti(1, 1, 0xFFFF, 1)]
    for words in (*always, *given):
        reference.do(words)
    times = send(rig, *always, *given)
    assert rig.gic.creadr == rig.gic.cwriter == len(always + given) * g.COMMAND_BYTES
    assert mapped(rig) == reference.devices
    assert rig.hardware.collections == reference.collections
    assert rig.hardware.told == reference.told
    parts = 1 + MAX_EVENTS
    assert times <= 1 + len(always + given) * parts // STEPS


@st.composite
def operations(draw: st.DrawFn) -> tuple[int, int, int, bool, int]:
    """Draw an access to a frame: (address, log2 of size, value, is it a write, SRT)."""
    frame = draw(st.sampled_from((GITS, GITS, GICR, GICR + STRIDE)))
    registers = (0, 4, 8, 0x70, 0x78, 0x80, 0x88, 0x90, 0x100, 0x108, 0x110, 0x48, 0xA0, 0xFFE8)
    offset = draw(st.sampled_from(registers)) + draw(st.sampled_from((0, 0, 0, 4)))
    address = draw(st.sampled_from((QUEUE, RAM_BASE + RAM_BYTES - 0x1000, ROOT, GIC, VCPU, END)))
    low = draw(st.sampled_from((0, 1, 0x20, 0x40, 0xFE0, 0xF, 0xFF)))
    value = draw(st.sampled_from((0, 0, VALID, 3 << 62, 1 << 62))) | address | low
    if draw(st.booleans()):
        value = low
    size = draw(st.sampled_from((3, 3, 2, 2, 1, 0)))
    return frame + offset, size, value, draw(st.integers(0, 3)) > 0, draw(st.integers(0, 31))


@settings(max_examples=60, deadline=None)
@given(
    given=st.lists(operations(), min_size=1, max_size=40),
    queue=st.lists(commands(), min_size=1, max_size=16),
)
def test_nothing_but_l0s_tables_is_given_to_hardware(
    given: list[tuple[int, int, int, bool, int]], queue: list[Words]
) -> None:
    """Show that no access has another effect: on hardware (it fails by itself), or on memory."""
    rig = enabled()
    for page in range(QUEUE, RAM_BASE + RAM_BYTES, 0x1000):
        for i, words in enumerate(queue):
            for k, word in enumerate(words):
                rig.store(page + 32 * i + 8 * k, word)
    l0 = rig.memory(L0_BASE, VCPU - L0_BASE)
    ram = rig.memory(RAM_BASE, RAM_BYTES)
    for address, size, value, is_write, register in given:
        rig.vcpu.trap.esr = ESR_ELx.compose(EC=EC.DABT_LOWER, IL=1) | ISS_DABT.compose(
            ISV=1, SAS=size, SRT=register, SF=size == 3, WnR=is_write
        )
        if is_write and register < 31:
            rig.vcpu.x[register] = value
        done = rig.run(mmio.access, rig.vcpu, address)
        assert done in (Outcome.SKIP, Outcome.RESUME, Outcome.NOBODY)
        assert rig.sim.accesses <= ACCESSES_MAX
    lock = rig.gic.lock
    assert lock.next == lock.served
    lock.next = lock.served = lock.taken_at = lock.longest = 0
    assert rig.memory(L0_BASE, VCPU - L0_BASE) == l0
    written = {
        RAM_BASE + i * 8 for i in range(RAM_BYTES // 8) if ram[8 * i : 8 * i + 8] != now(rig, i)
    }
    tables = {rig.gic.redistributors[n].pendbaser & ~0xFFFF & (1 << 52) - 1 for n in range(2)}
    tables |= {value & ~0xFFFF & (1 << 52) - 1 for _, _, value, _, _ in given}
    for place in written:
        assert any(table + 1024 <= place < table + 8192 for table in tables)


def now(rig: GicRig, index: int) -> bytes:
    """Give eight bytes of L1's RAM."""
    return rig.memory(RAM_BASE + 8 * index, 8)


@pytest.mark.parametrize(
    "base",
    [ROOT, GIC, L0_BASE - 16, END, 0, (1 << 52) - 0x1000, RAM_BASE - 0x1000],
    ids=hex,
)
def test_a_queue_outside_l1s_ram_stalls(base: int) -> None:
    """Show that nothing is read there; L1 goes on with another queue."""
    rig = GicRig()
    rig.run(its.write, rig.vm, g.GITS_CBASER.offset, 8, VALID | base & ~0xFFF | 0xFF)
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, ENABLED)
    place = base & 0xFFF
    rig.gic.creadr = place & ~31
    assert rig.run(its.write, rig.vm, g.GITS_CWRITER.offset, 8, (place & ~31) + 64) == Outcome.SKIP
    stalled = g.GITS_CREADR.Stalled.mask
    assert rig.run(its.read, rig.vm, g.GITS_CREADR.offset, 8) & stalled
    assert rig.hardware.commands == 0
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, 0)
    rig.run(its.write, rig.vm, g.GITS_CBASER.offset, 8, VALID | QUEUE)
    rig.run(its.write, rig.vm, g.GITS_CWRITER.offset, 8, 0)
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, ENABLED)
    rig.run(its.write, rig.vm, g.GITS_BASER.offset + 8, 8, VALID)
    send(rig, (int(g.Command.SYNC), 0, 5 << 16, 0))
    assert rig.hardware.told == [("SYNC", 0, 0)]


def test_the_65th_device_is_ignored_until_there_is_room() -> None:
    """Show the limit, that it does not grow, and that a place can be used again."""
    rig = enabled()
    send(rig, *(mapd(n) for n in range(MAX_DEVICES + 1)))
    assert set(rig.hardware.devices) == set(range(MAX_DEVICES))
    assert rig.gic.refused == 1
    send(rig, mapd(3, valid=False), mapd(MAX_DEVICES), mapd(MAX_DEVICES + 1))
    assert set(rig.hardware.devices) == {*range(MAX_DEVICES + 1)} - {3}
    assert rig.gic.refused == 2


def test_a_device_mapped_again_has_no_events() -> None:
    """Show that MAPD of a mapped device unmaps it first, and that its events are gone."""
    rig = enabled()
    send(rig, mapc(0), mapd(8), mapti(8, 2, 9000, 0), mapd(8, 3), about(g.Command.INT, 8, 2))
    assert mapped(rig) == {8: (4, {})}
    assert rig.hardware.told == []


def test_another_table_forgets_what_the_old_one_held() -> None:
    """Show that a new GITS_BASER<n> unmaps devices or collections, and the same one does not."""
    rig = enabled()
    send(rig, mapc(0), mapc(9, 8), mapd(1), mapd(2))
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, 0)
    rig.run(its.write, rig.vm, g.GITS_BASER.offset, 8, VALID | ROOT)
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, ENABLED)
    assert set(rig.hardware.devices) == {1, 2}
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, 0)
    rig.run(its.write, rig.vm, g.GITS_BASER.offset, 8, VALID | ROOT + 0x1000)
    while rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, ENABLED) == Outcome.RESUME:
        pass
    assert rig.hardware.devices == {} and set(rig.hardware.collections) == {0, 9}
    rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, 0)
    rig.run(its.write, rig.vm, g.GITS_BASER.offset + 8, 8, 0)
    while rig.run(its.write, rig.vm, g.GITS_CTLR.offset, 4, ENABLED) == Outcome.RESUME:
        pass
    assert rig.hardware.collections == {}
    send(rig, mapc(0))
    assert rig.hardware.collections == {}, "there is no collection table"


def test_slow_hardware_is_not_waited_for() -> None:
    """Show that GITS_CREADR moves when hardware's does, at L1's next look."""
    rig = enabled()
    rig.hardware.is_slow = True
    assert send(rig, mapc(0), mapd(1)) == 1
    creadr = g.GITS_CREADR.offset
    assert rig.run(its.read, rig.vm, creadr, 8) == 0
    rig.hardware.work()
    assert rig.run(its.read, rig.vm, creadr, 8) == 32
    assert rig.hardware.commands == 1
    rig.hardware.work()
    rig.hardware.is_slow = False
    assert rig.run(its.read, rig.vm, creadr, 8) == 64
    assert set(rig.hardware.devices) == {1}


def test_many_commands_are_done_a_few_at_a_time() -> None:
    """Show that one store does at most `STEPS` commands, and is executed again."""
    rig = enabled()
    sync = (int(g.Command.SYNC), 0, 5 << 16, 0)
    assert send(rig, *[sync] * 100) == 100 // STEPS + 1
    assert len(rig.hardware.told) == 100


def enable_lpis(rig: GicRig, bits: int = 16, flags: int = 0) -> int:
    """Set GICR_CTLR.EnableLPIs of the first redistributor; give how often it was stored."""
    rig.run(lpi.write, rig.vm, 0, g.GICR_PROPBASER.offset, 8, PROPERTIES | bits - 1)
    rig.run(lpi.write, rig.vm, 0, g.GICR_PENDBASER.offset, 8, PENDING | flags)
    times = 1
    while rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, LPIS) == Outcome.RESUME:
        assert rig.sim.accesses <= ACCESSES_MAX
        assert rig.run(lpi.read, rig.vm, 0, g.GICR_CTLR.offset, 4) & LPIS == 0
        times += 1
    assert rig.run(lpi.read, rig.vm, 0, g.GICR_CTLR.offset, 4) & LPIS
    return times


def own_properties(rig: GicRig) -> bytes:
    """Give what hardware reads as properties."""
    table = rig.hardware.registers[GICR + g.GICR_PROPBASER.offset]
    return rig.memory(table & g.GICR_PROPBASER.Physical_Address.mask, 0xE000)


@pytest.mark.parametrize(("bits", "pages"), [(16, 14), (14, 2), (13, 0), (5, 0)])
def test_enabling_takes_over_properties_and_pending_bits(bits: int, pages: int) -> None:
    """Show that what L1's tables hold is hardware's, a page at a time, and no more."""
    rig = GicRig()
    properties = bytes(n * 7 & 0xFF for n in range(0xE000))
    pending = bytes(n * 5 & 0xFF for n in range(0x2000))
    rig.fill(PROPERTIES, properties)
    rig.fill(PENDING, pending)
    assert enable_lpis(rig, bits) == pages + 2
    assert own_properties(rig)[: pages * 0x1000] == properties[: pages * 0x1000]
    assert not any(own_properties(rig)[pages * 0x1000 :])
    table = rig.hardware.registers[GICR + g.GICR_PENDBASER.offset] & ~0xFFFF
    assert rig.memory(table, 0x2000) == pending
    shown = rig.hardware.registers[GICR + g.GICR_PROPBASER.offset]
    assert g.GICR_PROPBASER.IDbits.get(shown) == bits - 1


def test_nothing_pends_with_ptz() -> None:
    """Show that L1's table is not looked at, and hardware is told so."""
    rig = GicRig()
    rig.fill(PENDING, bytes([0xFF]) * 0x2000)
    ptz = g.GICR_PENDBASER.PTZ.mask
    enable_lpis(rig, flags=ptz)
    own = rig.hardware.registers[GICR + g.GICR_PENDBASER.offset]
    assert own & ptz
    assert not any(rig.memory(own & g.GICR_PENDBASER.Physical_Address.mask, 0x2000))
    assert rig.run(lpi.read, rig.vm, 0, g.GICR_PENDBASER.offset, 8) == PENDING


def test_lpi_tables_of_l0s_memory_read_as_zeros() -> None:
    """Show that neither table can be where L1 has no RAM, not even a page of it."""
    rig = GicRig()
    rig.fill(GIC, b"\xff" * 8)
    rig.run(lpi.write, rig.vm, 0, g.GICR_PROPBASER.offset, 8, RAM_BASE + RAM_BYTES - 0x1000 | 15)
    rig.fill(RAM_BASE + RAM_BYTES - 0x1000, b"\xa1" * 0x1000)
    rig.run(lpi.write, rig.vm, 0, g.GICR_PENDBASER.offset, 8, L0_BASE & ~0xFFFF)
    while rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, LPIS) == Outcome.RESUME:
        pass
    assert own_properties(rig) == b"\xa1" * 0x1000 + bytes(0xD000)
    own = rig.hardware.registers[GICR + g.GICR_PENDBASER.offset] & ~0xFFFF
    assert not any(rig.memory(own, 0x2000))
    before = rig.memory(L0_BASE, 0x2_0000)
    rig.fill(own, b"\xff" * 0x2000)
    rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, 0)
    assert rig.memory(L0_BASE, 0x2_0000) == before, "pending bits went to L0's memory"


def test_clearing_enable_returns_what_pends() -> None:
    """Show that L1's table gets hardware's bits, but not those of no LPI."""
    rig = GicRig()
    rig.fill(PENDING, bytes([0x11]) * 0x2000)
    enable_lpis(rig, flags=g.GICR_PENDBASER.PTZ.mask)
    own = rig.hardware.registers[GICR + g.GICR_PENDBASER.offset]
    own &= g.GICR_PENDBASER.Physical_Address.mask
    rig.fill(own + 1024, bytes(n & 0xFF for n in range(0x1C00)))
    rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, 0)
    assert rig.memory(PENDING, 1024) == bytes([0x11]) * 1024
    assert rig.memory(PENDING + 1024, 0x1C00) == bytes(n & 0xFF for n in range(0x1C00))


def test_what_does_not_pend_is_not_written() -> None:
    """Show that memory which has become another's keeps what it has but where an LPI pends.

    A kernel that kexec starts finds LPIs enabled, with a table of the kernel before.
    """
    rig = GicRig()
    rig.fill(PENDING, bytes([0x11]) * 0x2000)
    enable_lpis(rig)
    own = rig.hardware.registers[GICR + g.GICR_PENDBASER.offset]
    own &= g.GICR_PENDBASER.Physical_Address.mask
    assert rig.memory(PENDING, 0x2000) == bytes([0x11]) * 1024 + bytes(0x1C00), "L0 took it over"
    rig.fill(own, bytes(1024) + bytes(0x1C00))
    rig.fill(own + 1024 + 800, b"\x08")
    rig.fill(PENDING, bytes([0x77]) * 0x2000)
    rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, 0)
    found = rig.memory(PENDING, 0x2000)
    assert found[1024 + 800 : 1024 + 808] == b"\x08" + bytes(7)
    assert found.count(0x77) == 0x2000 - 8


def test_clearing_enable_half_way_begins_anew() -> None:
    """Show that what was taken over counts for nothing then."""
    rig = GicRig()
    first = enable_lpis(rig)
    rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, 0)
    for _ in range(3):
        rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, LPIS)
    rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, 0)
    assert enable_lpis(rig) == first


def test_other_tables_half_way_begin_anew() -> None:
    """Show that pages counted for one table are not taken for those of another."""
    rig = GicRig()
    rig.fill(PENDING, bytes([0xC3]) * 0x2000)
    rig.run(lpi.write, rig.vm, 0, g.GICR_PROPBASER.offset, 8, PROPERTIES | 15)
    for _ in range(13):
        rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, LPIS)
    assert enable_lpis(rig, bits=13) == 2
    own = rig.hardware.registers[GICR + g.GICR_PENDBASER.offset] & ~0xFFFF
    assert rig.memory(own, 0x2000) == bytes([0xC3]) * 0x2000


@pytest.mark.parametrize("command", [g.Command.INV, g.Command.INVALL, g.Command.MAPTI])
def test_properties_are_taken_over_when_l1_says_so(command: g.Command) -> None:
    """Show it of INV, INVALL and MAPTI; a store alone changes nothing."""
    rig = enabled()
    enable_lpis(rig)
    send(rig, mapc(0), mapd(1), mapti(1, 4, 8192 + 77, 0))
    rig.fill(PROPERTIES + 77, b"\xa1")
    assert own_properties(rig)[77] == 0
    words = about(command, 1, 4)
    if command is g.Command.MAPTI:
        words = mapti(1, 4, 8192 + 77, 0)
    send(rig, words)
    assert own_properties(rig)[77] == 0xA1


def test_a_machine_without_lpis_enables_none() -> None:
    """Show that hardware's GICR_TYPER.PLPIS decides."""
    rig = GicRig()
    rig.hardware.registers[GICR + g.GICR_TYPER.offset] = g.GICR_TYPER.compose(Processor_Number=5)
    assert rig.run(lpi.write, rig.vm, 0, g.GICR_CTLR.offset, 4, LPIS) == Outcome.SKIP
    assert rig.run(lpi.read, rig.vm, 0, g.GICR_CTLR.offset, 4) & LPIS == 0
    assert g.GICR_PROPBASER.offset + GICR not in rig.hardware.registers


def test_what_l1_sees_of_hardware() -> None:
    """Show what GITS_TYPER and GICR_TYPER leave out."""
    rig = GicRig(pta=1)
    typer = g.GITS_TYPER(rig.run(its.read, rig.vm, g.GITS_TYPER.offset, 8))
    assert (typer.Physical, typer.PTA, typer.Virtual, typer.HCC) == (1, 0, 0, 0)
    assert 2 << typer.ID_bits == MAX_EVENTS and 2 << typer.CIDbits == MAX_COLLECTIONS
    assert (typer.Devbits, typer.ITT_entry_size, typer.CIL) == (15, 11, 1)
    shown = g.GICR_TYPER(rig.run(lpi.read, rig.vm, 1, g.GICR_TYPER.offset, 8))
    assert (shown.PLPIS, shown.DirectLPI, shown.Processor_Number, shown.Last) == (1, 0, 8, 1)
    low = rig.run(lpi.read, rig.vm, 1, g.GICR_TYPER.offset, 4)
    high = rig.run(lpi.read, rig.vm, 1, g.GICR_TYPER.offset + 4, 4)
    assert high << 32 | low == shown.value


def access(rig: GicRig, address: int, **iss: int) -> Outcome:
    """Let L1 access an address with a syndrome."""
    rig.vcpu.trap.esr = ESR_ELx.compose(EC=EC.DABT_LOWER, IL=1) | ISS_DABT.compose(**iss)
    return Outcome(rig.run(mmio.access, rig.vcpu, address))


def test_a_load_fills_its_register_as_the_instruction_says() -> None:
    """Show widths, sign extension and XZR, of a register with bit 31 set (GITS_CTLR.Quiescent)."""
    rig = GicRig()
    value = g.GITS_CTLR.Quiescent.mask
    rig.vcpu.x[3] = (1 << 64) - 1
    assert access(rig, GITS, ISV=1, SAS=2, SRT=3) == Outcome.SKIP
    assert rig.vcpu.x[3] == value
    assert access(rig, GITS, ISV=1, SAS=2, SRT=3, SSE=1, SF=1) == Outcome.SKIP
    assert rig.vcpu.x[3] == 0xFFFF_FFFF_0000_0000 | value
    before = list(rig.vcpu.x)
    assert access(rig, GITS, ISV=1, SAS=2, SRT=31) == Outcome.SKIP
    assert list(rig.vcpu.x) == before
    assert access(rig, GICR + 0x70, ISV=1, SAS=0, SRT=3, SF=1) == Outcome.SKIP
    assert rig.vcpu.x[3] == 0, "a byte of a redistributor's reads as zero"


@pytest.mark.parametrize(
    ("address", "iss"),
    [
        (GITS, {"ISV": 0}),
        (GITS, {"ISV": 1, "SAS": 1}),
        (GITS + 2, {"ISV": 1, "SAS": 2}),
        (GICR + 0x74, {"ISV": 1, "SAS": 3}),
        (GITS + 0x1_0000, {"ISV": 1, "SAS": 2}),
        (GICR + 2 * STRIDE, {"ISV": 1, "SAS": 2}),
        (0, {"ISV": 1, "SAS": 2}),
    ],
)
def test_what_nobody_answers(address: int, iss: dict[str, int]) -> None:
    """Show which accesses are left to end in an External abort, with nothing changed."""
    rig = GicRig()
    before = rig.memory(GIC, 0x2_0000)
    for write in (0, 1):
        assert access(rig, address, WnR=write, SRT=2, **iss) == Outcome.NOBODY
    assert rig.memory(GIC, 0x2_0000) == before


@pytest.mark.parametrize("bits", ["its", "redistributor"])
def test_gicv4_is_refused(bits: str) -> None:
    """Show that a machine with virtual LPIs is not taken: it has more that names memory."""
    rig = GicRig()
    if bits == "its":
        rig.hardware.registers[GITS + g.GITS_TYPER.offset] |= g.GITS_TYPER.Virtual.mask
    else:
        rig.hardware.registers[GICR + g.GICR_TYPER.offset] |= g.GICR_TYPER.VLPIS.mask
    assert rig.run(its.init, rig.vm) == its.HAS_GICV4


@pytest.mark.parametrize("frame", [GITS, GICR, GICR + STRIDE], ids=hex)
def test_a_frame_that_l1_reaches_is_refused(frame: int) -> None:
    """Show that L0 does not start when the canonical stage 2 maps what it emulates."""
    rig = GicRig()
    level2, level3 = ROOT + 0x2000, ROOT + 0x3000
    rig.store(ROOT, level2 | 3)
    rig.store(level2 + (frame >> 21 & 511) * 8, level3 | 3)
    rig.store(level3 + (frame >> 12 & 511) * 8, frame | 3)
    assert rig.run(its.init, rig.vm) == its.HAS_WAY_IN

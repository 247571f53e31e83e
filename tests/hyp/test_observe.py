"""What is seen of a trap: each of them once, as it was; and nothing while nobody watches."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import BIG_RAM_BASE, Rig, fresh_rig
from tests.hyp.test_ahead import (
    CLEAR_SET,
    CNTHCTL,
    CODE,
    PC,
    UNDEFINED,
    WRITE_BACK,
    mrs,
    syndrome,
    write_code,
)
from tests.hyp.test_trap import L2_PAGE, READ_ID, esr_of, l2_machine, machine, page
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register, trap_key_from_iss
from vel2.arch.esr import EC, FSC, ESR_ELx
from vel2.arch.psci import SYSTEM_OFF
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp import event, trap, watch
from vel2.hyp.records import IRQ
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.trace.schema import EVENT_BYTES, Event, Flag, Kind, Place, Result, Vector

RING_OFFSET = 0x6_0000
"""Between the rig's `Vcpu` and its VNCR page."""
ALL = (1 << 64) - 1


def watched(rig: Rig, slots: int = 16) -> Rig:
    """Have everything traced."""
    ring = rig.vcpu.ring
    ring.base, ring.slots = rig.l0_base + RING_OFFSET, slots
    for number in range(watch.CLASSES):
        rig.vcpu.observe.classes[number] = watch.TRACE | watch.SWITCHES
    rig.vm.filter.kinds = rig.vm.filter.sources = ALL
    return rig


def events(rig: Rig) -> list[Event]:
    """Take all events out of the ring, as the host does."""
    ring = rig.vcpu.ring
    found = []
    while ring.tail != ring.head:
        start = ring.base + (ring.tail & (ring.slots - 1)) * EVENT_BYTES - rig.l0_base
        found.append(Event.decode(rig.sim.buffer, start))
        ring.tail += 1
    return found


def access(register: type[Register], rt: int, is_read: bool) -> int:
    """Give the syndrome of a trapped MRS or MSR."""
    op0, op1, crn, crm, op2 = register.encoding
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | rt << 5 | crm << 1 | int(is_read)
    return esr_of(EC.SYS64, iss)


@pytest.mark.parametrize("l2", [False, True], ids=["vEL2", "vEL1"])
@pytest.mark.parametrize("ec", range(64))
def test_each_class_is_seen_once_as_it_was(ec: int, l2: bool) -> None:
    rig = watched(l2_machine(page(BIG_RAM_BASE)) if l2 else machine(False))
    far = rig[sr.FAR_EL2] = 0xFFFF_8000_0012_3456
    rig[sr.HPFAR_EL2] = L2_PAGE >> 8
    rig.vcpu.trap.pc, rig.vcpu.trap.pstate = rig.vcpu.pc, rig.vcpu.pstate
    before = list(rig.vcpu.counters.by_ec)
    iss = 0x7 if ec != EC.DABT_SAME else FSC.SYNC_EXTERNAL
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(ec, iss))
    (seen,) = (each for each in events(rig) if each.kind == Kind.TRAP)
    assert (seen.vector, seen.esr, seen.pc) == (Vector.SYNC, esr_of(ec, iss), 0x1000)
    assert seen.source == (Place.L2_EL1 if l2 else Place.L1_EL2)
    assert (seen.next_pc, seen.next_pstate) == (rig.vcpu.pc, rig.vcpu.pstate)
    assert (seen.target in (Place.L1_EL2, Place.L1_EL2_EL0)) == (rig.vcpu.context == CONTEXT_VEL2)
    counted = [new - old for new, old in zip(rig.vcpu.counters.by_ec, before, strict=True)]
    assert sum(counted) == counted[(CONTEXT_VEL1 if l2 else CONTEXT_VEL2) * 64 + ec] == 1
    counters = rig.vcpu.counters
    assert counters.forwarded == (seen.result == Result.FORWARDED)
    assert counters.injected == (seen.result == Result.INJECTED)
    if ec in (EC.DABT_LOWER, EC.IABT_LOWER):
        assert (seen.far, seen.ipa) == (far, L2_PAGE)
    if seen.result in (Result.FORWARDED, Result.INJECTED):
        assert seen.syndrome == rig[sr.ESR_EL1]


def test_nothing_is_seen_that_nobody_wants() -> None:
    """Not by one bit of the ring, in either life."""
    rig = watched(machine(True))
    for number in range(watch.CLASSES):
        rig.vcpu.observe.classes[number] = 0
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.HVC64))
    assert (rig.vcpu.ring.head, rig.vcpu.ring.numbered, rig.vcpu.seen.wanted) == (0, 0, 0)


@pytest.mark.parametrize("ec", range(64))
def test_a_watched_trap_ends_as_any(ec: int) -> None:
    """All of the machine but what is seen of it is the same, whoever watches."""
    rig = watched(l2_machine(page(BIG_RAM_BASE)))
    iss = 0x7 if ec != EC.DABT_SAME else FSC.SYNC_EXTERNAL
    start = rig.state()
    rig.prepare(trap.handle_watched_sync, rig.vcpu, esr_of(ec, iss))
    seen = rig.state()
    rig.put_back(start)
    rig.prepare(trap.handle_sync, rig.vcpu, esr_of(ec, iss))
    plain = rig.state()
    for state in (seen, plain):
        offset = rig.vcpu._offset
        for name, size in (("seen", watch.Seen.size), ("ring", watch.Ring.size)):
            first = offset + Vcpu.offset_of(name)
            state.parts[0][first : first + size] = bytes(size)
        state.parts[0][RING_OFFSET : RING_OFFSET + 16 * EVENT_BYTES] = bytes(16 * EVENT_BYTES)
    assert seen.parts[0] == plain.parts[0]


@pytest.mark.parametrize("rt", [5, 31])
def test_what_an_access_wrote_and_read_is_seen(rt: int) -> None:
    rig = watched(machine(False))
    rig.vcpu.x[5] = value = 0x1234 if rt == 5 else 0
    rig.run(trap.handle_watched_sync, rig.vcpu, access(sr.TPIDR_EL2, rt, False))
    rig.vcpu.x[5] = 0xBAD
    rig.run(trap.handle_watched_sync, rig.vcpu, access(sr.TPIDR_EL2, rt, True))
    wrote, read = events(rig)
    assert (wrote.value, wrote.flags & (Flag.HAS_VALUE | Flag.READ)) == (value, Flag.HAS_VALUE)
    assert (read.value, read.flags & (Flag.HAS_VALUE | Flag.READ)) == (
        value,
        Flag.HAS_VALUE | Flag.READ,
    )
    assert wrote.result == read.result == Result.HANDLED


def test_a_read_is_seen_although_what_follows_overwrites_its_register() -> None:
    """What is done ahead is seen too, in its own right, and before the trap it came with."""
    rig = watched(fresh_rig())
    rig.vcpu.e2h = 0
    rig.vcpu.vel2.memory[CNTHCTL] = 3
    run(rig, CLEAR_SET)
    ahead, read = events(rig)
    assert (ahead.kind, ahead.pc, ahead.detail) == (Kind.AHEAD, PC + 8, sr.CNTHCTL_EL2.trap_key)
    assert (ahead.value, ahead.flags) == (3 | 8, Flag.HAS_VALUE)
    assert (read.kind, read.pc, read.next_pc, read.value) == (Kind.TRAP, PC, PC + 12, 3)


def test_an_exit_and_the_switch_that_comes_with_it() -> None:
    rig = watched(l2_machine(page(BIG_RAM_BASE)))
    vttbr = rig.slot(sr.VTTBR_EL2)
    rig.vcpu.trap.pc, rig.vcpu.trap.pstate = 0x1000, 0
    rig.run(trap.handle_watched_interrupt, rig.vcpu, IRQ)
    exit_, switch = events(rig)
    assert (exit_.vector, exit_.result, exit_.source) == (
        Vector.IRQ,
        Result.FORWARDED,
        Place.L2_EL0,
    )
    assert (switch.kind, switch.source, switch.target) == (Kind.SWITCH, Place.L2_EL0, Place.L1_EL2)
    assert exit_.vttbr == switch.vttbr == vttbr
    assert exit_.sequence == 0 and switch.sequence == 1


def test_a_step_behind_an_instruction_is_part_of_its_trap() -> None:
    rig = watched(machine(False))
    rig.vcpu.pstate = rig.vcpu.trap.pstate = 0b0101 | SPSR_ELx.SS.mask
    rig.run(trap.handle_watched_sync, rig.vcpu, READ_ID)
    (seen,) = events(rig)
    assert (seen.result, seen.flags & Flag.STEPPED) == (Result.HANDLED, Flag.STEPPED)
    assert ESR_ELx.EC.get(seen.syndrome) in (EC.SOFTSTEP_LOWER, EC.SOFTSTEP_SAME)


@given(taken=st.lists(st.integers(0, 4), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_no_event_is_overwritten_and_each_lost_one_is_counted(taken: list[int]) -> None:
    """The host takes some after each trap, or none; the numbers say which it has missed."""
    rig = watched(machine(False), slots=4)
    ring = rig.vcpu.ring
    seen: list[Event] = []
    waiting = lost = 0
    for number, count in enumerate(taken):
        rig.vcpu.trap.pc = 0x1000 + number
        rig.prepare(trap.handle_watched_sync, rig.vcpu, esr_of(EC.SYS64, 1 << 22))
        waiting, lost = (waiting + 1, lost) if waiting < 4 else (waiting, lost + 1)
        for _ in range(min(count, waiting)):
            start = ring.base + (ring.tail & 3) * EVENT_BYTES - rig.l0_base
            seen.append(Event.decode(rig.sim.buffer, start))
            ring.tail += 1
            waiting -= 1
        assert (ring.head - ring.tail, ring.lost, ring.numbered) == (waiting, lost, number + 1)
    assert all(event.pc == 0x1000 + event.sequence for event in seen)
    assert [event.sequence for event in seen] == sorted({event.sequence for event in seen})
    after = ring.base + 4 * EVENT_BYTES - rig.l0_base
    assert not any(rig.sim.buffer[after : after + EVENT_BYTES]), "a fifth slot"


def test_a_ring_without_slots_takes_nothing() -> None:
    rig = watched(machine(False), slots=0)
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.HVC64))
    assert (rig.vcpu.ring.head, rig.vcpu.ring.lost) == (0, 1)


@pytest.mark.parametrize("asked", [sr.TPIDR_EL2, sr.VBAR_EL2, sr.CNTHCTL_EL2, sr.ICC_BPR1_EL1])
def test_only_the_registers_that_are_asked_for(asked: type[Register]) -> None:
    """One of the same group, which the vectors let through, is told apart; and done ahead, too."""
    rig = watched(fresh_rig())
    rig.vcpu.e2h = 0
    rig.vm.filter.by_register = 1
    rig.vm.filter.registers[asked.trap_key >> 4] = 1 << (asked.trap_key & 15)
    for register in (sr.TPIDR_EL2, sr.VBAR_EL2, sr.RVBAR_EL2, sr.ICC_CTLR_EL1):
        run(rig, (mrs(register, 1), UNDEFINED))
    run(rig, CLEAR_SET)
    found = {each.detail or trap_key_from_iss(each.esr & 0x1FF_FFFF) for each in events(rig)}
    assert found == ({asked.trap_key} if asked is not sr.ICC_BPR1_EL1 else set())


def run(rig: Rig, words: Sequence[int]) -> None:
    """Trap on the first word at `PC`, with the others behind it."""
    write_code(rig, PC, words)
    rig[sr.PAR_EL1] = CODE | WRITE_BACK
    rig.vcpu.pc = rig.vcpu.trap.pc = PC
    rig.vcpu.pstate = rig.vcpu.trap.pstate = 0b0101
    rig.run(trap.handle_watched_sync, rig.vcpu, syndrome(words[0]))


@pytest.mark.parametrize(
    ("pc", "seen"), [(0xFFF, False), (0x1000, True), (0x1010, True), (0x1011, False)]
)
def test_only_from_the_addresses_that_are_asked_for(pc: int, seen: bool) -> None:
    rig = watched(machine(False))
    chosen = rig.vm.filter
    chosen.range_count = 2
    chosen.ranges[0].low, chosen.ranges[0].span = 0x10_0000, 3
    chosen.ranges[1].low, chosen.ranges[1].span = 0x1000, 0x10
    rig.vcpu.trap.pc = pc
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.HVC64))
    assert len(events(rig)) == seen


@pytest.mark.parametrize(
    ("hcr", "pstate", "place"),
    [
        (0, 0b0101, Place.L1_EL1),
        (0, 0, Place.L1_EL0),
        (sr.HCR_EL2.VM.mask, 0b0101, Place.L2_EL1),
        (sr.HCR_EL2.VM.mask, 0x1D0, Place.L2_EL0),
        (sr.HCR_EL2.VM.mask | sr.HCR_EL2.NV.mask, 0b0101, Place.L2_EL2),
        (sr.HCR_EL2.VM.mask | sr.HCR_EL2.NV.mask, 0, Place.L2_EL2_EL0),
    ],
)
def test_who_ran_is_told_by_l1s_controls(hcr: int, pstate: int, place: Place) -> None:
    """AArch32 at EL0 is EL0; the filter by place lets exactly this one through."""
    rig = watched(machine(True, hcr))
    rig[sr.HCR_EL2] = rig[sr.HCR_EL2] | hcr & sr.HCR_EL2.NV.mask
    rig.vcpu.trap.pstate = pstate
    rig.vm.filter.sources = 1 << place
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.HVC64))
    assert [each.source for each in events(rig)] == [place, place]
    rig = watched(machine(True, hcr))
    rig.vcpu.trap.pstate = pstate
    rig.vm.filter.sources = ALL & ~(1 << place)
    rig[sr.HCR_EL2] = rig[sr.HCR_EL2] | hcr & sr.HCR_EL2.NV.mask
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.HVC64))
    assert events(rig) == []


def test_an_eret_that_the_vectors_did() -> None:
    rig = watched(machine(False))
    rig.vcpu.trap.pc, rig.vcpu.trap.pstate = 0x5000, 0b0101
    rig.vcpu.pc, rig.vcpu.pstate = 0x6000, 0
    rig.run(event.returned, rig.vcpu)
    (seen,) = events(rig)
    assert (seen.kind, seen.source, seen.target) == (Kind.ERET, Place.L1_EL2, Place.L1_EL2_EL0)
    assert (seen.pc, seen.next_pc) == (0x5000, 0x6000)


def test_a_timer_that_is_left_enabled() -> None:
    rig = watched(l2_machine(page(BIG_RAM_BASE)))
    rig[sr.CNTV_CTL_EL0], rig[sr.CNTV_CVAL_EL0] = 1, ALL
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.HVC64))
    (timer,) = (each for each in events(rig) if each.kind == Kind.TIMER)
    assert (timer.detail, timer.ipa, timer.value & 1) == (1, ALL, 1)


def test_a_fill_and_a_call_to_the_firmware() -> None:
    rig = watched(l2_machine(page(BIG_RAM_BASE)))
    rig.vcpu.trap.pc = rig.vcpu.pc
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.DABT_LOWER, FSC.TRANSLATION | 3))
    fill, trapped = events(rig)
    assert (fill.kind, fill.ipa, fill.value, fill.detail) == (
        Kind.FILL,
        L2_PAGE,
        BIG_RAM_BASE,
        3,
    )
    assert rig.vcpu.counters.shadow_fills == 1
    assert (trapped.kind, trapped.result) == (Kind.TRAP, Result.RESUMED)
    rig = watched(machine(False))
    rig.vcpu.x[0], rig.vcpu.x[1] = SYSTEM_OFF, 7
    rig.run(trap.handle_watched_sync, rig.vcpu, esr_of(EC.SMC64))
    call, last = events(rig)
    assert (call.kind, call.detail, call.value) == (Kind.PSCI, SYSTEM_OFF, 7)
    assert last.kind == Kind.TRAP, "the guest does not come back, and its trap is seen all the same"

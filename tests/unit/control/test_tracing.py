"""The host's side of a ring: every event comes once and in order, and none is lost unsaid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.control.tracing import Tracer, set_filter, stop_tracing
from vel2.hyp import watch
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, Vm
from vel2.trace.filters import Wanted, parse
from vel2.trace.schema import EVENT_BYTES, Event, Kind, Place

BASE = 0x1000


class Machine:
    """Rings, and L0's part in them; no machine runs."""

    def __init__(self, cpus: int = 1, slots: int = 8, *, deterministic: bool = False) -> None:
        self.request = SimpleNamespace(smp=cpus, deterministic=deterministic)
        self.state = Vm()
        self.vcpus = [Vcpu() for _ in range(cpus)]
        self.rings = bytearray(cpus * slots * EVENT_BYTES)
        self.memory = SimpleNamespace(
            read=lambda at, size: bytes(self.rings[at - BASE : at - BASE + size])
        )
        self.monitor = SimpleNamespace(
            status=lambda: "running",
            pause=lambda: self.paused.append(1),
            resume=lambda: self.paused.append(0),
        )
        self.paused: list[int] = []
        for index, vcpu in enumerate(self.vcpus):
            vcpu.ring.base = BASE + index * slots * EVENT_BYTES
            vcpu.ring.slots = slots

    def happen(self, index: int = 0, **columns: int) -> None:
        """Do what `hyp.event` does."""
        ring = self.vcpus[index].ring
        ring.numbered += 1
        if ring.head - ring.tail >= ring.slots:
            ring.lost += 1
            return
        at = ring.base - BASE + (ring.head & (ring.slots - 1)) * EVENT_BYTES
        event = Event(kind=Kind.TRAP, vcpu=index, sequence=ring.numbered - 1, **columns)
        self.rings[at : at + EVENT_BYTES] = event.encode()
        ring.head += 1


def tracer_of(machine: Machine, sink: Any, wanted: Wanted | None = None) -> Tracer:
    """Make a tracer of what is nearly a VM."""
    vm: Any = machine
    return Tracer(vm, sink, wanted or Wanted())


def decoded(data: bytes) -> list[Event]:
    """Take events apart."""
    return [Event.decode(data, at) for at in range(0, len(data), EVENT_BYTES)]


@settings(max_examples=60, deadline=None)
@given(bursts=st.lists(st.integers(0, 20), max_size=12))
def test_what_is_not_lost_comes_once_and_in_order(bursts: list[int]) -> None:
    """Rings go round many times; a burst that is longer than one shows as a gap of its length."""
    machine, data = Machine(), bytearray()
    tracer = tracer_of(machine, data.extend)
    expected, total = [], 0
    for burst in bursts:
        expected += list(range(total, total + min(burst, 8)))
        total += burst
        for _ in range(burst):
            machine.happen()
        tracer.drain()
    assert [event.sequence for event in decoded(bytes(data))] == expected
    assert machine.vcpus[0].ring.lost == total - len(expected)


def test_a_tracer_takes_what_is_left_in_the_end() -> None:
    machine, data = Machine(cpus=2), bytearray()
    with tracer_of(machine, data.extend) as tracer:
        machine.happen(0)
        machine.happen(1)
        for _ in range(9):
            machine.vcpus[1].ring.lost += 1
    assert sorted(event.vcpu for event in decoded(bytes(data))) == [0, 1]
    assert tracer.lost == (0, 9)
    assert machine.vcpus[0].observe.anybody == 0, "and L0 is told that nobody watches any more"


def test_a_full_disk_ends_the_trace_and_nothing_else() -> None:
    """The rings are emptied all the same, so that L0 has nothing to count as lost."""
    machine = Machine()

    def refuse(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    tracer = tracer_of(machine, refuse)
    set_filter(machine, Wanted())  # type: ignore[arg-type]
    machine.happen()
    tracer.drain()
    assert tracer.error is not None and tracer.error.strerror == "No space left on device"
    assert (tracer.taken, machine.vcpus[0].ring.tail) == (0, 1)
    assert machine.vcpus[0].observe.anybody == 0


def test_a_deterministic_machine_is_stopped_before_a_ring_is_full() -> None:
    machine, data = Machine(deterministic=True), bytearray()
    tracer = tracer_of(machine, data.extend)
    for _ in range(4):
        machine.happen()
    tracer.drain()
    assert machine.paused == []
    for _ in range(5):
        machine.happen()
    tracer.drain()
    assert machine.paused == [1, 0] and len(decoded(bytes(data))) == 9


def test_events_of_several_vcpus_come_in_one_order_whenever_they_were_taken() -> None:
    found = []
    for order in ((0, 1, 0, 1), (1, 1, 0, 0)):
        machine, data = Machine(cpus=2, deterministic=True), bytearray()
        times = {0: iter((10, 40)), 1: iter((20, 30))}
        tracer = tracer_of(machine, data.extend)
        with tracer:
            for index in order:
                machine.happen(index, ended=next(times[index]))
                tracer.drain()
        found.append(bytes(data))
    assert found[0] == found[1]
    assert [event.ended for event in decoded(found[0])] == [10, 20, 30, 40]


def wanted_by(machine: Machine) -> dict[int, int]:
    """Give the classes that anybody wants."""
    classes = machine.vcpus[0].observe.classes
    return {number: who for number, who in enumerate(classes) if who}


def test_a_filter_marks_no_class_that_it_cannot_match() -> None:
    machine = Machine()
    set_filter(machine, parse(["ec:HVC64", "from:L2"]))  # type: ignore[arg-type]
    assert wanted_by(machine) == {CONTEXT_VEL1 * 64 + EC.HVC64: watch.TRACE}
    assert not any(machine.vcpus[0].observe.groups)
    assert machine.state.filter.sources == sum(1 << p for p in Place if p.level == "L2")


def test_a_filter_of_registers() -> None:
    machine = Machine()
    set_filter(machine, parse(["sysreg:HCR_EL2"]))  # type: ignore[arg-type]
    key, chosen = sr.HCR_EL2.trap_key, machine.state.filter
    groups = [n for n, on in enumerate(machine.vcpus[0].observe.groups) if on]
    assert groups == [key >> 4]
    assert [n for n, mask in enumerate(chosen.registers) if mask] == [key >> 4]
    assert chosen.registers[key >> 4] == 1 << (key & 15) and chosen.by_register == 1
    assert wanted_by(machine) == {
        CONTEXT_VEL2 * 64 + EC.SYS64: watch.TRACE,
        CONTEXT_VEL1 * 64 + EC.SYS64: watch.TRACE,
        watch.AHEAD: watch.TRACE,
    }


def test_switches_are_seen_at_traps_that_are_not_traced() -> None:
    machine = Machine()
    set_filter(machine, parse(["kind:SWITCH"]))  # type: ignore[arg-type]
    assert set(wanted_by(machine).values()) == {watch.SWITCHES}
    assert machine.state.filter.kinds == 1 << Kind.SWITCH


def test_who_else_watches_goes_on() -> None:
    machine = Machine()
    observe = machine.vcpus[0].observe
    observe.anybody, observe.classes[EC.HVC64] = watch.HOOK, watch.HOOK
    set_filter(machine, Wanted())  # type: ignore[arg-type]
    stop_tracing(machine)  # type: ignore[arg-type]
    assert wanted_by(machine) == {EC.HVC64: watch.HOOK} and observe.anybody == watch.HOOK


@pytest.mark.parametrize("terms", [["pc:0x1000-0x1fff", "pc:0x3000"], ["from:L1", "pc:0x1000"]])
def test_addresses_are_asked_for_before_anything_is_saved(terms: list[str]) -> None:
    machine = Machine()
    wanted = parse(terms)
    set_filter(machine, wanted)  # type: ignore[arg-type]
    observe, chosen = machine.vcpus[0].observe, machine.state.filter
    assert observe.classes[EC.HVC64] & watch.BY_PC
    assert observe.pc_low == 0x1000
    assert observe.pc_low + observe.pc_span == max(high for _, high in wanted.ranges)
    assert [(r.low, r.low + r.span) for r in chosen.ranges][: chosen.range_count] == list(
        wanted.ranges
    )

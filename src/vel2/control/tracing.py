"""Tracing a machine: L0's filter is set, its rings are emptied, and what they held goes to a sink.

    with session, Tracer(session, sink, Wanted()):
        session.wait()

The filter is written into memory that L0 reads, so tracing begins and ends at any time. A thread of
the host empties the rings; L0 never waits for it. A ring that is full makes L0 count what is lost.
Only under `deterministic`, where a pause takes none of the guest's time, is the machine stopped
while a ring is more than half full: nothing is lost then, and a trace is the same each time.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from heapq import merge
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from vel2.arch.bits import TrapKey
from vel2.arch.esr import EC
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.hyp import watch
from vel2.hyp.records import FIQ, IRQ, SERROR
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.machine.qmp import MonitorError
from vel2.trace.filters import Wanted
from vel2.trace.schema import EVENT_BYTES, Event, Kind, Place, Vector

__all__ = ("Sink", "Tracer")

PERIOD_S = 0.005
Sink = Callable[[bytes], object]
"""Takes whole events, as they lay in a ring."""
CONTEXT_OF: dict[Place, int] = {
    place: CONTEXT_VEL2 if place in (Place.L1_EL2, Place.L1_EL2_EL0) else CONTEXT_VEL1
    for place in Place
    if place != Place.L0
}
INTERRUPTS = {Vector.IRQ: IRQ, Vector.FIQ: FIQ, Vector.SERROR: SERROR}
CLASS_OF_KIND = {
    Kind.ERET: watch.PLAIN_ERET,
    Kind.AHEAD: watch.AHEAD,
    Kind.FILL: watch.FILL,
    Kind.UNMAP: watch.UNMAP,
    Kind.PSCI: watch.PSCI,
}
WITH_SWITCHES = {Kind.SWITCH, Kind.TIMER}
OURS = watch.TRACE | watch.SWITCHES
GROUP_LSB = TrapKey.CRm.width


class Tracer:
    """Trace a VM from `__enter__` to `__exit__`, which takes what is left in the rings.

    :param sink: takes the events; one that raises OSError ends the trace, and nothing else.
    :ivar error: why the sink took no more; None while it does. :ivar taken: events it took.
    """

    def __init__(self, vm: Vm, sink: Sink, wanted: Wanted) -> None:
        self.vm = vm
        self.error: OSError | None = None
        self.taken = 0
        self._sink = sink
        self._wanted = wanted
        self._ended = threading.Event()
        self._barrier = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="vel2-trace", daemon=True)
        self._spools: list[IO[bytes]] = []
        if vm.request.deterministic and vm.request.smp > 1:
            self._spools = [TemporaryFile() for _ in range(vm.request.smp)]  # noqa: SIM115

    def __enter__(self) -> Self:
        for vcpu in self.vm.vcpus:
            if vcpu.ring.slots == 0:
                raise UserError("this machine has no room for a trace; make it with a ring.")
            # What another trace has left there is not ours.
            vcpu.ring.tail = vcpu.ring.head
        self._lost = [vcpu.ring.lost for vcpu in self.vm.vcpus]
        set_filter(self.vm, self._wanted)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stop_tracing(self.vm)
        self._ended.set()
        self._thread.join()
        self.drain()
        self._put_in_order()

    @property
    def lost(self) -> tuple[int, ...]:
        """How many events found their ring full, by vCPU."""
        rings = (vcpu.ring for vcpu in self.vm.vcpus)
        return tuple(ring.lost - lost for ring, lost in zip(rings, self._lost, strict=True))

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self.drain()

    def drain(self) -> None:
        """Take what is in the rings."""
        with suppress(MonitorError, OSError):  # the machine has ended
            if (
                self.vm.request.deterministic
                and any(map(is_half_full, self.vm.vcpus))
                and self.vm.monitor.status() == "running"
            ):
                self.vm.monitor.pause()
                try:
                    self._drain_all()
                finally:
                    self.vm.monitor.resume()
        self._drain_all()

    def _drain_all(self) -> None:
        for index, vcpu in enumerate(self.vm.vcpus):
            self._drain(index, vcpu)

    def _drain(self, index: int, vcpu: Vcpu) -> None:
        ring = vcpu.ring
        head = ring.head
        with self._barrier:  # what L0 stored before it published `head` is read after it
            tail, slots = ring.tail, ring.slots
        while tail != head:
            first = tail & (slots - 1)
            count = min(head - tail, slots - first)
            data = self.vm.memory.read(ring.base + first * EVENT_BYTES, count * EVENT_BYTES)
            tail += count
            ring.tail = tail
            self._take(index, data)

    def _take(self, index: int, data: bytes) -> None:
        """Hand events on. When that fails the rings are still emptied, so that nobody waits."""
        if self.error is not None:
            return
        try:
            if self._spools:
                self._spools[index].write(data)
            else:
                self._sink(data)
            self.taken += len(data) // EVENT_BYTES
        except OSError as error:
            self.error = error
            stop_tracing(self.vm)

    def _put_in_order(self) -> None:
        """Hand on the events of several vCPUs, which took the rings in an order of their own."""
        if self.error is not None:
            return
        try:
            each = [events_of(spool) for spool in self._spools]
            for _, data in merge(*each, key=lambda event: event[0]):
                self._sink(data)
        except OSError as error:
            self.error = error
        for spool in self._spools:
            spool.close()


def events_of(spool: IO[bytes]) -> "list[tuple[tuple[int, int, int], bytes]]":
    """Read the events of one vCPU back, each with what puts it in order: as they were stored."""
    spool.seek(0)
    found = []
    while data := spool.read(EVENT_BYTES):
        event = Event.decode(data)
        found.append(((event.ended, event.vcpu, event.sequence), data))
    return found


def is_half_full(vcpu: Vcpu) -> bool:
    """Whether a ring may be full before it is looked at again."""
    return vcpu.ring.head - vcpu.ring.tail > vcpu.ring.slots // 2


def set_filter(vm: Vm, wanted: Wanted) -> None:
    """Have L0 trace what is wanted, from now on."""
    stop_tracing(vm)
    chosen = vm.state.filter
    chosen.kinds = sum(1 << kind for kind in (*wanted.kinds, *traps_in(wanted)))
    chosen.sources = sum(1 << place for place in wanted.places)
    every_access = EC.SYS64 in wanted.classes
    chosen.by_register = int(not every_access)
    for group in range(watch.REGISTER_GROUPS):
        chosen.registers[group] = 0
    for key in wanted.registers:
        chosen.registers[key >> GROUP_LSB] |= 1 << TrapKey.CRm.get(key)
    chosen.range_count = len(wanted.ranges)
    for place, (low, high) in zip(chosen.ranges, wanted.ranges, strict=False):
        place.low, place.span = low, high - low
    for vcpu in vm.vcpus:
        write_classes(vcpu, wanted, every_access)
        vcpu.observe.anybody |= OURS


def traps_in(wanted: Wanted) -> list[Kind]:
    """Give TRAP, if any trap is wanted."""
    return [Kind.TRAP] if wanted.classes or wanted.vectors or wanted.registers else []


def write_classes(vcpu: Vcpu, wanted: Wanted, every_access: bool) -> None:
    """Mark the classes of events that are wanted of a vCPU, as narrowly as they can be marked."""
    observe = vcpu.observe
    contexts = {CONTEXT_OF[Place(place)] for place in wanted.places if place != Place.L0}
    switches = watch.SWITCHES if wanted.kinds & WITH_SWITCHES else 0
    narrow = 0
    if wanted.ranges:
        observe.pc_low = min(low for low, _ in wanted.ranges)
        observe.pc_span = max(high for _, high in wanted.ranges) - observe.pc_low
        narrow = watch.BY_PC
    for context in contexts:
        for number in range(watch.CLASSES_PER_CONTEXT):
            access = number == EC.SYS64 and wanted.registers
            bits = watch.TRACE if number in wanted.classes or access else 0
            if bits | switches:
                index = context * watch.CLASSES_PER_CONTEXT + number
                others = observe.classes[index]
                observe.classes[index] |= bits | switches | (0 if others else narrow)
        for vector, kind in INTERRUPTS.items():
            bits = watch.TRACE if vector in wanted.vectors else 0
            observe.classes[watch.class_of_interrupt(kind, context)] |= bits | switches
    for event, number in CLASS_OF_KIND.items():
        if event in wanted.kinds:
            observe.classes[number] |= watch.TRACE | (narrow if event == Kind.ERET else 0)
    if every_access or switches:
        for group in range(watch.REGISTER_GROUPS):
            observe.groups[group] = 1
    for key in wanted.registers:
        observe.groups[key >> GROUP_LSB] = 1


def stop_tracing(vm: Vm) -> None:
    """Have L0 trace nothing; who else watches goes on."""
    for vcpu in vm.vcpus:
        observe = vcpu.observe
        observe.anybody &= ~OURS
        for number in range(watch.CLASSES):
            if observe.classes[number]:
                observe.classes[number] &= ~(OURS | watch.BY_PC)
        if observe.anybody == 0:
            for group in range(watch.REGISTER_GROUPS):
                observe.groups[group] = 0

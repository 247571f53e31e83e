"""Maps that keep what a vCPU leaves in them: the last records, and notes for itself."""

from collections.abc import Iterator

from vel2.hyp.layout import MAX_PCPUS
from vel2.hyp.state import Vcpu
from vel2.lang import (
    PA,
    Struct,
    address_of,
    array,
    dmb_ishst,
    fetch_add_u64,
    resident,
    scalar,
    store_release_u64,
    u64,
    vstore,
)
from vel2.probes.maps import Map, Reading, Row, power_of_two, sized

__all__ = ("Last", "Scratch")

NUMBERS = 4
"""Of a record."""


class Last(Map):
    """The last records that each vCPU has left, of up to four numbers."""

    def __init__(self, count: int, name: str | None = None) -> None:
        size = power_of_two("Last", count)

        class Record(Struct):
            ticket = scalar(u64)
            """Its place in the order of all vCPUs, from 1; 0 while it is written."""
            words = array(u64, NUMBERS)
            spare = array(u64, 3)

        class Ring(Struct):
            records = array(Record, size)
            written = scalar(u64)
            spare = scalar(u64)

        class Memory(Struct):
            tickets = scalar(u64)
            spare = scalar(u64)
            rings = array(Ring, MAX_PCPUS)

        @resident
        def push(memory: Memory, vcpu: Vcpu, a: u64, b: u64 = 0, c: u64 = 0, d: u64 = 0) -> None:
            index = vcpu.index & (MAX_PCPUS - 1)
            ring = memory.rings[index]
            record = ring.records[ring.written & (size - 1)]
            ring.written = u64(ring.written + 1)
            vstore(record, "ticket", 0)
            dmb_ishst()
            record.words[0] = a
            record.words[1] = b
            record.words[2] = c
            record.words[3] = d
            ticket = fetch_add_u64(PA(address_of(memory)), 1)
            store_release_u64(PA(address_of(record)), u64(ticket + 1))

        super().__init__(Memory, {"push": push}, name)
        self.size = size

    def push(self, vcpu: Vcpu, a: u64, b: u64 = 0, c: u64 = 0, d: u64 = 0) -> None:
        """Leave a record, instead of this vCPU's oldest one."""
        self._call("push", vcpu, a, b, c, d)

    def read(self, memory: memoryview) -> "LastReading":
        """View the records."""
        return LastReading(self.struct(memory))


class LastReading(Reading):
    """The last records, live."""

    columns = ("number", "vcpu", "a", "b", "c", "d")

    @property
    def drops(self) -> int:
        """How many records have made room for later ones."""
        return max(0, int(self._memory.tickets) - len(self.rows()))

    def _records(self) -> Iterator[Row]:
        for vcpu, ring in enumerate(self._memory.rings):
            for record in ring.records:
                ticket = int(record.ticket)
                words = tuple(map(int, record.words))
                if ticket and int(record.ticket) == ticket:
                    yield (ticket, vcpu, *words)

    def rows(self) -> list[Row]:
        """Give the records of all vCPUs in the order they were left; none half written."""
        return sorted(self._records())


class Scratch(Map):
    """Notes of each vCPU, for itself: what one probe leaves for the next."""

    def __init__(self, count: int, name: str | None = None) -> None:
        size = sized("Scratch", count)

        class Notes(Struct):
            words = array(u64, size)

        class Memory(Struct):
            notes = array(Notes, MAX_PCPUS)

        @resident
        def put(memory: Memory, vcpu: Vcpu, index: u64, value: u64) -> None:
            if index < size:
                memory.notes[vcpu.index & (MAX_PCPUS - 1)].words[index] = value

        @resident
        def get(memory: Memory, vcpu: Vcpu, index: u64) -> u64:
            if index < size:
                return memory.notes[vcpu.index & (MAX_PCPUS - 1)].words[index]
            return 0

        super().__init__(Memory, {"put": put, "get": get}, name)

    def put(self, vcpu: Vcpu, index: u64, value: u64) -> None:
        """Note a value."""
        self._call("put", vcpu, index, value)

    def get(self, vcpu: Vcpu, index: u64) -> u64:
        """Give what was noted last, or 0."""
        found: int = self._call("get", vcpu, index)
        return found

    def read(self, memory: memoryview) -> "ScratchReading":
        """View the notes."""
        return ScratchReading(self.struct(memory))


class ScratchReading(Reading):
    """The notes, live."""

    columns = ("vcpu", "index", "value")
    is_result = False

    def rows(self) -> list[Row]:
        """Give those that are not 0."""
        return [
            (vcpu, index, int(value))
            for vcpu, notes in enumerate(self._memory.notes)
            for index, value in enumerate(notes.words)
            if value
        ]

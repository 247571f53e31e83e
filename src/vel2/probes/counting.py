"""Maps that count: by a small index, by any key, or by size.

`shows` says what an index, key or row is (`maps.SHOWN`), so that it can be shown as such.
"""

from vel2.lang import (
    PA,
    Struct,
    address_of,
    array,
    clz,
    compare_exchange_u64,
    fetch_add_u64,
    resident,
    scalar,
    u64,
    vload,
)
from vel2.probes.maps import NUMBER, Map, Reading, Row, power_of_two, sized

__all__ = ("Counters", "Hash", "Histogram")

BUCKETS = 65
"""Of a histogram: of 0, and of each power of two."""
TRIES = 8
"""So many places of a hash are looked at for a key."""
MULTIPLIER = 0x9E37_79B1
"""2**32 divided by the golden ratio, and prime: it spreads keys that differ in few bits."""


class Counters(Map):
    """A number of counters, from 0."""

    def __init__(self, count: int, shows: str = NUMBER, name: str | None = None) -> None:
        size = sized("Counters", count)

        class Memory(Struct):
            drops = scalar(u64)
            counts = array(u64, size)

        counts_at = Memory.offset_of("counts")

        @resident
        def add(memory: Memory, index: u64, n: u64 = 1) -> None:
            if index < size:
                fetch_add_u64(PA(address_of(memory) + counts_at + index * 8), n)
            else:
                fetch_add_u64(PA(address_of(memory)), 1)

        super().__init__(Memory, {"add": add}, name, shows)

    def add(self, index: u64, n: u64 = 1) -> None:
        """Add to a counter; one that is not there is a drop."""
        self._call("add", index, n)

    def read(self, memory: memoryview) -> "CountersReading":
        """View the counters."""
        return CountersReading(self.struct(memory), self.shows)


class CountersReading(Reading):
    """The counters, live."""

    columns = ("index", "count")

    @property
    def drops(self) -> int:
        """How often a counter was asked for that is not there."""
        return int(self._memory.drops)

    def __getitem__(self, index: int) -> int:
        return int(self._memory.counts[index])

    def __len__(self) -> int:
        return len(self._memory.counts)

    def rows(self) -> list[Row]:
        """Give those that are not 0, by index."""
        return [(index, int(n)) for index, n in enumerate(self._memory.counts) if n]


class Hash(Map):
    """Counts by a key of 64 bits; keys that find no place any more are drops.

    Key 0 has a place of its own, and one key less finds room than it has entries.
    """

    def __init__(self, capacity: int, shows: str = NUMBER, name: str | None = None) -> None:
        size = power_of_two("a Hash", capacity)

        class Entry(Struct):
            count = scalar(u64)
            key = scalar(u64)

        class Memory(Struct):
            entries = array(Entry, size)
            """The first one is that of key 0, which marks the others as free."""
            drops = scalar(u64)

        key_at, drops_at = Entry.offset_of("key"), Memory.offset_of("drops")

        @resident
        def add(memory: Memory, key: u64, n: u64 = 1) -> None:
            place = (u64(key * MULTIPLIER) >> 32) & (size - 1)
            first = memory.entries[place]
            if vload(first, "key") == key:
                fetch_add_u64(PA(address_of(first)), n)
                return
            for _ in range(TRIES):
                entry = memory.entries[place]
                found = vload(entry, "key")
                if found == 0 and place != 0:
                    found = compare_exchange_u64(PA(address_of(entry) + key_at), 0, key)
                    if found == 0:
                        found = key
                if found == key:
                    fetch_add_u64(PA(address_of(entry)), n)
                    return
                place = u64(place + 1) & (size - 1)
            fetch_add_u64(PA(address_of(memory) + drops_at), 1)

        super().__init__(Memory, {"add": add}, name, shows)

    def add(self, key: u64, n: u64 = 1) -> None:
        """Add to the count of a key."""
        self._call("add", key, n)

    def read(self, memory: memoryview) -> "HashReading":
        """View the counts."""
        return HashReading(self.struct(memory), self.shows)


class HashReading(Reading):
    """Counts by key, live."""

    columns = ("key", "count")

    @property
    def drops(self) -> int:
        """How often a key found no place."""
        return int(self._memory.drops)

    def items(self) -> list[tuple[int, int]]:
        """Give keys and counts, the largest count first."""
        found = [(int(each.key), int(each.count)) for each in self._memory.entries]
        found = [(key, n) for key, n in found if n]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def __getitem__(self, key: int) -> int:
        return dict(self.items()).get(key, 0)

    def __len__(self) -> int:
        return len(self.items())

    def rows(self) -> list[Row]:
        """Give the items."""
        return list(self.items())


class Histogram(Map):
    """How often values were how large, by powers of two; in rows, if it has more than one."""

    def __init__(self, rows: int = 1, shows: str = NUMBER, name: str | None = None) -> None:
        size = sized("a Histogram", rows)

        class Memory(Struct):
            drops = scalar(u64)
            sums = array(u64, size)
            counts = array(u64, size * BUCKETS)

        sums_at, counts_at = Memory.offset_of("sums"), Memory.offset_of("counts")

        @resident
        def record(memory: Memory, value: u64, row: u64 = 0) -> None:
            if row < size:
                bucket = u64(64 - clz(value))
                index = u64(row * BUCKETS + bucket)
                fetch_add_u64(PA(address_of(memory) + counts_at + index * 8), 1)
                fetch_add_u64(PA(address_of(memory) + sums_at + row * 8), value)
            else:
                fetch_add_u64(PA(address_of(memory)), 1)

        super().__init__(Memory, {"record": record}, name, shows)

    def record(self, value: u64, row: u64 = 0) -> None:
        """Count a value in a row; a row that is not there is a drop."""
        self._call("record", value, row)

    def read(self, memory: memoryview) -> "HistogramReading":
        """View the histogram."""
        return HistogramReading(self.struct(memory), self.shows)


class HistogramReading(Reading):
    """Counts by row and power of two, live."""

    columns = ("row", "from", "to", "count")

    @property
    def drops(self) -> int:
        """How often a row was asked for that is not there."""
        return int(self._memory.drops)

    def counts(self, row: int = 0) -> dict[int, int]:
        """Give how often values lay below each power of two, and not below the one before."""
        first = row * BUCKETS
        counts = [int(self._memory.counts[first + bucket]) for bucket in range(BUCKETS)]
        return {1 << bucket: n for bucket, n in enumerate(counts) if n}

    def mean(self, row: int = 0) -> float:
        """Give the mean of the values of a row; 0 if it has none."""
        total = sum(self.counts(row).values())
        return int(self._memory.sums[row]) / total if total else 0.0

    def rows(self) -> list[Row]:
        """Give what is not empty: row, the least and the greatest value of the bucket, count."""
        return [
            (row, limit >> 1, limit - 1, n)
            for row in range(len(self._memory.sums))
            for limit, n in self.counts(row).items()
        ]

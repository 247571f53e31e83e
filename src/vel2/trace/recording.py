"""A trace in a file: a header, events, and an end.

    MAGIC                              8 bytes
    version, length of the header      2 little-endian words of 32 bits
    header                             JSON: `About`
    events                             `schema.EVENT_BYTES` each, as L0 stored them
    end mark                           as large as an event, of kind 0; `value` is the length of
    end                                JSON: `End`

Events of one vCPU are in their order; those of several are as the host took them from the rings,
and `began` tells. A run that was killed leaves a trace without an end: all that is there can be
read, and `Recording.end` is None, which every reader has to say. Files are written and read in
pieces, so that their size does not matter.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from vel2.errors import UserError
from vel2.trace.schema import EVENT_BYTES, VERSION, Event

__all__ = ("About", "End", "Recorder", "Recording")

MAGIC = b"VEL2TRC\n"
PREFIX = struct.Struct("<8sII")
HEADER_LIMIT = 1 << 20
READ_EVENTS = 4096
END = 0
"""The kind of the end mark, which no event has."""


@dataclass(frozen=True)
class About:
    """What a trace is of.

    :ivar frequency: of the time stamps, in Hz. :ivar vcpus: how many there are.
    :ivar kernels: names or files of what ran, by level (`L1`, `L2`), as far as it is known.
    :ivar filters: what was asked for; empty for everything. :ivar run: of every result.
    """

    frequency: int
    vcpus: int
    kernels: Mapping[str, str] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """How it ended.

    :ivar lost: events that found their ring full, by vCPU.
    :ivar traps: what L0 has counted, as `vel2 run --json` has it.
    """

    lost: tuple[int, ...]
    traps: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """Write a trace, piece by piece.

    :param file: open for binary writing.
    """

    def __init__(self, file: IO[bytes], about: About) -> None:
        header = json.dumps(asdict(about)).encode()
        self._file = file
        file.write(PREFIX.pack(MAGIC, VERSION, len(header)) + header)

    def write(self, events: bytes | bytearray | memoryview) -> None:
        """Append events as they lie in a ring."""
        self._file.write(events)

    def end(self, end: End) -> None:
        """Say how it ended; nothing is written afterwards."""
        said = json.dumps(asdict(end)).encode()
        self._file.write(Event(kind=END, value=len(said)).encode() + said)
        self._file.flush()


class Recording:
    """A trace in a file, to be read as often as wanted.

    :ivar end: how it ended; None when the run was cut off, so that events may be missing.
    :raises UserError: when the file is none, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.about = self._read_about(file)
                self._first = file.tell()
                self.end, self.count = self._find_end(file)
        except OSError as error:
            raise UserError(f"the trace {path} cannot be read ({error.strerror}).") from error

    def events(self) -> Iterator[Event]:
        """Read the events in the order of the file.

        :raises UserError: when it is damaged.
        """
        left = self.count
        with self.path.open("rb") as file:
            file.seek(self._first)
            while left:
                data = file.read(min(left, READ_EVENTS) * EVENT_BYTES)
                for offset in range(0, len(data), EVENT_BYTES):
                    yield Event.decode(data, offset)
                left -= len(data) // EVENT_BYTES
                if not data:
                    raise self._refuse("has become shorter while it was read")

    def __iter__(self) -> Iterator[Event]:
        return self.events()

    @property
    def lost(self) -> int:
        """Events that are missing although the filters let them through."""
        return sum(self.end.lost) if self.end else 0

    @property
    def caveat(self) -> str:
        """What a reader has to be told: why it may be incomplete; empty when it is complete."""
        if self.end is None:
            return (
                f"the trace {self.path} has no end: the run was cut off after {self.count:,} events"
            )
        if self.lost:
            return f"{self.lost:,} events of {self.path} were lost: the host was too slow for L0"
        return ""

    def nanoseconds(self, ticks: int) -> int:
        """Convert a time stamp, or a time."""
        return ticks * 1_000_000_000 // self.about.frequency

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a trace that has at least one event.

        :raises UserError: when it has none.
        """
        found = cls(path)
        if not found.count:
            raise UserError(
                f"the trace {path} has no event: nothing happened that its filters let through."
            )
        return found

    def _refuse(self, why: str) -> UserError:
        return UserError(f"{self.path} {why}; record it again with vel2 run --trace FILE.")

    def _read_about(self, file: IO[bytes]) -> About:
        prefix = file.read(PREFIX.size)
        if len(prefix) < PREFIX.size or not prefix.startswith(MAGIC):
            raise self._refuse("is no trace of vel2's")
        _, version, length = PREFIX.unpack(prefix)
        if version != VERSION:
            raise self._refuse(f"is a trace of version {version}, and this vel2 reads {VERSION}")
        try:
            said = json.loads(file.read(min(length, HEADER_LIMIT)))
            about = About(**said | {"filters": tuple(said["filters"])})
        except (ValueError, TypeError, KeyError) as error:
            raise self._refuse("has a damaged header") from error
        if about.frequency <= 0:
            raise self._refuse("has a damaged header")
        return about

    def _find_end(self, file: IO[bytes]) -> tuple[End | None, int]:
        """Find the end mark, and count the events before it."""
        count = 0
        while data := file.read(READ_EVENTS * EVENT_BYTES):
            for offset in range(0, len(data) - EVENT_BYTES + 1, EVENT_BYTES):
                if data[offset] == END:
                    file.seek(self._first + (count + 1) * EVENT_BYTES)
                    return self._read_end(file, Event.decode(data, offset).value), count
                count += 1
        return None, count

    def _read_end(self, file: IO[bytes], length: int) -> End | None:
        data = file.read(min(length, HEADER_LIMIT))
        if len(data) < length:
            return None
        try:
            said = json.loads(data)
            return End(**said | {"lost": tuple(said["lost"])})
        except (ValueError, TypeError, KeyError) as error:
            raise self._refuse("has a damaged end") from error

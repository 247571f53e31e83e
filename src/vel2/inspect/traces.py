"""A trace, for a program: its events, its exits, and SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from vel2.control.traced import names_of
from vel2.trace.database import Database
from vel2.trace.exits import Exit, exits_of
from vel2.trace.recording import Recording
from vel2.trace.schema import Event

__all__ = ("Trace",)


class Trace:
    """A trace in a file, as `vel2 run --trace FILE` writes it; iterated, it gives its events.

    :param l1, l2: those levels' kernels, names or files, where the trace does not know them.
    :ivar caveat: why it may be incomplete, as a sentence; empty when it is complete.
    :raises UserError: when the file is no trace, or has no event.
    """

    def __init__(self, path: str | Path, *, l1: str | None = None, l2: str | None = None) -> None:
        self.recording = Recording.open(Path(path))
        self.caveat = self.recording.caveat
        given = {level: name for level, name in (("L1", l1), ("L2", l2)) if name}
        self._names = names_of(self.recording, given)
        self._database: Database | None = None

    def __iter__(self) -> Iterator[Event]:
        return self.recording.events()

    def __len__(self) -> int:
        return self.recording.count

    def exits(self) -> Iterator[Exit]:
        """Give the exits of L2, each from its trap to the next entry."""
        return exits_of(self)

    def function(self, event: Event) -> str:
        """Name the function that an event was in; empty when it is not known."""
        return self._names.function(event.source, event.pc)

    def nanoseconds(self, ticks: int) -> int:
        """Convert a time stamp of an event, or a time."""
        return self.recording.nanoseconds(ticks)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Ask in SQL (docs/trace.md); the first question takes the time to load the trace.

        :raises UserError: when the question is not understood, or DuckDB is not installed.
        """
        if self._database is None:
            self._database = Database(self.recording, self._names)
        return list(self._database.query(sql).rows)

    def close(self) -> None:
        """Give back what `query` has loaded."""
        if self._database is not None:
            self._database.__exit__(None, None, None)
            self._database = None

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

"""A trace as a database: SQL over it, and Parquet.

DuckDB holds it, in memory or, when that is short, in a temporary file of its own. The events pass
through it once, a row at a time, by way of a file of text, which it reads by the million: Python's
own way of inserting rows would take minutes.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vel2.errors import UserError
from vel2.scratch import scratch
from vel2.trace.exits import ExitFinder
from vel2.trace.recording import Recording
from vel2.trace.rows import EVENT_COLUMNS, EXIT_COLUMNS, Names, RowColumn, event_row, exit_row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ("VIEWS", "Answer", "Database")

VIEWS = {
    "traps": (
        "what L0 has to do for a guest: the traps, and ERETs that the vectors do",
        "SELECT * FROM events WHERE kind IN ('TRAP', 'ERET')",
    ),
    "switches": (
        "changes of context between L1 and its guest",
        "SELECT vcpu, began, ended, source, target, vmid FROM events WHERE kind = 'SWITCH'",
    ),
    "fills": (
        "leaves put into shadow stage-2 tables",
        "SELECT vcpu, began, ipa, value AS pa, detail AS leaf_level, vmid FROM events"
        " WHERE kind = 'FILL'",
    ),
    "unmaps": (
        "leaves taken out of them",
        "SELECT vcpu, began, ipa, detail AS bytes, value AS shadow_vttbr FROM events"
        " WHERE kind = 'UNMAP'",
    ),
    "counts": (
        "traps by class and level; equal to what L0 counts, if nothing is filtered or lost",
        "SELECT class, level, count(*) AS count, sum(cost) AS cost FROM traps"
        " GROUP BY class, level ORDER BY count DESC, class, level",
    ),
}
"""Views, with what they are about; `events` and `exits` are tables."""
Write = Callable[[Iterable[object]], object]
FETCHED = 1000
NULL = "\\N"


@dataclass(frozen=True)
class Answer:
    """What a query gives.

    :ivar rows: to be taken once.
    """

    columns: Sequence[str]
    rows: Iterator[tuple[object, ...]]


class Database:
    """A trace in DuckDB; a context manager.

    :raises UserError: when DuckDB is not installed.
    """

    def __init__(self, trace: Recording, names: Names) -> None:
        try:
            import duckdb
        except ImportError as error:
            raise UserError(
                "SQL and Parquet need DuckDB; install it with pip install 'vel2[trace]'."
            ) from error
        self._failure: type[Exception] = duckdb.Error
        self._connection: DuckDBPyConnection = duckdb.connect(":memory:")
        self._load(trace, names)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *details: object) -> None:
        self._connection.close()

    def query(self, sql: str) -> Answer:
        """Ask something.

        :raises UserError: with DuckDB's own sentence, when it is not understood.
        """
        try:
            cursor = self._connection.execute(sql)
        except self._failure as error:
            said = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(
                f"the query was not understood ({said}); the tables are events and exits, the"
                f" views {', '.join(VIEWS)}."
            ) from error
        return Answer([each[0] for each in cursor.description or ()], self._rows(cursor))

    def _rows(self, cursor: "DuckDBPyConnection") -> Iterator[tuple[object, ...]]:
        while rows := cursor.fetchmany(FETCHED):
            yield from rows

    def write_parquet(self, path: Path, table: str = "events") -> None:
        """Write a table or view to a file.

        :raises UserError: when it cannot be written.
        """
        quoted = str(path).replace("'", "''")
        try:
            self._connection.execute(f"COPY {table} TO '{quoted}' (FORMAT parquet)")
        except self._failure as error:
            said = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(f"{path} cannot be written ({said}).") from error

    def _load(self, trace: Recording, names: Names) -> None:
        with scratch() as folder:
            events, exits = folder / "events.csv", folder / "exits.csv"
            with (
                events.open("w", newline="", encoding="utf-8") as events_file,
                exits.open("w", newline="", encoding="utf-8") as exits_file,
            ):
                _write(
                    trace,
                    names,
                    csv.writer(events_file).writerow,
                    csv.writer(exits_file).writerow,
                )
            self._read("events", EVENT_COLUMNS, events)
            self._read("exits", EXIT_COLUMNS, exits)
        for name, (_, sql) in VIEWS.items():
            self._connection.execute(f"CREATE VIEW {name} AS {sql}")

    def _read(self, table: str, columns: Sequence[RowColumn], path: Path) -> None:
        types = ", ".join(f"'{column.name}': '{column.type}'" for column in columns)
        self._connection.execute(
            f"CREATE TABLE {table} AS SELECT * FROM read_csv('{path}', header = false,"
            f" auto_detect = false, delim = ',', quote = '\"', escape = '\"',"
            f" nullstr = '{NULL}', columns = {{{types}}})"
        )


def _write(trace: Recording, names: Names, events: Write, exits: Write) -> None:
    finder = ExitFinder()
    for event in trace.events():
        events(_cells(event_row(event, trace, names)))
        if (found := finder.see(event)) is not None:
            exits(_cells(exit_row(found, trace, names)))
    for found in finder.rest():
        exits(_cells(exit_row(found, trace, names)))


def _cells(row: Iterable[object]) -> list[object]:
    return [NULL if value is None else value for value in row]

"""A trace in SQL, in Parquet and for Perfetto, with times known beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trace_events import EVENTS, L2_PC, NoNames, TwoNames, write_trace
from vel2.errors import UserError
from vel2.trace.database import VIEWS, Database
from vel2.trace.exits import exits_of
from vel2.trace.perfetto import write_perfetto
from vel2.trace.recording import Recording
from vel2.trace.rows import EVENT_COLUMNS, EXIT_COLUMNS
from vel2.trace.schema import COLUMNS


@pytest.fixture
def trace(tmp_path: Path) -> Recording:
    return Recording.open(write_trace(tmp_path / "t"))


def ask(trace: Recording, sql: str) -> list[tuple[object, ...]]:
    with Database(trace, TwoNames()) as database:
        return list(database.query(sql).rows)


def test_an_exit_is_from_the_trap_to_the_next_entry() -> None:
    first, second = exits_of(EVENTS)
    assert (first.cause, first.ticks, first.traps, first.l0, first.l1) == (
        "hypercall",
        560,
        2,
        20 + 30 + 60,
        450,
    )
    assert (second.cause, second.entry, second.ticks, second.traps) == ("IRQ", None, 0, 1)


def test_every_column_of_the_schema_is_in_sql() -> None:
    """None is left out: `flags` are those of `far`, `ipa` and `direction`."""
    names = {column.name for column in EVENT_COLUMNS}
    assert {column.name for column in COLUMNS} - names == {"flags", "next_pstate"}
    assert all(column.about for column in (*EVENT_COLUMNS, *EXIT_COLUMNS))


def test_counts(trace: Recording) -> None:
    assert ask(trace, "select class, level, count from counts") == [
        ("ERET", "L1", 3),
        ("SYS64", "L1", 2),
        ("DABT_LOWER", "L2", 1),
        ("HVC64", "L2", 1),
        ("IRQ", "L2", 1),
    ]


def test_how_long_an_exit_took(trace: Recording) -> None:
    rows = ask(trace, "select cause, duration, l0, l1, traps, function, vmid from exits")
    assert rows == [
        ("hypercall", 560_000, 110_000, 450_000, 2, "do_idle", 5),
        ("IRQ", None, None, None, 1, "do_idle", 5),
    ]


def test_events_and_views(trace: Recording) -> None:
    assert ask(trace, "select register, direction, value, symbol from events where ec = 24") == [
        ("HCR_EL2", "write", 0x80, "kvm_vcpu_run+0x4"),
        ("HCR_EL2", "read", 0x80, "kvm_vcpu_run+0x4"),
    ]
    assert ask(trace, "select source, target from switches") == [("L1 vEL2", "L2 EL1")]
    assert ask(trace, "select ipa, pa, leaf_level from fills") == [(0x9000, 0x4567000, 3)]
    assert ask(trace, "select * from unmaps") == []
    assert ask(trace, "select ipa, far, pc from events where class = 'DABT_LOWER'") == [
        (0x9000, None, L2_PC)
    ]
    assert ask(trace, "select sequence from events order by sequence") == [(n,) for n in range(10)]


def test_a_wrong_query_is_a_sentence(trace: Recording) -> None:
    with Database(trace, NoNames()) as database, pytest.raises(UserError) as caught:
        database.query("select nothing from nowhere")
    assert str(caught.value).startswith("the query was not understood (Catalog Error: Table with")
    assert str(caught.value).endswith(f"events and exits, the views {', '.join(VIEWS)}.")
    assert "\n" not in str(caught.value)


def test_parquet(trace: Recording, tmp_path: Path) -> None:
    import duckdb

    file = tmp_path / "it's.parquet"
    with Database(trace, TwoNames()) as database:
        database.write_parquet(file)
        with pytest.raises(UserError, match="cannot be written"):
            database.write_parquet(tmp_path / "none" / "x.parquet")
    found = duckdb.connect().execute("select * from read_parquet(?)", [str(file)])
    assert [each[0] for each in found.description or ()] == [c.name for c in EVENT_COLUMNS]
    assert len(found.fetchall()) == len(EVENTS)


def test_perfetto(trace: Recording, tmp_path: Path) -> None:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

    file = tmp_path / "t.pftrace"
    assert write_perfetto(trace, TwoNames(), file) == 2
    made = Trace()
    made.ParseFromString(file.read_bytes())
    tracks = {p.track_descriptor.uuid: p.track_descriptor.name for p in made.packet}
    slices: list[tuple[str, str, int, int]] = []
    open_now: dict[str, list[tuple[str, int]]] = {}
    flows: dict[int, list[str]] = {}
    for packet in made.packet:
        event = packet.track_event
        if not packet.HasField("track_event"):
            continue
        name = tracks[event.track_uuid]
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_now.setdefault(name, []).append((event.name, packet.timestamp))
            for flow in (*event.flow_ids, *event.terminating_flow_ids):
                flows.setdefault(flow, []).append(f"{name}: {event.name}")
        else:
            title, began = open_now[name].pop()
            slices.append((name, title, began, packet.timestamp - began))
    assert not any(open_now.values())
    assert ("exits", "hypercall", 3_000_000, 560_000) in slices
    assert ("L1", "L1 handles hypercall", 3_020_000, 480_000) in slices
    assert ("L2", "L2", 2_050_000, 950_000) in slices
    assert ("L1", "L1 runs", 1_000_000, 1_000_000) in slices
    assert ("exits", "IRQ", 5_000_000, 405_000) in slices  # to the end of the trace
    assert ("L0", "write HCR_EL2", 1_000_000, 100_000) in slices
    assert flows[1] == [
        "L0: hypercall",
        "L1: L1 handles hypercall",
        "L0: ERET",
        "L2: L2",
    ]
    with pytest.raises(UserError, match="cannot be written"):
        write_perfetto(trace, NoNames(), tmp_path / "none" / "x")

"""Traces in files: written, read, cut off, damaged, empty, and no trace at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.trace.recording import About, End, Recorder, Recording
from vel2.trace.schema import EVENT_BYTES, Event, Kind

ABOUT = About(62_500_000, 2, {"L1": "6.12"}, ("ec:ERET",), {"vel2": "0"})
EVENTS = [Event(kind=Kind.TRAP, vcpu=n % 2, sequence=n // 2, began=n) for n in range(9000)]


def written(path: Path, events: list[Event], end: End | None) -> Path:
    with path.open("wb") as file:
        recorder = Recorder(file, ABOUT)
        for event in events:
            recorder.write(event.encode())
        if end is not None:
            recorder.end(end)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    end = End((0, 3), {"total": 9000})
    found = Recording.open(written(tmp_path / "t", EVENTS, end))
    assert found.about == ABOUT
    assert list(found) == list(found.events()) == EVENTS  # twice
    assert (found.end, found.count, found.lost) == (end, 9000, 3)
    assert found.nanoseconds(62_500_000) == 1_000_000_000
    assert found.caveat == (f"3 events of {tmp_path}/t were lost: the host was too slow for L0")


def test_a_complete_trace_needs_no_caveat(tmp_path: Path) -> None:
    assert Recording(written(tmp_path / "t", EVENTS, End((0, 0)))).caveat == ""


@pytest.mark.parametrize("cut", [1, 100, EVENT_BYTES, EVENT_BYTES * 5000])
def test_a_run_that_was_killed_says_so(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "t", EVENTS, None)
    path.write_bytes(path.read_bytes()[:-cut])
    found = Recording(path)
    assert found.end is None
    assert list(found) == EVENTS[: 9000 - -(-cut // EVENT_BYTES)]
    assert found.caveat.endswith(f"the run was cut off after {found.count:,} events")


def test_an_end_that_was_cut_off_is_none(tmp_path: Path) -> None:
    path = written(tmp_path / "t", EVENTS[:3], End((0, 0)))
    path.write_bytes(path.read_bytes()[:-2])
    found = Recording(path)
    assert (found.end, list(found)) == (None, EVENTS[:3])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "is no trace of vel2's"),
        (lambda data: b"x" + data[1:], "is no trace of vel2's"),
        (lambda data: data[:8] + b"\x63" + data[9:], "is a trace of version 99, and this vel2"),
        (lambda data: data[:30], "has a damaged header"),
        (lambda data: data.replace(b'"lost"', b'"last"'), "has a damaged end"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, damage: object, said: str) -> None:
    path = written(tmp_path / "t", EVENTS[:3], End((0, 0)))
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        Recording(path)
    assert str(caught.value).startswith(f"{path} {said}")
    assert str(caught.value).endswith("; record it again with vel2 run --trace FILE.")


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the trace .* cannot be read \(No such file"):
        Recording(tmp_path / "none")
    with pytest.raises(UserError, match="has no event: nothing happened"):
        Recording.open(written(tmp_path / "t", [], End((0, 0))))

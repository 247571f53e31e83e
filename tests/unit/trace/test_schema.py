"""The schema of events: a layout that every reader and L0 share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.trace import schema
from vel2.trace.schema import COLUMNS, EVENT_BYTES, USES, Column, Event, Kind, column, columns_of

EVENTS = st.builds(
    Event, **{each.name: st.integers(0, (1 << 8 * each.size) - 1) for each in COLUMNS}
)


@given(EVENTS)
def test_an_event_comes_back_from_its_bytes(event: Event) -> None:
    data = event.encode()
    assert len(data) == EVENT_BYTES
    assert Event.decode(data) == event
    assert Event.decode(b"\xff" * EVENT_BYTES + data, EVENT_BYTES) == event


@pytest.mark.parametrize("each", list(COLUMNS), ids=[each.name for each in COLUMNS])
def test_a_column_is_where_it_says(each: Column) -> None:
    """L0 stores by `Column.offset`: a store there must be what `decode` reads."""
    data = bytearray(EVENT_BYTES)
    data[each.offset : each.offset + each.size] = b"\xff" * each.size
    event = Event.decode(data)
    assert getattr(event, each.name) == (1 << 8 * each.size) - 1
    assert sum(getattr(event, other.name) != 0 for other in COLUMNS) == 1
    assert column(each.name) is each


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_uses_columns_that_there_are(kind: Kind) -> None:
    names = [each.name for each in columns_of(kind)]
    assert set(names) == {*schema.EVERY, *USES[kind]}
    assert len(names) == len(set(names))


def test_a_slot_of_a_ring_holds_one_event() -> None:
    """A ring's slots are found by shifting, and no event is cut by a page."""
    assert 1 << (EVENT_BYTES.bit_length() - 1) == EVENT_BYTES
    assert EVENT_BYTES <= 4096

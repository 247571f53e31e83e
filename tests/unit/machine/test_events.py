"""The monitor keeps what its machine says, as far as there is room."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from vel2.machine.qmp import EVENTS_LIMIT, Monitor


class Listener:
    """What a machine has said, as QEMU's library hands it over."""

    def __init__(self, events: list[dict[str, object]]) -> None:
        self.events = events

    def empty(self) -> bool:
        return not self.events

    def clear(self) -> list[dict[str, object]]:
        taken, self.events = self.events, []
        return taken


def test_a_flood_of_events_is_bounded() -> None:
    """A guest that sets its clock for ever; what it ends with is seen all the same."""
    monitor = Monitor(cast(Any, None), asyncio.new_event_loop())
    monitor._loop.close()
    flood: list[dict[str, object]] = [{"event": "RTC_CHANGE"}] * (3 * EVENTS_LIMIT)
    monitor.drain(cast(Any, Listener([*flood, {"event": "SHUTDOWN"}])))
    monitor.close()
    assert len(monitor.events) == EVENTS_LIMIT
    assert monitor.dropped_events == 2 * EVENTS_LIMIT + 1
    assert monitor.wait_event("SHUTDOWN", 0)["event"] == "SHUTDOWN"

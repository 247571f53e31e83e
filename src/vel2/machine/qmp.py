"""A blocking interface to QEMU's machine protocol (QMP).

The QEMU project's `qemu.qmp` speaks the protocol. It is asynchronous and runs on the machine's
service thread. Every other thread may use `Monitor`.
"""

import asyncio
import concurrent.futures
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from qemu.qmp import EventListener, ExecInterruptedError, ExecuteError, QMPClient, QMPError

__all__ = ("Event", "Monitor", "MonitorError")

Event = Mapping[str, Any]

EVENTS_LIMIT = 10_000
"""How many events are kept: a guest can cause some at will (a write to a clock, a disk's error)."""
COMMAND_TIMEOUT_S = 30.0

# The library logs each lost connection as an error; that QEMU went away, `MachineExit` and
# `LaunchError` tell. Without a handler of their own such records would be printed.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())


class MonitorError(Exception):
    """QEMU refused a QMP command, or is not there to take it."""


class Monitor:
    """Send QMP commands to a running machine and see its events."""

    def __init__(self, client: QMPClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=EVENTS_LIMIT)
        self._dropped_events = 0
        self._listeners: list[Callable[[Event], None]] = []
        self._closed = False
        self._shut_down = asyncio.Event()

    def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        timeout: float = COMMAND_TIMEOUT_S,
    ) -> Any:
        """Run one command and return what it returns.

        :raises MonitorError: when QEMU refuses it, ends, or does not answer in time.
        """
        call = self._client.execute(command, dict(arguments) if arguments else None)
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the loop is closed: the machine ended
            call.close()
            raise MonitorError(f"QMP {command}: the machine has ended") from None
        try:
            return future.result(timeout)
        except ExecuteError as error:
            raise MonitorError(f"QMP {command}: {error}") from error
        except concurrent.futures.TimeoutError:
            future.cancel()
            if inspect.getcoroutinestate(call) == inspect.CORO_CREATED:
                call.close()  # the loop was closed before it came to it: the machine ended
            raise MonitorError(f"QMP {command}: no answer within {timeout:g} s") from None
        except (ExecInterruptedError, QMPError, EOFError, OSError) as error:
            raise MonitorError(f"QMP {command}: the machine has ended") from error
        except concurrent.futures.CancelledError:
            raise MonitorError(f"QMP {command}: the machine has ended") from None

    def pause(self) -> None:
        """Stop all vCPUs (`stop`)."""
        self.execute("stop")

    def resume(self) -> None:
        """Let all vCPUs run (`cont`)."""
        self.execute("cont")

    def status(self) -> str:
        """Return QEMU's run state: `running`, `paused`, `prelaunch`, `shutdown`, ..."""
        return str(self.execute("query-status")["status"])

    @property
    def events(self) -> list[Event]:
        """The events so far, oldest first; only the latest if there are very many."""
        with self._changed:
            return list(self._events)

    @property
    def dropped_events(self) -> int:
        """How many of the oldest events have been dropped."""
        with self._changed:
            return self._dropped_events

    def on_event(self, listener: Callable[[Event], None]) -> None:
        """Call `listener(event)` for each event, on the machine's service thread."""
        self._listeners.append(listener)

    def wait_event(self, name: str, timeout: float) -> Event:
        """Return the first event of that name, past or future.

        :raises MonitorError: when none comes in time, or the machine ends without it.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self._events:
                    if event["event"] == name:
                        return event
                if self._closed:
                    raise MonitorError(f"the machine ended without a {name} event")
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._changed.wait(remaining):
                    raise MonitorError(f"no {name} event within {timeout:g} s")

    # What the service thread calls.

    async def collect(self, listener: EventListener) -> None:
        """Take events until cancelled."""
        async for message in listener:
            self._take(dict(message))

    async def shutdown(self) -> None:
        """Wait until QEMU says that the guest has ended it, or that it was told to end."""
        await self._shut_down.wait()

    def drain(self, listener: EventListener) -> None:
        """Take the events still queued after QEMU has gone."""
        while not listener.empty():
            for message in listener.clear():
                self._take(dict(message))

    def _take(self, event: Event) -> None:
        with self._changed:
            self._dropped_events += len(self._events) == EVENTS_LIMIT
            self._events.append(event)
            self._changed.notify_all()
        if event["event"] == "SHUTDOWN":
            self._shut_down.set()
        for listener in tuple(self._listeners):
            listener(event)

    def close(self) -> None:
        """Say that no more events will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

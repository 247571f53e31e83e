"""The guest's serial console.

Bytes arrive on the machine's service thread through `feed`, which appends them to the history and
the log file, hands them to the listeners, and wakes whoever waits for a pattern. Arriving bytes
drive all waiting: nothing here polls.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vel2.errors import UserError

__all__ = ("ESCAPES", "Console", "ConsoleClosed", "ConsoleTimeout", "Line")

HISTORY_LIMIT = 16 << 20
"""Bytes kept for `text` and `wait_for`, and characters for `lines`; a log file keeps more."""

LOG_LIMIT = 1 << 30
"""The most bytes in a log file: a guest that prints for ever must not fill the host's disk."""
LOG_END = b"\n[vel2: this log is full; what the guest wrote after this is not in it]\n"

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?")
"""Control sequences: what a guest tells the terminal and not its user."""

LINE_COST = 256
"""What a line takes besides its characters, at most."""

LINE_LIMIT = 64 << 10
"""Longest line kept whole; a guest that never ends a line must not eat the host's memory."""


MATCH_LIMIT = 4096
"""Longest match over several lines that `wait_for` is sure to see when it comes in pieces."""


class Line(NamedTuple):
    """One console line; `time` is the host's `time.monotonic()` when its end arrived."""

    time: float
    text: str


class ConsoleClosed(Exception):
    """The machine ended, so the expected text can no longer come."""


class ConsoleTimeout(Exception):
    """The expected text did not come in time."""


class Console:
    """Everything the guest writes to serial 0, and a way to write to it.

    :param log: file that receives every byte as it arrives.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._changed = threading.Condition()
        self._telling = threading.Lock()
        self._history = bytearray()
        self._dropped = 0
        self._partial = bytearray()
        self._lines: deque[Line] = deque()
        self._lines_cost = 0
        self._dropped_lines = 0
        self._log_room = LOG_LIMIT
        self._byte_listeners: list[Callable[[bytes, float], None]] = []
        self._line_listeners: list[Callable[[Line], None]] = []
        self._close_listeners: list[Callable[[], None]] = []
        self._send: Callable[[bytes], None] | None = None
        self._closed = False
        self._interruption: Exception | None = None
        self._typed = 0
        self._log: BinaryIO | None = None
        if log is not None:
            try:
                self._log = log.open("wb", buffering=0)
            except OSError as error:
                raise UserError(
                    f"the console log {log} cannot be written ({error.strerror}); choose another."
                ) from error

    # What users call.

    def on_bytes(self, listener: Callable[[bytes, float], None], *, replay: bool = False) -> None:
        """Call `listener(data, time)` for each arrival, on the machine's service thread.

        :param replay: first call it with what has been received; nothing comes twice or is missed.
        """
        with self._changed:
            if replay and self._history:
                listener(bytes(self._history), time.monotonic())
            self._byte_listeners.append(listener)

    def settle(self) -> None:
        """Wait until the listeners have been told of all that `wait_for` could have seen."""
        with self._telling:
            pass

    def on_line(self, listener: Callable[[Line], None]) -> None:
        """Call `listener(line)` for each complete line, on the machine's service thread."""
        self._line_listeners.append(listener)

    def on_close(self, listener: Callable[[], None]) -> None:
        """Call `listener()` once when no more bytes can come; immediately if that is already so."""
        with self._changed:
            if not self._closed:
                self._close_listeners.append(listener)
                return
        listener()

    def remove(self, listener: Callable[..., None]) -> None:
        """Stop calling a listener."""
        for listeners in (self._byte_listeners, self._line_listeners, self._close_listeners):
            if listener in listeners:
                listeners.remove(listener)

    def write(self, data: bytes | str) -> None:
        """Send input to the guest; dropped when the machine is not running."""
        encoded = data.encode() if isinstance(data, str) else data
        with self._changed:
            send = self._send
            self._typed += len(encoded)
        if send is not None:
            send(encoded)

    @property
    def text(self) -> str:
        """Everything received (the last 16 MiB of it), with bare line feeds."""
        with self._changed:
            return bytes(self._history).decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def data(self) -> bytes:
        """Everything received (the last 16 MiB of it), unchanged."""
        with self._changed:
            return bytes(self._history)

    @property
    def dropped_lines(self) -> int:
        """How many of the oldest lines have been dropped."""
        with self._changed:
            return self._dropped_lines

    @property
    def lines(self) -> list[Line]:
        """The complete lines that are kept, oldest first."""
        with self._changed:
            return list(self._lines)

    def tail(self, count: int = 20) -> str:
        """Return the last lines, the unfinished one included."""
        with self._changed:
            lines = [line.text for line in list(self._lines)[-count:]]
            if self._partial:
                lines.append(self._partial.decode("utf-8", "replace"))
        return "\n".join(lines[-count:])

    def wait_for(
        self, pattern: str | re.Pattern[str], timeout: float, start: int = 0
    ) -> re.Match[str]:
        """Wait until the console text holds `pattern`, past or future.

        Control sequences are no text: a shell that asks for the cursor's position behind its
        prompt has the prompt at the end of the line all the same.

        :param pattern: regular expression; `^` and `$` match at lines, a match over several lines
            is found when it is at most 4 KiB long.
        :param start: count of received bytes before which nothing is looked at (see `position`).
        :raises ConsoleTimeout: after `timeout` seconds.
        :raises ConsoleClosed: when the machine ended without writing it.
        """
        compiled = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else pattern
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                received = bytes(self._history[max(0, start - self._dropped) :])
                # Look at each byte about once, however small the pieces come in.
                start += max(0, received.rfind(b"\n", 0, max(0, len(received) - MATCH_LIMIT)) + 1)
                text = received.decode("utf-8", "replace").replace("\r\n", "\n")
                match = compiled.search(ESCAPES.sub("", text))
                if match is not None:
                    return match
                if self._interruption is not None:
                    raise self._interruption
                if self._closed:
                    raise ConsoleClosed(f"the machine ended before it wrote {compiled.pattern!r}")
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._changed.wait(remaining):
                    raise ConsoleTimeout(f"no {compiled.pattern!r} within {timeout:g} s")

    def interrupt(self, error: Exception | None) -> None:
        """Have everyone who waits for text get `error` instead, until this is called with None."""
        with self._changed:
            self._interruption = error
            self._changed.notify_all()

    @property
    def position(self) -> int:
        """How many bytes have been received so far."""
        with self._changed:
            return self._dropped + len(self._history)

    @property
    def typed(self) -> int:
        """How many bytes have been sent to the guest so far: it may echo them."""
        with self._changed:
            return self._typed

    @property
    def closed(self) -> bool:
        """True once no more bytes can come."""
        with self._changed:
            return self._closed

    # What the machine calls.

    def connect(self, send: Callable[[bytes], None]) -> None:
        """Set where input goes."""
        with self._changed:
            self._send = send

    def feed(self, data: bytes) -> None:
        """Take bytes that the guest wrote."""
        with self._telling:
            self._take(data)

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        self._write_log(data)
        with self._changed:
            self._history += data
            excess = len(self._history) - HISTORY_LIMIT
            if excess > HISTORY_LIMIT // 4:
                del self._history[:excess]
                self._dropped += excess
            lines = self._split(data, now)
            self._keep(lines)
            listeners = tuple(self._byte_listeners)
            self._changed.notify_all()
        for listener in listeners:
            listener(data, now)
        for line in lines:
            for line_listener in tuple(self._line_listeners):
                line_listener(line)

    def _write_log(self, data: bytes) -> None:
        if self._log is None or self._log_room <= 0:
            return
        self._log.write(data[: self._log_room])
        self._log_room -= len(data)
        if self._log_room <= 0:
            self._log.write(LOG_END)

    def _keep(self, lines: list[Line]) -> None:
        """Add lines, and drop as many of the oldest as there is no room for."""
        self._lines.extend(lines)
        self._lines_cost += sum(len(line.text) + LINE_COST for line in lines)
        while self._lines_cost > HISTORY_LIMIT:
            self._lines_cost -= len(self._lines.popleft().text) + LINE_COST
            self._dropped_lines += 1

    def _split(self, data: bytes, now: float) -> list[Line]:
        self._partial += data
        *complete, rest = bytes(self._partial).split(b"\n")
        if len(rest) > LINE_LIMIT:
            complete, rest = [*complete, rest], b""
        self._partial = bytearray(rest)
        return [Line(now, part.rstrip(b"\r").decode("utf-8", "replace")) for part in complete]

    def close(self) -> None:
        """Say that no more bytes will come, and wake everyone who waits."""
        last: list[Line] = []
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._send = None
            if self._partial:
                last = self._split(b"\n", time.monotonic())
                self._keep(last)
            self._changed.notify_all()
        for line in last:
            for listener in tuple(self._line_listeners):
                listener(line)
        for close_listener in tuple(self._close_listeners):
            close_listener()
        if self._log is not None:
            self._log.close()

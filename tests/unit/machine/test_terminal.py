"""The interactive console: one escape key, and a terminal that is always given back."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.limits import LIMIT_S
from tests.processes import started
from vel2.machine.console import Console
from vel2.machine.terminal import BACKLOG_LIMIT, HELP, Backlog, Command, EscapeFilter, interact


@pytest.mark.parametrize(
    ("typed", "forwarded", "commands"),
    [
        (b"ls\r", b"ls\r", []),
        (b"\x03\x1a", b"\x03\x1a", []),
        (b"\x01x", b"", [Command.QUIT]),
        (b"\x01X", b"", [Command.QUIT]),
        (b"\x01h", b"", [Command.HELP]),
        (b"a\x01\x01b", b"a\x01b", []),
        (b"\x01a", b"\x01", []),
        (b"\x01zq", b"q", []),
    ],
)
def test_escape_key(typed: bytes, forwarded: bytes, commands: list[Command]) -> None:
    assert EscapeFilter().feed(typed) == (forwarded, commands)


@given(st.lists(st.sampled_from([b"\x01", b"x", b"h", b"a", b"q", b"\x01x"])))
def test_keys_may_come_in_any_pieces(pieces: list[bytes]) -> None:
    split = EscapeFilter()
    results = [split.feed(piece) for piece in pieces]
    forwarded = b"".join(part for part, _ in results)
    commands = [command for _, found in results for command in found]
    assert (forwarded, commands) == EscapeFilter().feed(b"".join(pieces))


class Session:
    """`interact` on a pseudo-terminal, in a thread."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.settings = termios.tcgetattr(self.slave)
        self.console = Console()
        self.sent: list[bytes] = []
        self.console.connect(self.sent.append)
        self.left: list[bool] = []
        self.thread = threading.Thread(
            target=lambda: self.left.append(interact(self.console, self.slave, self.slave)),
            daemon=True,
        )

    def read_until(self, wanted: bytes) -> bytes:
        seen = b""
        while wanted not in seen:
            seen += os.read(self.master, 4096)
        return seen

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


def test_session_forwards_both_ways_and_restores_the_terminal() -> None:
    session = Session()
    session.console.feed(b"early\n")
    session.thread.start()
    assert session.read_until(b"early\n") == b"early\n", "raw mode does not add a return"
    session.console.feed(b"prompt# ")
    session.read_until(b"prompt# ")
    local_flags = termios.tcgetattr(session.slave)[3]
    assert not local_flags & (termios.ECHO | termios.ICANON | termios.ISIG)
    os.write(session.master, b"l\x03s\x01h")
    session.read_until(HELP.encode())
    os.write(session.master, b"\x01\x01\x01x")
    session.thread.join(LIMIT_S)
    assert session.left == [True]
    assert b"".join(session.sent) == b"l\x03s\x01"
    assert termios.tcgetattr(session.slave) == session.settings
    session.close()


def test_session_ends_with_the_machine() -> None:
    session = Session()
    session.thread.start()
    session.console.feed(b"bye\n")
    session.console.close()
    session.thread.join(LIMIT_S)
    assert session.left == [False]
    assert session.read_until(b"bye\n")
    assert termios.tcgetattr(session.slave) == session.settings
    session.close()


def test_input_from_a_pipe_is_forwarded_as_it_is() -> None:
    console = Console()
    sent: list[bytes] = []
    arrived = threading.Event()

    def send(data: bytes) -> None:
        sent.append(data)
        arrived.set()

    console.connect(send)
    keys_read, keys_write = os.pipe()
    out_read, out_write = os.pipe()
    os.write(keys_write, b"\x01x")
    os.close(keys_write)
    thread = threading.Thread(target=interact, args=(console, keys_read, out_write), daemon=True)
    thread.start()
    assert arrived.wait(LIMIT_S)
    console.close()
    thread.join(LIMIT_S)
    assert sent == [b"\x01x"], "without a terminal there is no escape key"
    for fd in (keys_read, out_read, out_write):
        os.close(fd)


CHILD = """
from vel2.machine.console import Console
from vel2.machine.terminal import interact
console = Console()
console.feed(b"raw now")
interact(console)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_deadly_signal_restores_the_terminal(number: signal.Signals) -> None:
    master, slave = pty.openpty()
    settings = termios.tcgetattr(slave)
    with started([sys.executable, "-c", CHILD], stdin=slave, stdout=slave) as child:
        seen = b""
        while b"raw now" not in seen:
            seen += os.read(master, 4096)
        assert termios.tcgetattr(slave) != settings
        child.send_signal(number)
        assert child.wait(LIMIT_S) == -number
    assert termios.tcgetattr(slave) == settings
    os.close(master)
    os.close(slave)


def test_a_terminal_that_takes_nothing_costs_no_more_than_a_backlog() -> None:
    backlog = Backlog()
    piece = bytes(1 << 20)
    backlog.add(bytes(BACKLOG_LIMIT + 5))
    for _ in range(3):
        backlog.add(piece)
    assert len(backlog.take()) == BACKLOG_LIMIT + 5, "the replay comes in one piece"
    backlog.add(b"after a gap")
    assert backlog.take() == b"\r\n[vel2: %d bytes were not shown]\r\n" % (3 * len(piece) + 11)
    backlog.add(b"shown again")
    assert [backlog.take(), backlog.take()] == [b"shown again", b""]

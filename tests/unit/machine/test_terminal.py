"""The interactive console: one escape key, and a terminal that is always given back."""

from __future__ import annotations

import os
import pty
import re
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
from vel2.machine.terminal import (
    BACKLOG_LIMIT,
    HELP,
    AtEof,
    Backlog,
    Command,
    EscapeFilter,
    Screen,
    Typing,
    interact,
)


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


class Piped:
    """`interact` with a pipe at each side, in a thread."""

    def __init__(self, typing: Typing) -> None:
        self.console = Console()
        self.sent = bytearray()
        self._arrived = threading.Condition()
        self.console.connect(self._take)
        self.keys, self._keys_far = os.pipe()
        self.out, self._out_far = os.pipe()
        self.left: list[bool] = []
        self.thread = threading.Thread(target=self._run, args=(typing,), daemon=True)

    def _run(self, typing: Typing) -> None:
        self.left.append(interact(self.console, self.keys, self._out_far, typing=typing))

    def _take(self, data: bytes) -> None:
        with self._arrived:
            self.sent += data
            self._arrived.notify_all()

    def type(self, data: bytes) -> None:
        os.write(self._keys_far, data)
        os.close(self._keys_far)

    def wait_for(self, data: bytes) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.sent == data, LIMIT_S), self.sent

    def end(self) -> list[bool]:
        self.console.close()
        self.thread.join(LIMIT_S)
        for fd in (self.keys, self.out, self._out_far):
            os.close(fd)
        return self.left


@pytest.mark.parametrize(
    ("at_eof", "sent", "left"),
    [
        (AtEof.IGNORE, b"keys", False),
        (AtEof.CTRL_D, b"keys\x04", False),
        (AtEof.END, b"keys", True),
    ],
)
def test_the_end_of_input(at_eof: AtEof, sent: bytes, left: bool) -> None:
    piped = Piped(Typing(at_eof))
    piped.thread.start()
    piped.type(b"keys")
    if at_eof is AtEof.END:
        piped.thread.join(LIMIT_S)
    piped.wait_for(sent)
    assert piped.end() == [left]


def test_input_waits_for_the_guest() -> None:
    piped = Piped(Typing(AtEof.CTRL_D, re.compile("L1# $")))
    piped.type(b"l2\n")
    piped.thread.start()
    piped.console.feed(b"booting\n")
    assert os.read(piped.out, 100) == b"booting\n"
    assert piped.sent == b""
    piped.console.feed(b"L1# ")
    piped.wait_for(b"l2\n\x04")
    assert piped.end() == [False]


def test_the_text_that_lets_input_through_is_shown_before_its_end_ends_all() -> None:
    """A listener that is slow keeps the terminal from hearing of the text for a while."""
    piped, slow = Piped(Typing(AtEof.END, re.compile("> "))), threading.Event()
    piped.console.on_bytes(lambda data, time: slow.wait(LIMIT_S) and None)
    piped.type(b"")
    piped.thread.start()
    feeding = threading.Thread(target=piped.console.feed, args=(b"> ",))
    feeding.start()
    assert piped.console.wait_for("> ", LIMIT_S)
    piped.thread.join(0.2)
    assert piped.left == []
    slow.set()
    piped.thread.join(LIMIT_S)
    feeding.join(LIMIT_S)
    assert (os.read(piped.out, 100), piped.end()) == (b"> ", [True])


def test_input_that_nobody_waits_for_is_not_sent() -> None:
    piped = Piped(Typing(AtEof.END, re.compile("never")))
    piped.type(b"keys")
    piped.thread.start()
    assert (piped.end(), piped.sent) == ([False], b"")


def test_a_message_has_a_line_of_its_own() -> None:
    read, write = os.pipe()
    also = os.dup(write)
    other_read, other = os.pipe()
    screen = Screen()
    assert screen.around(write) == ("", ""), "nothing is shown yet"
    with screen.shown_on(write, is_raw=False):
        screen.write(b"a line\n")
        assert screen.around(also) == ("", "")
        screen.write(b"a prompt# ")
        assert screen.around(other) == ("", ""), "it goes elsewhere"
        assert screen.around(also) == ("\n", "")
        assert screen.around(also) == ("", ""), "the message has ended the line"
        screen.write(b"more")
    assert screen.around(also) == ("\n", ""), "when the machine has ended, too"
    for fd in (read, write, also, other_read, other):
        os.close(fd)


def test_a_message_in_raw_mode_returns_the_carriage() -> None:
    near, far = pty.openpty()
    screen = Screen()
    with screen.shown_on(far, is_raw=True):
        screen.write(b"a prompt# ")
        assert screen.around(far) == ("\r\n", "\r")
        assert screen.around(far) == ("", "\r")
    assert screen.around(far) == ("", "")
    os.close(near)
    os.close(far)


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

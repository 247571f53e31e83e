"""Connect the user's terminal to a guest's console.

The terminal is in raw mode meanwhile, so that every key, Ctrl-C and Ctrl-Z too, is the guest's.
Ctrl-A is the one key taken: Ctrl-A X leaves, Ctrl-A H shows help, Ctrl-A Ctrl-A (or Ctrl-A A) sends
a Ctrl-A. The terminal's settings come back however the session ends, short of SIGKILL.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Iterator
from enum import Enum
from types import FrameType

from vel2.errors import OutputError
from vel2.machine.console import Console

__all__ = ("Command", "EscapeFilter", "interact")

CTRL_A = 0x01
READ_BYTES = 4096
BACKLOG_LIMIT = 16 << 20
"""Bytes kept for a terminal that takes none; the rest is dropped, and how much is said."""
HELP = (
    "\r\nCtrl-A X  end the machine and leave\r\nCtrl-A H  this help\r\n"
    "Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n"
)
FATAL_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Command(Enum):
    """What the user asked of us rather than of the guest."""

    QUIT = "quit"
    HELP = "help"


class Backlog:
    """What the guest has written and the terminal has not taken yet: bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Append what came; when there is no room, count it instead."""
        with self._lock:
            # What is behind something dropped is dropped too, or the text would lie.
            is_full = self._pieces and self._bytes + len(data) > BACKLOG_LIMIT
            if is_full or self._dropped:
                self._dropped += len(data)
                return
            self._pieces.append(data)
            self._bytes += len(data)

    def take(self) -> bytes:
        """Take the next piece; behind the last, what was dropped; nothing when there is nothing."""
        with self._lock:
            if self._pieces:
                piece = self._pieces.popleft()
                self._bytes -= len(piece)
                return piece
            dropped, self._dropped = self._dropped, 0
        return f"\r\n[vel2: {dropped} bytes were not shown]\r\n".encode() if dropped else b""


class EscapeFilter:
    """Tell the user's commands from what is for the guest; keys may come in any pieces."""

    def __init__(self) -> None:
        self._escaped = False

    def feed(self, data: bytes) -> tuple[bytes, list[Command]]:
        """Return what goes to the guest, and the commands found."""
        forward = bytearray()
        commands: list[Command] = []
        for byte in data:
            if not self._escaped:
                if byte == CTRL_A:
                    self._escaped = True
                else:
                    forward.append(byte)
                continue
            self._escaped = False
            if byte in b"xX":
                commands.append(Command.QUIT)
            elif byte in b"hH?":
                commands.append(Command.HELP)
            elif byte in (CTRL_A, *b"aA"):
                forward.append(CTRL_A)
            # Any other key after Ctrl-A does nothing, as in QEMU.
        return bytes(forward), commands


@contextlib.contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Put a terminal into raw mode; give it back as it was, also when a signal ends us."""
    if not os.isatty(fd):
        yield
        return
    saved = termios.tcgetattr(fd)

    def restore() -> None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, saved)

    def die(number: int, frame: FrameType | None) -> None:
        restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in FATAL_SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, die)
    try:
        tty.setraw(fd)
        yield
    finally:
        restore()
        for number, handler in previous.items():
            signal.signal(number, handler)


def interact(
    console: Console, stdin: int | None = None, stdout: int | None = None, replay: bool = True
) -> bool:
    """Connect a terminal to a console until the user leaves or the machine ends.

    :param stdin: descriptor of the terminal; the process's own when None.
    :param replay: show what the console has said so far first.
    :return: True when the user asked to leave; the machine then still runs.
    """
    stdin = sys.stdin.fileno() if stdin is None else stdin
    stdout = sys.stdout.fileno() if stdout is None else stdout
    waiting = Backlog()
    sleeper, waker = socket.socketpair()
    waker.setblocking(False)

    def wake() -> None:
        # A full socket wakes as well; a closed one means that a last call came too late.
        with contextlib.suppress(OSError):
            waker.send(b"!")

    def arrived(data: bytes, time: float) -> None:
        waiting.add(data)
        wake()

    if replay:
        waiting.add(console.data)
    console.on_bytes(arrived)
    console.on_close(wake)
    try:
        with raw_mode(stdin):
            return _pump(console, stdin, stdout, sleeper, waiting)
    finally:
        console.remove(arrived)
        console.remove(wake)
        sleeper.close()
        waker.close()


def _pump(
    console: Console, stdin: int, stdout: int, sleeper: socket.socket, waiting: "Backlog"
) -> bool:
    """Move bytes both ways. The guest's are queued, so a slow terminal cannot stall the machine."""
    keys = EscapeFilter()
    sources: list[int | socket.socket] = [stdin, sleeper]
    while True:
        closed = console.closed
        while data := waiting.take():
            _write_all(stdout, data)
        if closed:
            return False
        ready, _, _ = select.select(sources, [], [])
        if sleeper in ready:
            sleeper.recv(READ_BYTES)
        if stdin not in ready:
            continue
        data = _read_keys(stdin)
        if not data:  # no more input, but the guest may go on
            sources.remove(stdin)
            continue
        forward, commands = keys.feed(data) if os.isatty(stdin) else (data, [])
        if forward:
            console.write(forward)
        if Command.HELP in commands:
            _write_all(stdout, HELP.encode())
        if Command.QUIT in commands:
            return True


def _read_keys(stdin: int) -> bytes:
    try:
        return os.read(stdin, READ_BYTES)
    except OSError:  # the terminal went away
        return b""


def _write_all(stdout: int, data: bytes) -> None:
    """Write to the user's terminal, or what is in its place.

    :raises BrokenPipeError: when the reader has left.
    :raises OutputError: when it cannot be written for another reason.
    """
    while data:
        try:
            data = data[os.write(stdout, data) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError.of(error) from error

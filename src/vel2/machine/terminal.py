"""Connect the user's terminal to a guest's console.

Meanwhile the terminal is in raw mode, so that every key is the guest's, Ctrl-C and Ctrl-Z included.
Only Ctrl-A is taken: Ctrl-A X leaves, Ctrl-A H shows help, Ctrl-A Ctrl-A (or Ctrl-A A) sends a
Ctrl-A. The terminal's settings come back however the session ends, short of SIGKILL.

Input that is no terminal is data, and no byte of it is a key: Ctrl-A goes to the guest too. Its end
may mean one of three things (`AtEof`). Input can be held back until the guest asks for it. Without
that, what a script types at once is lost, because Linux empties the UART when its driver starts.
"""

import contextlib
import os
import re
import select
import signal
import socket
import stat
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import FrameType

from vel2.errors import OutputError
from vel2.machine.console import Console, ConsoleClosed

__all__ = ("AtEof", "Command", "EscapeFilter", "Screen", "Typing", "interact")

CTRL_A = 0x01
READ_BYTES = 4096
BACKLOG_LIMIT = 16 << 20
"""Bytes kept for a terminal that takes none. The rest is dropped, and its size is reported."""
HELP = (
    "\r\nCtrl-A X  end the machine and leave\r\nCtrl-A H  this help\r\n"
    "Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n"
)
FATAL_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
END_OF_TRANSMISSION = b"\x04"


class AtEof(Enum):
    """What becomes of the machine when input that is no terminal has ended."""

    IGNORE = "ignore"
    END = "end"
    CTRL_D = "ctrl-d"


@dataclass(frozen=True)
class Typing:
    """How input that is no terminal is treated.

    :ivar after: nothing is sent until the console has text that matches.
    """

    at_eof: AtEof = AtEof.IGNORE
    after: re.Pattern[str] | None = None


class Screen:
    """The place where the guest's console is shown, shared with our own messages.

    A message of ours begins on a line of its own, and ends it as the terminal's mode asks for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._output: int | None = None
        self._is_within_line = False
        self._is_raw = False

    @contextlib.contextmanager
    def shown_on(self, output: int, is_raw: bool) -> Iterator[None]:
        """Name the place where the console goes meanwhile, and remember how its last line ended."""
        self._output, self._is_raw = output, is_raw
        try:
            yield
        finally:
            self._is_raw = False

    def write(self, data: bytes) -> None:
        """Write what the guest has written.

        :raises BrokenPipeError: when the reader has left.
        :raises OutputError: when it cannot be written for another reason.
        """
        assert self._output is not None
        with self._lock:
            _write_all(self._output, data)
            self._is_within_line = not data.endswith(b"\n")

    def around(self, descriptor: int) -> tuple[str, str]:
        """Give what must be written before and after a message's text, except for a line feed.

        :param descriptor: where the message goes.
        """
        if self._output is None or not _are_one(self._output, descriptor):
            return "", ""
        with self._lock:
            is_within, self._is_within_line = self._is_within_line, False
        end = "\r" if self._is_raw else ""
        return (f"{end}\n" if is_within else ""), end


def _are_one(one: int, other: int) -> bool:
    """Whether two descriptors write to one file, pipe or terminal."""
    try:
        first, second = os.fstat(one), os.fstat(other)
    except OSError:  # one of them is closed
        return False
    if stat.S_ISCHR(first.st_mode) and stat.S_ISCHR(second.st_mode):
        return first.st_rdev == second.st_rdev
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


class Command(Enum):
    """What the user asked of vel2, not of the guest."""

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
        """Take the next piece; after the last one, a report of what was dropped; else nothing."""
        with self._lock:
            if self._pieces:
                piece = self._pieces.popleft()
                self._bytes -= len(piece)
                return piece
            dropped, self._dropped = self._dropped, 0
        return f"\r\n[vel2: {dropped} bytes were not shown]\r\n".encode() if dropped else b""


class EscapeFilter:
    """Separate the user's commands from input for the guest; keys may come in any pieces."""

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
def raw_mode(fd: int) -> Iterator[bool]:
    """Put a terminal into raw mode, and restore it, even when a signal ends us.

    :return: whether it is one.
    """
    if not os.isatty(fd):
        yield False
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
        yield True
    finally:
        restore()
        for number, handler in previous.items():
            signal.signal(number, handler)


def interact(
    console: Console,
    stdin: int | None = None,
    stdout: int | None = None,
    *,
    replay: bool = True,
    typing: Typing = Typing(),
    screen: Screen | None = None,
) -> bool:
    """Connect a terminal to a console until the user leaves or the machine ends.

    :param stdin: descriptor of the terminal; the process's own when None.
    :param replay: first show everything the console has printed so far.
    :param screen: told of what is written, so that others can write there, too.
    :return: True when the user asked to leave; the machine then still runs.
    """
    stdin = sys.stdin.fileno() if stdin is None else stdin
    stdout = sys.stdout.fileno() if stdout is None else stdout
    screen = Screen() if screen is None else screen
    with (
        _Link(console, stdin, typing, replay) as link,
        raw_mode(stdin) as is_raw,
        screen.shown_on(stdout, is_raw),
    ):
        return link.run(screen)


class _Link:
    """Bytes on their way between a console and a terminal.

    The guest's are queued, so a slow terminal cannot stall the machine.
    """

    def __init__(self, console: Console, stdin: int, typing: Typing, replay: bool) -> None:
        self._console = console
        self._stdin = stdin
        self._is_terminal = os.isatty(stdin)
        self._typing = Typing() if self._is_terminal else typing
        self._keys = EscapeFilter()
        self._waiting = Backlog()
        self._may_type = threading.Event()
        self._sleeper, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._former_waker: int | None = None
        self._replay = replay

    def __enter__(self) -> "_Link":
        self._console.on_bytes(self._arrived, replay=self._replay)
        self._console.on_close(self._wake)
        if threading.current_thread() is threading.main_thread():
            # A signal between two instructions of Python, right before it waits, would otherwise be
            # handled when the next key comes.
            waker = self._waker.fileno()
            self._former_waker = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        if self._typing.after is None:
            self._may_type.set()
        else:
            threading.Thread(target=self._hold, name="vel2-typing", daemon=True).start()
        return self

    def __exit__(self, *why: object) -> None:
        self._console.remove(self._arrived)
        self._console.remove(self._wake)
        if self._former_waker is not None:
            signal.set_wakeup_fd(self._former_waker)
        self._sleeper.close()
        self._waker.close()

    def _wake(self) -> None:
        # A full socket wakes as well; a closed one means that a last call came too late.
        with contextlib.suppress(OSError):
            self._waker.send(b"!")

    def _arrived(self, data: bytes, time: float) -> None:
        self._waiting.add(data)
        self._wake()

    def _hold(self) -> None:
        """Let input through once the guest has printed the expected text."""
        assert self._typing.after is not None
        with contextlib.suppress(ConsoleClosed):
            self._console.wait_for(self._typing.after, threading.TIMEOUT_MAX)
            # What it waited for is shown before the end of input may end the machine.
            self._console.settle()
            self._may_type.set()
            self._wake()

    def run(self, screen: Screen) -> bool:
        """Move bytes both ways; see `interact`."""
        has_input = True
        while True:
            closed, may_type = self._console.closed, self._may_type.is_set()
            while data := self._waiting.take():
                screen.write(data)
            if closed:
                return False
            sources: list[int | socket.socket] = [self._sleeper]
            if has_input and may_type:
                sources.append(self._stdin)
            ready, _, _ = select.select(sources, [], [])
            if self._sleeper in ready:
                self._sleeper.recv(READ_BYTES)
            if self._stdin not in ready:
                continue
            data = _read_keys(self._stdin)
            has_input = bool(data)
            if self._take(data, screen) if data else self._end_of_input():
                return True

    def _take(self, data: bytes, screen: Screen) -> bool:
        """Send what was typed; True when the user asked to leave."""
        forward, commands = self._keys.feed(data) if self._is_terminal else (data, [])
        if forward:
            self._console.write(forward)
        if Command.HELP in commands:
            screen.write(HELP.encode())
        return Command.QUIT in commands

    def _end_of_input(self) -> bool:
        """Do what the end of input means; True when it means to leave."""
        if self._typing.at_eof is AtEof.CTRL_D:
            self._console.write(END_OF_TRANSMISSION)
        return self._typing.at_eof is AtEof.END


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

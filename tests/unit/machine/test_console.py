"""The console keeps bytes and lines, and wakes those who wait for a pattern."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.limits import LIMIT_S
from vel2.errors import UserError
from vel2.machine.console import (
    HISTORY_LIMIT,
    LINE_COST,
    LINE_LIMIT,
    LOG_END,
    Console,
    ConsoleClosed,
    ConsoleTimeout,
    Line,
)


@given(st.lists(st.binary(max_size=20)))
def test_lines_do_not_depend_on_how_the_bytes_come(pieces: list[bytes]) -> None:
    whole, split = Console(), Console()
    whole.feed(b"".join(pieces))
    for piece in pieces:
        split.feed(piece)
    for console in (whole, split):
        console.close()
    assert [line.text for line in split.lines] == [line.text for line in whole.lines]
    assert split.data == whole.data == b"".join(pieces)


def test_listeners_get_bytes_and_lines_with_host_time() -> None:
    console = Console()
    pieces: list[tuple[bytes, float]] = []
    lines: list[Line] = []
    console.on_bytes(lambda data, when: pieces.append((data, when)))
    console.on_line(lines.append)
    before = time.monotonic()
    console.feed(b"one\r\ntw")
    console.feed(b"o\nrest")
    console.close()
    console.close()
    assert [data for data, _ in pieces] == [b"one\r\ntw", b"o\nrest"]
    assert [line.text for line in lines] == ["one", "two", "rest"]
    times = [when for _, when in pieces] + [line.time for line in lines]
    assert all(before <= when <= time.monotonic() for when in times)


def test_removed_listeners_are_not_called() -> None:
    console = Console()
    heard: list[object] = []
    console.on_line(heard.append)
    console.remove(heard.append)
    console.feed(b"line\n")
    assert heard == []


def test_tail_shows_the_last_lines_and_the_unfinished_one() -> None:
    console = Console()
    console.feed(b"".join(b"%d\n" % number for number in range(100)) + b"login: ")
    assert console.tail(3) == "98\n99\nlogin: "


def test_wait_for_finds_what_has_come_and_what_comes() -> None:
    console = Console()
    console.feed(b"booting\r\nversion 6.12\r\n")
    assert console.wait_for(r"^version (\S+)$", 0).group(1) == "6.12"
    position = console.position
    feeder = threading.Thread(target=lambda: [console.feed(b) for b in (b"log", b"in", b": ")])
    feeder.start()
    assert console.wait_for("login: ", LIMIT_S).group() == "login: "
    feeder.join()
    with pytest.raises(ConsoleTimeout, match=r"no 'version' within 0\.01 s"):
        console.wait_for("version", 0.01, start=position)


@pytest.mark.parametrize("said", [b"L1# \x1b[6n", b"\x1b[1;32mL1\x1b[0m# ", b"\x1b]0;L1\x07L1# "])
def test_wait_for_sees_no_control_sequences(said: bytes) -> None:
    """However they come: in one piece with the text, or byte by byte."""
    console = Console()
    console.feed(said)
    assert console.wait_for(r"^L1# $", 0)
    slow = Console()
    for byte in said:
        slow.feed(bytes([byte]))
    assert slow.wait_for(r"^L1# $", 0)


def test_wait_for_spans_lines_and_long_histories() -> None:
    console = Console()
    finder: list[str] = []
    thread = threading.Thread(
        target=lambda: finder.append(console.wait_for(r"alpha\nbeta", LIMIT_S).group())
    )
    thread.start()
    for _ in range(100):
        console.feed(b"some other line\n" * 10)
    for piece in (b"al", b"pha\r", b"\nbe", b"ta"):
        console.feed(piece)
    thread.join()
    assert finder == ["alpha\nbeta"]


def test_wait_for_ends_when_the_machine_does() -> None:
    console = Console()
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            console.wait_for("never", 60)
        except ConsoleClosed as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    console.close()
    thread.join(LIMIT_S)
    assert [str(error) for error in failures] == ["the machine ended before it wrote 'never'"]


def test_on_close_is_called_once_even_when_late() -> None:
    console = Console()
    calls: list[str] = []
    console.on_close(lambda: calls.append("early"))
    console.close()
    console.close()
    console.on_close(lambda: calls.append("late"))
    assert calls == ["early", "late"]


def test_memory_is_bounded() -> None:
    console = Console()
    for _ in range(6):
        console.feed(b"x" * (HISTORY_LIMIT // 4))
    assert len(console.data) <= HISTORY_LIMIT * 5 // 4
    assert console.position == 6 * (HISTORY_LIMIT // 4)
    endless = Console()
    endless.feed(b"y" * (LINE_LIMIT + 1))
    assert [len(line.text) for line in endless.lines] == [LINE_LIMIT + 1]


def test_log_file_gets_every_byte(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    console = Console(log)
    console.feed(b"one\r\n")
    assert log.read_bytes() == b"one\r\n", "written as it arrives"
    console.close()
    with pytest.raises(UserError) as caught:
        Console(tmp_path / "no" / "folder")
    assert str(caught.value) == (
        f"the console log {tmp_path}/no/folder cannot be written "
        "(No such file or directory); choose another."
    )


def test_input_goes_to_the_machine_until_it_ends() -> None:
    console = Console()
    sent: list[bytes] = []
    console.write("lost")
    console.connect(sent.append)
    console.write("text")
    console.write(b"\x03")
    console.close()
    console.write("lost too")
    assert sent == [b"text", b"\x03"]


def test_kept_lines_are_bounded_and_the_rest_is_counted() -> None:
    console = Console()
    line = b"x" * (LINE_LIMIT - 1) + b"\n"
    count = 3 * HISTORY_LIMIT // LINE_LIMIT
    for _ in range(count):
        console.feed(line)
    kept = console.lines
    assert sum(len(each.text) for each in kept) <= HISTORY_LIMIT
    assert len(kept) > HISTORY_LIMIT // LINE_LIMIT - 3
    assert console.dropped_lines == count - len(kept)
    empty = Console()
    empty.feed(b"\n" * 200_000)
    assert len(empty.lines) + empty.dropped_lines == 200_000
    assert len(empty.lines) * LINE_COST <= HISTORY_LIMIT


def test_a_log_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vel2.machine.console.LOG_LIMIT", 10)
    log = tmp_path / "console.log"
    console = Console(log)
    for piece in (b"12345", b"6789abcdef", b"more"):
        console.feed(piece)
    console.close()
    assert log.read_bytes() == b"123456789a" + LOG_END


def test_who_waits_can_be_told_something_else() -> None:
    console = Console()
    console.feed(b"here\n")
    told = RuntimeError("a hook has failed")
    threading.Timer(0, console.interrupt, [told]).start()
    with pytest.raises(RuntimeError, match="a hook has failed"):
        console.wait_for("there", 30)
    # What has come is found all the same.
    assert console.wait_for("here", 30)
    console.interrupt(None)
    with pytest.raises(ConsoleTimeout):
        console.wait_for("there", 0)


def test_who_listens_late_hears_everything_once() -> None:
    console, heard = Console(), bytearray()

    def feed() -> None:
        for number in range(2000):
            console.feed(b"%d," % number)

    feeding = threading.Thread(target=feed)
    feeding.start()
    console.wait_for("99,", LIMIT_S)
    console.on_bytes(lambda data, time: heard.extend(data), replay=True)
    feeding.join(LIMIT_S)
    assert heard == console.data

"""A kernel that hangs after a panic, and one whose user space shows an old log of a panic."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tests.limits import LIMIT_S
from tests.unit.machine.test_qemu import SPIN, WAIT_FOREVER, machine_with, put
from vel2.machine import panic
from vel2.machine.console import Console
from vel2.machine.outcome import ExitReason
from vel2.machine.panic import PanicWatch, hangs
from vel2.machine.qmp import MonitorError

END = "[    9.2] ---[ end Kernel panic - not syncing: no root ]---\n"


class Monitor:
    """A machine whose vCPU is at a level; something may happen at a look."""

    def __init__(self, level: int = 1, at_look: Callable[[int], None] = lambda look: None) -> None:
        self.level, self.looks, self._at_look = level, 0, at_look

    def execute(self, command: str, arguments: object = None) -> Any:
        if command == "query-cpus-fast":
            return [{"thread-id": 1, "cpu-index": 0}, {"thread-id": 2, "cpu-index": 1}]
        assert isinstance(arguments, dict)
        if arguments["cpu-index"] == 0:
            self.looks += 1
            self._at_look(self.looks)
        level = self.level if arguments["cpu-index"] == 1 else 1
        return f"PC=ffff800080012345 X00=0\nPSTATE=000003c5 ---- EL{level}h"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vCPU that takes all it gets, and looks in a row."""
    monkeypatch.setattr(panic, "PERIOD_S", 0.001)
    monkeypatch.setattr(panic, "cpu_seconds", lambda thread: time.monotonic())


def judged(console: Console, monitor: Monitor) -> bool:
    return hangs(console, monitor, threading.Event())  # type: ignore[arg-type]


def panicked() -> Console:
    console = Console()
    console.feed(b"[    9.1] Kernel panic - not syncing: no root\r\n")
    console.feed(END.encode())
    return console


def test_a_kernel_that_spins_hangs() -> None:
    monitor = Monitor()
    assert judged(panicked(), monitor)
    assert monitor.looks > panic.LOOKS


@pytest.mark.parametrize("text", [b"# ", b"[   99.0] more\n"])
def test_one_that_prints_is_alive(text: bytes) -> None:
    console = panicked()
    assert not judged(console, Monitor(at_look=lambda look: look == 5 and console.feed(text)))
    console = panicked()
    console.feed(text)
    assert not judged(console, Monitor())


def test_one_that_runs_user_space_is_alive() -> None:
    monitor = Monitor()

    def enter(look: int) -> None:
        monitor.level = 0 if look == 7 else 1

    monitor._at_look = enter
    assert not judged(panicked(), monitor)


def test_one_that_sleeps_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panic, "cpu_seconds", lambda thread: 0.01 * time.monotonic())
    assert not judged(panicked(), Monitor())


def test_one_that_spins_in_vain_for_a_while_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's CPUs are busy with others at first."""
    monitor = Monitor()

    def seconds(thread: int) -> float:
        return time.monotonic() * (0.01 if monitor.looks < 2 * panic.LOOKS else 1)

    monkeypatch.setattr(panic, "cpu_seconds", seconds)
    assert judged(panicked(), monitor)
    assert monitor.looks > 2 * panic.LOOKS


def test_an_echo_is_no_sign_of_life() -> None:
    """Interrupts are on while Linux spins, and its terminal repeats what is typed."""
    console = panicked()

    def press(look: int) -> None:
        if look == 5:
            console.write(b"x")
            console.feed(b"x")

    monitor = Monitor(at_look=press)
    assert judged(console, monitor)
    assert monitor.looks > panic.LOOKS + 4


def test_a_machine_that_ends_meanwhile() -> None:
    ended = threading.Event()
    ended.set()
    assert not hangs(panicked(), Monitor(), ended)  # type: ignore[arg-type]


def test_each_sign_is_looked_into() -> None:
    """The first log is followed by a prompt, the second by nothing."""
    console, found, looking = Console(), threading.Event(), threading.Event()
    numbers = count()

    def look(number: int) -> None:
        if next(numbers) == 0:
            looking.set()
            console.feed(b"# ")
            console.feed(b"cat log\n" + END.encode())

    PanicWatch(
        console,
        Monitor(at_look=look),  # type: ignore[arg-type]
        threading.Event(),
        found.set,
    )
    console.feed(END.encode())
    assert found.wait(LIMIT_S)


def test_a_watch_without_a_machine_ends() -> None:
    def gone(look: int) -> None:
        done.set()
        raise MonitorError("the machine has ended")

    console, done, found = Console(), threading.Event(), threading.Event()
    PanicWatch(console, Monitor(at_look=gone), threading.Event(), found.set)  # type: ignore[arg-type]
    console.feed(END.encode())
    assert done.wait(LIMIT_S) and not found.is_set()


@pytest.mark.qemu
def test_a_machine_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with machine_with([*put("Kernel panic - not syncing: no root\n" + END), *SPIN]) as machine:
        ended = machine.wait(LIMIT_S)
    assert (ended.reason, ended.detail) == (ExitReason.PANIC, "no root")


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("text", "code"), [(END, WAIT_FOREVER), (END + "# ", SPIN)], ids=["sleeps", "prints"]
)
def test_a_machine_that_is_alive_is_not_ended(
    text: str, code: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with machine_with([*put(text), *code]) as machine:
        machine.console.wait_for(re.escape(text.strip()), LIMIT_S)
        assert not hangs(machine.console, machine.monitor, threading.Event())
        assert machine.poll() is None

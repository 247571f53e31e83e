"""The lock between threads: who sleeps, who is woken, and that nobody is when nobody waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vel2.lang import PA, Simulation, load_u64, store_u64
from vel2.runtime import thread
from vel2.runtime.linux import FUTEX

LOCK = 0x1000
FREE, HELD, AWAITED = 0, 1, 2
WAIT, WAKE = 0, 1


class Kernel:
    """Futexes as futex(2) has them: a call that finds another value comes back at once.

    :ivar calls: operation and value of each call.
    :ivar meanwhile: what the other threads do while this one sleeps.
    """

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.calls: list[tuple[int, int]] = []
        self.meanwhile = meanwhile

    def syscall(self, number: int, word: int, operation: int, value: int, *rest: int) -> int:
        """Be the system call."""
        assert (number, word, rest) == (FUTEX, LOCK, (0, 0, 0))
        self.calls.append((operation, value))
        if operation == WAIT and load_u64(PA(LOCK)) == value:
            self.meanwhile()
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Give a kernel in whose sleep the holder releases the lock."""
    made = Kernel(lambda: thread.release(LOCK))
    monkeypatch.setattr(thread, "syscall", made.syscall)
    with Simulation(LOCK, bytearray(8)):
        yield made


def test_a_free_lock_costs_no_call(kernel: Kernel) -> None:
    thread.acquire(LOCK)
    assert load_u64(PA(LOCK)) == HELD
    thread.release(LOCK)
    assert load_u64(PA(LOCK)) == FREE
    assert kernel.calls == []


def test_who_finds_it_held_sleeps_until_it_is_released(kernel: Kernel) -> None:
    thread.acquire(LOCK)
    thread.acquire(LOCK)
    assert kernel.calls == [(WAIT, AWAITED), (WAKE, 1)], "the holder knew that somebody slept"
    assert load_u64(PA(LOCK)) == AWAITED, "and so does this one: others may sleep"
    thread.release(LOCK)
    assert kernel.calls[2:] == [(WAKE, 1)]


def test_a_release_just_before_the_sleep_is_not_missed(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the word's 2 and the call the holder lets go: the call must not sleep."""
    thread.acquire(LOCK)
    sleep = thread.wait_on

    def late(word: int, value: int) -> None:
        thread.release(LOCK)
        kernel.meanwhile = lambda: pytest.fail("it sleeps although the lock is free")
        sleep(word, value)

    monkeypatch.setattr(thread, "wait_on", late)
    thread.acquire(LOCK)
    assert load_u64(PA(LOCK)) == AWAITED


def test_woken_without_a_reason_it_sleeps_again(kernel: Kernel) -> None:
    wakes = iter([lambda: None, lambda: store_u64(PA(LOCK), HELD), lambda: thread.release(LOCK)])
    kernel.meanwhile = lambda: next(wakes)()
    thread.acquire(LOCK)
    thread.acquire(LOCK)
    assert [call for call in kernel.calls if call[0] == WAIT] == [(WAIT, AWAITED)] * 3

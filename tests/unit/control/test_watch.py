"""When a visit of L0 to EL2 counts as one that does not end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vel2.control import watch
from vel2.control.watch import Hang, Watch
from vel2.machine.qmp import MonitorError

REGISTERS = (
    " PC=0000000048001234 X00=0000000000000000 X01=0000000000000001\n"
    "X30=0000000000000000  SP=0000000048210000\nPSTATE=800003c9 N--- EL{level}h    FPU disabled\n"
)
ENOUGH = 60


class FakeMachine:
    """QMP, shared memory and the CPU time of a vCPU, each as a script has it, look by look."""

    def __init__(
        self, progress: Iterator[int | None], levels: Iterator[int], cpu: Iterator[float]
    ) -> None:
        self.progress, self.levels, self.cpu = progress, levels, cpu
        self.place = "name of"
        self.paused = False
        self.commands: list[str] = []

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Answer what `Watch` asks."""
        self.commands.append(command)
        if command == "query-cpus-fast":
            return [{"cpu-index": 0, "thread-id": 77}]
        assert arguments == {"command-line": "info registers", "cpu-index": 0}
        try:
            return REGISTERS.format(level=next(self.levels))
        except StopIteration:
            raise MonitorError("the machine has ended") from None

    def pause(self) -> None:
        """Note it."""
        self.paused = True

    def resume(self) -> None:
        """Note it."""
        self.paused = False

    def look(self, cpu: int) -> tuple[int, ...] | None:
        """Give the next counters; the vCPU is off where the script has None."""
        assert cpu == 0
        try:
            counted = next(self.progress)
            return None if counted is None else (counted,)
        except StopIteration:
            raise MonitorError("the machine has ended") from None


def count(start: int = 0, step: int = 0) -> Iterator[int]:
    """Count by a step."""
    while True:
        yield start
        start += step


def seconds(*values: float) -> Iterator[float]:
    """Give CPU times; the last one goes on."""
    yield from values
    while True:
        yield values[-1]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeMachine], list[Hang]]:
    """Give what runs a `Watch` over a machine until it has an answer or the machine ends."""
    monkeypatch.setattr(watch, "PERIOD_S", 0.001)

    def run(machine: FakeMachine) -> list[Hang]:
        monkeypatch.setattr(watch, "cpu_seconds", lambda thread: next(machine.cpu))
        hangs: list[Hang] = []
        watching = Watch(
            machine,  # type: ignore[arg-type]
            machine.look,
            lambda pc: f"{machine.place} {pc:#x}",
            hangs.append,
        )
        watching.start()
        watching._thread.join(ENOUGH)
        assert not watching._thread.is_alive()
        watching.end()
        return hangs

    return run


def test_a_visit_that_does_not_end_is_found(found: Callable[[FakeMachine], list[Hang]]) -> None:
    """Show that it is reported with its place, from a machine that stands still."""
    machine = FakeMachine(count(), count(2), seconds(10, 12, 14, 15.5))
    assert found(machine) == [Hang(5.5, 0x4800_1234, "name of 0x48001234")]
    assert machine.paused


def test_it_says_what_and_where() -> None:
    """Show the sentence."""
    assert str(Hang(5.25, 0x4800_1234, "gic.save+0x10 (vel2/hyp/gic.py:7)")) == (
        "L0 hangs: it has been at EL2 for 5.2 s of CPU time, pc=0x48001234 in"
        " gic.save+0x10 (vel2/hyp/gic.py:7)"
    )


def test_a_guest_may_run_for_ever(found: Callable[[FakeMachine], list[Hang]]) -> None:
    """Show that EL1 without a trap is no hang, however much CPU time it takes."""
    machine = FakeMachine(count(), iter([1] * ENOUGH), seconds(0, 1000))
    assert found(machine) == [] and not machine.paused


def test_a_vcpu_that_gets_no_time_does_not_hang(
    found: Callable[[FakeMachine], list[Hang]],
) -> None:
    """Show that a visit takes as long as it likes on a host with much else to do, or asleep."""
    machine = FakeMachine(count(), iter([2] * ENOUGH), seconds(3, 7.9))
    assert found(machine) == [] and not machine.paused


def test_a_vcpu_that_is_off_does_not_hang(found: Callable[[FakeMachine], list[Hang]]) -> None:
    """Show that it is at EL2 for ever, on a thread that works for the others (`-icount`)."""
    machine = FakeMachine(iter([7, *[None] * ENOUGH]), iter([2] * ENOUGH), count(0, 100))
    assert found(machine) == [] and not machine.paused


def test_one_that_waits_in_the_firmware_does_not_hang(
    found: Callable[[FakeMachine], list[Hang]],
) -> None:
    """Show the same of CPU_SUSPEND, which L0 passes on and waits for."""
    machine = FakeMachine(count(step=0), iter([2] * ENOUGH), count(0, 100))
    machine.place = "firmware_call+0x4 at"
    assert found(machine) == [] and not machine.paused


def test_another_visit_begins_anew(found: Callable[[FakeMachine], list[Hang]]) -> None:
    """Show that time is not added up over visits."""
    visits = iter([0, *(n // 3 for n in range(3 * ENOUGH)), *[ENOUGH] * 3 * ENOUGH])
    machine = FakeMachine(visits, iter([2] * ENOUGH), count(0, 4))
    assert found(machine) == []


def test_nothing_is_asked_while_counters_move(
    found: Callable[[FakeMachine], list[Hang]],
) -> None:
    """Show that QEMU is left alone by a machine at work."""
    machine = FakeMachine(iter(range(ENOUGH)), count(2), seconds(0))
    assert found(machine) == []
    assert machine.commands == ["query-cpus-fast"]


def test_the_time_of_a_thread() -> None:
    """Show that CPU time is that of the one thread."""
    before = watch.cpu_seconds(threading.get_native_id())
    while watch.cpu_seconds(threading.get_native_id()) < before + 0.05:
        pass
    assert watch.cpu_seconds(threading.get_native_id()) < before + 5

"""Breakpoints and watchpoints with a function: QEMU stops all vCPUs there, and it is asked.

A point is a virtual address. QEMU stops whoever comes to it, at whatever Exception level; whose it
was is seen then, and a level that was not meant goes on. The function finds the machine paused:
all vCPUs can be looked at and changed. When it returns the machine goes on.

While there are points the machine is run by QEMU's gdb server, in a thread that waits for it to
stop: `Machine.resume` begins a flight (`fly`), `Machine.pause` ends it (`land`). Points are QEMU's
only during a flight. No byte of the guest's is changed for one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vel2.arch.pstate import PSTATE_EL
from vel2.errors import UserError
from vel2.inspect.failing import Function, HookError
from vel2.machine.gdbstub import DebugError
from vel2.machine.qmp import MonitorError

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu
    from vel2.inspect.vm import Machine

__all__ = ("Hit", "Point", "Points")

FOR_EVER_S = 365 * 24 * 3600.0
AGAIN_S = 0.1
ENDING_S = 10.0
EL2 = 2 << 2


@dataclass(frozen=True)
class Hit:
    """A point that a vCPU has met; the machine is paused.

    :ivar vcpu: whose it is. :ivar point: which.
    """

    vcpu: Vcpu
    point: Point

    @property
    def level(self) -> str:
        """Who runs: `vel2` or `vel1`."""
        return self.vcpu.level

    @property
    def pc(self) -> int:
        """The address of the next instruction: a breakpoint's own, or behind what was watched."""
        return self.vcpu.pc

    def __str__(self) -> str:
        kind = "watchpoint" if self.point.length else "breakpoint"
        return f"vCPU {self.vcpu.index} at {self.level}, pc {self.pc:#x}: {kind}"


@dataclass(frozen=True)
class Point(Function):
    """One breakpoint, or with a length one watchpoint of stores. `remove` ends it."""

    function: Callable[[Hit], object]
    address: int
    length: int
    context: int | None
    when: Callable[[Hit], bool] | None
    points: Points

    def is_met(self, pc: int, watched: int | None) -> bool:
        """Whether a vCPU that has stopped at `pc`, perhaps behind an access, has come to it."""
        if self.length:
            return watched is not None and self.address <= watched < self.address + self.length
        return watched is None and pc == self.address

    def remove(self) -> None:
        """Stop there no more; of a machine that runs, from its next `resume` on."""
        self.points.remove(self)


class Points:
    """All points of a machine, and the thread that runs it meanwhile."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._points: tuple[Point, ...] = ()
        self._thread: threading.Thread | None = None
        self._landing = threading.Event()
        self._failed_on: int | None = None

    def __bool__(self) -> bool:
        return bool(self._points)

    def add(
        self,
        address: int,
        length: int,
        context: int | None,
        when: Callable[[Hit], bool] | None,
    ) -> Callable[[Callable[[Hit], object]], Point]:
        """Give a decorator that has a function called where a vCPU comes to an address.

        :param length: 0 for a breakpoint; else of what is watched.
        """
        if not 0 <= address < 1 << 64 or not 0 <= length <= 4096:
            raise UserError(f"{length} bytes at {address:#x} cannot be watched; 4096 at most.")

        def make(function: Callable[[Hit], object]) -> Point:
            point = Point(function, address, length, context, when, self)
            if not self._machine.has_started:
                self._points = (*self._points, point)
                return point
            with self._machine.paused():  # it goes on by a flight, with the new point
                self._points = (*self._points, point)
            return point

        return make

    def remove(self, point: Point) -> None:
        """Have one no more."""
        self._points = tuple(each for each in self._points if each is not point)

    # The flight.

    @property
    def is_flying(self) -> bool:
        """Whether another thread runs the machine."""
        thread = self._thread
        return thread is not None and thread is not threading.current_thread()

    def fly(self) -> None:
        """Run the paused machine, until `land` or its end."""
        if self._failed_on is not None:  # it has met its point, and is to go on from there
            self._machine.stub.step(self._failed_on)
            self._failed_on = None
        self._landing.clear()
        self._set(self._points)
        self._machine.now_runs()
        self._thread = threading.Thread(
            target=self._fly, args=(self._points,), name="vel2-points", daemon=True
        )
        self._thread.start()

    def land(self) -> None:
        """Stop the machine and the thread; the machine may stand in L0 then."""
        thread = self._thread
        self._landing.set()
        while thread is not None and thread is self._thread:
            # Once may be before the thread has let the machine run.
            with contextlib.suppress(MonitorError):  # it has ended: so does the thread
                self._machine.vm.monitor.pause()
            thread.join(AGAIN_S)

    def _fly(self, points: tuple[Point, ...]) -> None:
        """Run until the landing, a failure or the end."""
        machine = self._machine
        failure: HookError | None = None
        try:
            while not self._landing.is_set():
                machine.now_runs()
                cpu = machine.stub.run(None, FOR_EVER_S)
                machine.now_stands()
                failure = None if cpu is None else self._attend(cpu, points)
                if failure is not None:
                    break
            self._unset(points)
        except UserError:
            if machine.vm.machine.poll(ENDING_S) is None and not machine.stub.is_gone:
                raise
            return
        finally:
            self._thread = None
        if failure is not None:
            machine.stop_for(failure)

    def _attend(self, cpu: int, points: tuple[Point, ...]) -> HookError | None:
        """Deal with a stop; give what has failed."""
        machine = self._machine
        general = machine.stub.general(cpu)
        watched = machine.stub.watched
        met = [p for p in points if p in self._points and p.is_met(general.pc, watched)]
        if general.pstate & PSTATE_EL == EL2:  # L0 has its own business there
            met = []
        self._unset(points)
        try:
            if watched is not None:
                machine.stub.step(cpu)  # QEMU stops before the access
            if met:
                machine.running.settle()
            for point in met:
                failure = self._call(point, Hit(machine.vcpus[cpu], point))
                if failure is not None:
                    self._failed_on = None if point.length else cpu
                    return failure
            if watched is None and any(p.address == general.pc for p in points if not p.length):
                machine.stub.step(cpu)
        finally:
            self._set(points)
        return None

    def _call(self, point: Point, hit: Hit) -> HookError | None:
        """Call one function; give what has failed."""
        if point.context is not None and hit.vcpu.context != point.context:
            return None
        try:
            if point.when is None or point.when(hit):
                point.function(hit)
        except BaseException as error:  # whatever it raises, the machine is to be left whole
            return HookError(point, hit, error)
        return None

    def _set(self, points: tuple[Point, ...]) -> None:
        stub = self._machine.stub
        for number, point in enumerate(points):
            try:
                if point.length:
                    stub.watch(point.address, point.length)
                else:
                    stub.insert(point.address)
            except DebugError as error:
                self._unset(points[:number])
                raise UserError(f"QEMU takes no point at {point.address:#x} ({error}).") from error

    def _unset(self, points: tuple[Point, ...]) -> None:
        stub = self._machine.stub
        if stub.is_gone:
            return
        for point in points:
            if point.length:
                stub.unwatch(point.address, point.length)
            else:
                stub.remove(point.address)

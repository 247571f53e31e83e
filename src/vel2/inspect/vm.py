"""A machine with vel2 in it, for a program to boot, look into, change and end."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vel2.arch.esr import EC
from vel2.arch.sysregs import ESR_EL2
from vel2.control.counters import TrapCount
from vel2.control.guest import Kernel
from vel2.control.probes import Probe
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.explain.register import key_named
from vel2.explain.syndrome import summary_of_esr
from vel2.guests.naming import find_kernel
from vel2.guests.symbols import RunningKernel
from vel2.hyp.state import CONTEXT_VEL2
from vel2.inspect.frozen import CONTEXTS
from vel2.inspect.hookable import Hookable
from vel2.inspect.hooks import Hooks
from vel2.inspect.mailbox import Box
from vel2.inspect.points import Points
from vel2.inspect.running import Running
from vel2.inspect.symbols import symbols_of_level
from vel2.inspect.value import Value
from vel2.inspect.vcpu import Vcpu
from vel2.machine.config import has_option
from vel2.machine.console import Console, ConsoleClosed, ConsoleTimeout
from vel2.machine.gdbstub import GdbStub, attach
from vel2.machine.loader import load_kernel
from vel2.machine.memory import GuestMemory
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.qemu import DEBUG_CHARDEV
from vel2.machine.qmp import MonitorError

__all__ = ("Machine", "Trap")

WAIT_S = 120.0
TAIL_LINES = 5


@dataclass(frozen=True)
class Trap:
    """A synchronous trap to L0 that was run to, as it was before L0 dealt with it.

    :ivar vcpu: whose it was. :ivar level: `vel2` or `vel1`. :ivar esr: ESR_EL2. :ivar pc: the
        address of the instruction, or behind it where the architecture says so (HVC).
    """

    vcpu: Vcpu
    level: str
    esr: Value
    pc: int

    def __str__(self) -> str:
        return (
            f"vCPU {self.vcpu.index} at {self.level}, pc {self.pc:#x}:"
            f" {summary_of_esr(int(self.esr))}"
        )


class Machine(Hookable):
    """One machine; `vel2.boot` makes it. A context manager: entered it starts, left it ends.

    :ivar vm: the launcher's session, which has what is not here. :ivar vcpus: one `Vcpu` for each
        of its CPUs.
    """

    def __init__(self, vm: Vm, *, paused: bool = False) -> None:
        self.vm = vm
        self.vcpus = tuple(Vcpu(self, index) for index in range(vm.request.smp))
        self._starts_paused = paused
        has_started = vm.probes.is_running
        vm.probes.is_running = lambda: has_started() and not self._paused
        self._stub: GdbStub | None = None
        self._running: Running | None = None
        self._hooks: Hooks | None = None
        self._points: Points | None = None
        self.stopping = threading.RLock()
        self._paused = False
        self._heard_from = 0

    # From its start to its end.

    def start(self) -> Self:
        """Start it; `close` ends it.

        :raises UserError: when it cannot be started.
        """
        self.vm.hold = self._starts_paused or bool(self._points)
        try:
            self.vm.__enter__()
            if self._hooks is not None:
                self._hooks.start()
            if self.vm.hold:
                self._paused = True
                self._settle()
            if self.is_paused and not self._starts_paused:
                self.resume()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End it, and give back all that it holds."""
        try:
            self.vm.__exit__(None, None, None)
        finally:
            for vcpu in self.vcpus:
                vcpu.changed()
            self.vm.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait until the guest ends it; when `timeout` seconds have passed, end it."""
        self.check_hooks()
        if self.is_paused:
            self.resume()
        return self.vm.wait(timeout)

    def stop(self) -> None:
        """End it now."""
        self.vm.stop(ExitReason.STOPPED)

    # Its console.

    @property
    def console(self) -> Console:
        """All that the guest writes, with listeners (`on_line`)."""
        return self.vm.console

    def wait_for(self, pattern: str | re.Pattern[str], timeout: float = WAIT_S) -> re.Match[str]:
        """Wait until the console has text that matches; what was there at the last `type` is old.

        :param pattern: regular expression; `^` and `$` match at lines.
        :raises UserError: when it does not come in time, or the machine ends before.
        """
        self._let_run()
        try:
            return self.console.wait_for(pattern, timeout, self._heard_from)
        except (ConsoleTimeout, ConsoleClosed) as error:
            last = self.console.tail(TAIL_LINES)
            raise UserError(f"{error}; the console's last lines are:\n{last}") from error

    def type(self, text: str) -> None:
        """Type on the console; end a line with a line feed."""
        self._heard_from = self.console.position
        self.console.write(text)

    # What trapped.

    def traps(self) -> list[TrapCount]:
        """Count the traps so far by exception class and level, largest first."""
        return self.vm.traps()

    def sysreg_traps(self) -> dict[str, int]:
        """Count the traps so far by system register and instruction, largest first."""
        return self.vm.sysreg_traps()

    # Its kernels.

    def symbols(self, level: str, kernel: str | Path | None = None, vcpu: int = 0) -> RunningKernel:
        """Give names for the addresses of a level's kernel, and addresses for its functions.

        :param level: `l1` or `l2`. :param kernel: a fetched kernel's name or a file. Without it
            L1's is what was booted, and L2's the same.
        :raises UserError: when the level does not run that kernel.
        """
        self.require_paused()
        if level not in ("l1", "l2"):
            raise UserError(f"{level!r} is no level with a kernel; give 'l1' or 'l2'.")
        guest = self.vm.request.guest
        if kernel is not None:
            image = load_kernel(find_kernel(str(kernel)))
        elif isinstance(guest, Kernel):
            image = guest.image
        else:
            raise UserError(f"nobody said which kernel {level} runs; give kernel=.")
        return symbols_of_level(self.vcpus[vcpu], level, image)

    # Probes: functions that L0 calls at traps (`docs/probes.md`).

    def add_probe(self, function: Callable[..., None], **where: Any) -> Probe:
        """Have L0 call a function of the subset at traps, from the next one on; at any time.

        :param where: `trap`, `sysreg`, `access`, `level`, `pc`, `at`, as of `place_of`.
        :raises UserError: when it may do what no probe may, with the place; nothing has changed.
        """
        if self.vm.machine.exit is not None:
            raise UserError(f"the machine has ended: {self.vm.machine.exit}.")
        return self.vm.probes.add(function, **where)

    def probe(self, **where: Any) -> Callable[[Callable[..., None]], Probe]:
        """Make a probe of the function below: `@machine.probe(trap="ERET")`."""
        return lambda function: self.add_probe(function, **where)

    # Stopping and going on.

    @property
    def is_paused(self) -> bool:
        """Whether it stands still, so that it can be looked into."""
        is_flown = self._points is not None and self._points.is_flying
        return self._paused and not is_flown and self.vm.machine.exit is None

    def pause(self) -> None:
        """Stop all vCPUs, each outside of L0.

        :raises UserError: when the machine has ended, or is somebody else's to debug.
        """
        if self._points is not None and self._points.is_flying:
            self._points.land()
        elif self._paused:
            return
        try:
            self.vm.monitor.pause()
        except MonitorError as error:
            raise UserError(f"the machine cannot be paused ({error}).") from error
        self._paused = True
        self._settle()

    def halt(self) -> None:
        """Stop it, whoever runs it: somebody who waits at the gdb server finds it stopped."""
        if self._paused:
            self.vm.monitor.pause()
        else:
            self.pause()

    def resume(self) -> None:
        """Let it run on, and L0 deal with the traps for which hooks have failed."""
        self.require_paused()
        self._forget()
        self.forget_failures()
        if self._points:
            self._points.fly()
            return
        self._paused = False
        try:
            self.vm.monitor.resume()
        except MonitorError as error:
            raise UserError(f"the machine cannot go on ({error}).") from error

    @contextmanager
    def paused(self) -> Iterator[Self]:
        """Pause it for a while: `with machine.paused(): ...`."""
        was_paused = self.is_paused
        self.pause()
        try:
            yield self
        finally:
            if self.is_paused and not was_paused:
                self.resume()

    def run_until(self, condition: Callable[[], bool], timeout: float, what: str = "it") -> None:
        """Run until a condition of L0's state holds behind a trap; then it is paused.

        :param what: what the condition is, for the sentence.
        :raises UserError: when it does not hold in time.
        """
        self.pause()
        if not self.running.until_return(condition, timeout):
            raise UserError(f"{what} was not reached within {timeout:g} s.")

    def run_until_trap(
        self,
        ec: int | None = None,
        level: str | None = None,
        sysreg: str | None = None,
        when: Callable[[int, Value], bool] | None = None,
        timeout: float = WAIT_S,
    ) -> Trap:
        """Run until a synchronous trap, and through what L0 does for it; then it is paused.

        :param ec: its exception class (`vel2.EC`). :param level: `vel2` or `l2` (also `vel1`).
        :param sysreg: the system register or instruction (`TLBI VAE1IS`) that trapped.
        :param when: asked with the vCPU's number and ESR_EL2, for all else; it sees each trap that
            the others let through, and each costs some time.
        :raises UserError: when none comes in time.
        """
        self.pause()
        contexts = list(CONTEXTS.values()) if level is None else [self.vcpus[0].named(level)]
        places = [
            vcpu.place(path) for vcpu in self.vcpus for path in counters_of(ec, contexts, sysreg)
        ]

        def is_wanted(cpu: int) -> bool:
            return self.vm.vcpu(cpu).context in contexts and (
                when is None or when(cpu, self._syndrome(cpu))
            )

        cpu = self.running.until_store(places, is_wanted, timeout)
        state = self.vm.vcpu(cpu)
        trapped = "vel2" if state.context == CONTEXT_VEL2 else "vel1"
        trap = Trap(self.vcpus[cpu], trapped, self._syndrome(cpu), int(state.pc))
        self.running.settle()
        return trap

    def _syndrome(self, cpu: int) -> Value:
        """Read hardware's ESR_EL2 of a vCPU that stands in L0."""
        return Value(ESR_EL2, self.stub.system(cpu, ESR_EL2.name))

    def run_until_store(
        self, places: Sequence[tuple[int, int]], wanted: Callable[[int], bool], timeout: float
    ) -> None:
        """Run until L0 has stored to one of some places; then it is paused, outside of L0."""
        self.running.until_store(places, wanted, timeout)
        self.running.settle()

    def step(self, vcpu: int) -> None:
        """Execute one instruction of a vCPU, and what L0 does for it."""
        self.require_paused()
        if self.box_of(vcpu) is not None:
            raise UserError(
                f"vCPU {vcpu} waits in a hook, before L0 has done anything about its trap; resume"
                " the machine first."
            )
        self.running.step(vcpu)

    # Its memory.

    @property
    def memory(self) -> GuestMemory:
        """All of its RAM, L0's part included, as a mapping of the host's."""
        return self.vm.memory

    def read(self, pa: int, length: int) -> bytes:
        """Read RAM at a physical address of the machine, which is one of L1's, too.

        :raises UserError: when no RAM is there.
        """
        try:
            return self.memory.read(pa, length)
        except ValueError as error:
            raise UserError(f"no RAM can be read there: {error}.") from error

    def write(self, pa: int, data: bytes) -> None:
        """Write L1's RAM at a physical address; code that has run is translated anew.

        :raises UserError: when no RAM of L1's is there, or the machine runs, unless a hook writes.
        """
        serving = None if self._hooks is None else self._hooks.serving
        if serving is None or self.is_paused:
            self.require_paused()
        if not self.memory.base <= pa <= self.vm.l0_base - len(data):
            raise UserError(
                f"nothing is written to pa={pa:#x}: L1's RAM is {self.memory.base:#x} to"
                f" {self.vm.l0_base:#x}."
            )
        if serving is not None and not self.is_paused:
            self.hooks.store(serving, pa, data)
        else:
            self.stub.write(pa, data)
        self._forget()

    # What the other parts of this room ask.

    @property
    def stub(self) -> GdbStub:
        """The connection to QEMU's gdb server, which is started when it is first needed."""
        if self._stub is None:
            if has_option(self.vm.request.qemu_arguments, "s", "gdb"):
                raise UserError(
                    "this machine's gdb server is the user's own (-s or -gdb), and there is one"
                    " only; leave the option out to look into the machine from Python."
                )
            self._stub = attach(self.vm.monitor, self.vm.machine.debug, DEBUG_CHARDEV)
        return self._stub

    @property
    def running(self) -> Running:
        """What runs it to a point."""
        if self._running is None:
            self._running = Running(self.vm, self.stub, self._forget, self.check_hooks)
        return self._running

    def is_on(self, index: int) -> bool:
        """Whether a vCPU is on."""
        return self.running.is_on(index)

    def require_paused(self) -> None:
        """Refuse what needs the machine to stand still.

        :raises UserError: while it runs.
        """
        if self.vm.machine.exit is not None:
            raise UserError(f"the machine has ended: {self.vm.machine.exit}.")
        if not self.is_paused:
            raise UserError("the machine runs; pause it first: with machine.paused(): ...")

    def now_runs(self) -> None:
        """Note that somebody has let it run."""
        self._forget()
        self._paused = False

    def now_stands(self) -> None:
        """Note that what ran has stopped: whatever was known of it is old."""
        self._forget()
        self._paused = True

    def _settle(self) -> None:
        try:
            self.running.settle()
        except BaseException:
            self._paused = False
            raise

    @property
    def has_started(self) -> bool:
        """Whether there is a machine yet."""
        return self.vm.machine.pid is not None

    def serves(self, index: int) -> bool:
        """Whether this thread runs the hook that a vCPU waits for, on a machine that runs."""
        return self._hooks is not None and self._hooks.is_mine(index) and not self.is_paused

    def box_of(self, index: int) -> Box | None:
        """Give the mailbox of a vCPU that waits for a hook; None of another."""
        return None if self._hooks is None else self._hooks.box_of(index)

    def _let_run(self) -> None:
        if self.is_paused:
            self.check_hooks()
            raise UserError("the machine is paused, and writes nothing; resume it first.")

    def _forget(self) -> None:
        for vcpu in self.vcpus:
            vcpu.changed()


CLASSES = 64


def counters_of(ec: int | None, contexts: Sequence[int], sysreg: str | None) -> list[str]:
    """Name the counters of L0 that a trap raises, by class and context, or by register.

    :raises UserError: when there is no such class or register.
    """
    if sysreg is not None:
        return [f"counters.by_sysreg[{key_named(sysreg)}]"]
    if ec is not None and not 0 <= ec < CLASSES:
        raise UserError(f"{ec:#x} is no exception class; give 0 to {CLASSES - 1:#x}, or a vel2.EC.")
    classes = range(CLASSES) if ec is None else [int(ec)]
    found = [
        f"counters.by_ec[{context * CLASSES + each}]" for context in contexts for each in classes
    ]
    if CONTEXT_VEL2 in contexts and EC.ERET in classes:
        found.append("counters.fast_eret")
    return found

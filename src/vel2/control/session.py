"""A session: one machine from its making to its end, with L0 below the guest or without."""

from abc import ABC, abstractmethod
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vel2.control.guest import Board, Start
from vel2.control.request import Request
from vel2.machine.console import Console
from vel2.machine.dtb import qemu_device_tree
from vel2.machine.memory import GuestMemory
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.qemu import Machine, MachineConfig
from vel2.machine.qmp import Monitor

if TYPE_CHECKING:  # it brings in the compiler, and a run without vel2 does not need it
    from vel2.control.counters import TrapCount
    from vel2.control.locks import LockTime

__all__ = ("Session",)


class Session(ABC):
    """One machine: made with all that it boots in RAM, entered to start it, left to end it.

    :ivar memory: the machine's RAM, from before its start until `close`.
    :ivar hold: set before the start, it leaves the machine stopped before its first instruction.
    :raises UserError: on construction, when the machine cannot be made of what was given.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        config = self._describe()
        # Whether QEMU makes such a machine is known at once; compiling takes its time.
        tree = qemu_device_tree(config)
        self._examine(tree)
        self.memory = GuestMemory(config.memory_bytes)
        try:
            start = request.guest.load(self._board(tree))
            config = replace(config, entry=self._enter_at(start))
            self.machine = Machine(config, self.memory)
        except BaseException:
            self.memory.close()
            raise
        self._late = start.late
        self.hold = False

    # What each kind of machine does in its own way, in this order.

    def _describe(self) -> MachineConfig:
        """Say what machine the request needs, stopped before its first instruction."""
        request = self.request
        return MachineConfig(
            memory_bytes=request.memory_bytes,
            cpu=request.cpu_of_guest,
            smp=request.smp,
            deterministic=request.deterministic,
            firmware=request.guest.flash,
            start_paused=True,
            doorbell=request.doorbell,
            extra_arguments=request.machine_arguments,
        )

    @abstractmethod
    def _examine(self, tree: bytes) -> None:
        """Look at the machine's device tree before anything is made."""

    def _board(self, tree: bytes) -> Board:
        """Give what the guest gets of the machine."""
        request = self.request
        return Board(self.memory, tree, request.memory_bytes, deterministic=request.deterministic)

    @abstractmethod
    def _enter_at(self, start: Start) -> int | None:
        """Give where the first CPU begins, so that the guest does at `start`; None for the flash.

        The guest is in RAM already.
        """

    @abstractmethod
    def _admit(self) -> None:
        """Look at the machine's devices, when it is there and nothing has run yet."""

    # What users call.

    @property
    def console(self) -> Console:
        """The guest's console; listeners attached before the start miss nothing."""
        return self.machine.console

    @property
    def monitor(self) -> Monitor:
        """QMP of the running machine."""
        return self.machine.monitor

    def __enter__(self) -> Self:
        """Start the machine.

        :raises UserError: when it has a device that may reach past L1's memory.
        """
        self.machine.__enter__()
        try:
            self._admit()
            for address, data in self._late:
                self.memory.write(address, data)
            if not self.machine.config.waits and not self.hold:
                self.monitor.execute("cont")
        except BaseException:
            self.machine.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the machine, on every way out."""
        self.machine.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""
        return self.machine.wait(timeout)

    def stop(self, reason: ExitReason = ExitReason.STOPPED) -> None:
        """End the machine now, for that reason."""
        self.machine.stop(reason)

    def traps(self) -> list["TrapCount"]:
        """Give the traps that L0 took so far, by exception class and context; none without L0."""
        return []

    def sysreg_traps(self) -> dict[str, int]:
        """Give the system registers and instructions that trapped so far, by name."""
        return {}

    def locks(self) -> list["LockTime"]:
        """Give how long L0 held its locks so far; none without L0."""
        return []

    @property
    def fatal(self) -> object | None:
        """Why L0 stopped itself, or where it hangs; None when it did not, or is not there."""
        return None

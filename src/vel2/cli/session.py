"""One run of one machine, the same to `run` and `demo` whether vel2 is below the guest or not."""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from vel2.cli.report import TrapCount
from vel2.errors import UserError
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.qemu import Machine, MachineConfig
from vel2.machine.qmp import MonitorError

__all__ = ("Request", "Session", "make_session")


@dataclass(frozen=True)
class Request:
    """What to run.

    :ivar memory_bytes: L1's own; what vel2 needs comes on top.
    :ivar native: without vel2, L1's kernel at the machine's real EL2.
    :ivar qemu_arguments: appended to QEMU's command line as they are.
    """

    kernel: KernelImage
    initrd: bytes
    append: str
    memory_bytes: int
    deterministic: bool = False
    native: bool = False
    qemu_arguments: tuple[str, ...] = ()


class Session(Protocol):
    """A machine: made, given listeners for its console, then entered to run it."""

    @property
    def console(self) -> Console:
        """L1's console; listeners attached before the start miss nothing."""

    def __enter__(self) -> Self:
        """Start the machine."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End the machine, on every way out."""

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""

    def stop(self, reason: ExitReason = ExitReason.STOPPED) -> None:
        """End the machine now, for that reason."""

    def traps(self) -> list[TrapCount]:
        """Give EL2's counters, by exception class and context; none when vel2 is not below."""

    def sysreg_traps(self) -> dict[str, int]:
        """Give EL2's counters by system register."""


class NativeSession(contextlib.ExitStack):
    """L1's kernel at the machine's real EL2, where nobody counts traps."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        # QEMU's own loader takes files, and knows fewer kinds of kernel than ours: it gets what
        # ours made of them.
        self._folder = tempfile.TemporaryDirectory(prefix="vel2-")
        folder = Path(self._folder.name)
        self._kernel, self._initrd = folder / "Image", folder / "initrd"
        config = MachineConfig(
            memory_bytes=request.memory_bytes,
            deterministic=request.deterministic,
            kernel=self._kernel,
            initrd=self._initrd if request.initrd else None,
            append=request.append,
            # A guest may end before QEMU has said that it is there.
            start_paused=True,
            extra_arguments=request.qemu_arguments,
        )
        self._machine = Machine(config)
        self.console = self._machine.console

    def __enter__(self) -> Self:
        """Start the machine."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._folder)
            self._kernel.write_bytes(self._request.kernel.data)
            self._initrd.write_bytes(self._request.initrd)
            stack.enter_context(self._machine)
            with contextlib.suppress(MonitorError):  # it may be over before it answers
                self._machine.monitor.resume()
            self.push(stack.pop_all())
        return self

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""
        return self._machine.wait(timeout)

    def stop(self, reason: ExitReason = ExitReason.STOPPED) -> None:
        """End the machine now, for that reason."""
        self._machine.stop(reason)

    def traps(self) -> list[TrapCount]:
        """Give nothing: real EL2 is the guest's own."""
        return []

    def sysreg_traps(self) -> dict[str, int]:
        """Give nothing: real EL2 is the guest's own."""
        return {}


def make_session(request: Request) -> Session:
    """Make the machine that was asked for, not started yet.

    :raises UserError: when it cannot be made of what was given.
    """
    if request.native:
        return NativeSession(request)
    raise UserError(
        "booting at virtual EL2 is not wired to the command line yet; give --native for the"
        " machine's real EL2."
    )


def vmm_program() -> bytes:
    """Give the VMM that L1 starts L2 with, as a static arm64 program.

    :raises UserError: when it cannot be built.
    """
    raise UserError("the VMM that starts L2 inside L1 is not wired to the command line yet.")

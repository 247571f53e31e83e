"""One run of one machine, the same to `run` and `demo` whether vel2 is below the guest or not."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from vel2.arch.nesting import Kind, Level
from vel2.errors import UserError
from vel2.machine.boot import entry_stub, load_guest
from vel2.machine.console import Console
from vel2.machine.domains import Domain
from vel2.machine.dtb import qemu_device_tree
from vel2.machine.loader import KernelImage
from vel2.machine.memory import GuestMemory
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.qemu import Machine, MachineConfig

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.control.counters import TrapCount

__all__ = ("Request", "Session", "make_session")

UNABLE = 3


@dataclass(frozen=True)
class Request:
    """What to run.

    :ivar memory_bytes: L1's own; what vel2 needs comes on top.
    :ivar el2: how L1 sees HCR_EL2.E2H. :ivar nv: the part of FEAT_NV* that L0 uses.
    :ivar ahead: whether L0 may do several accesses of L1 in one trap.
    :ivar native: without vel2, L1's kernel at the machine's real EL2.
    :ivar qemu_arguments: appended to QEMU's command line as they are.
    :ivar domains: what L1 starts by itself, as Xen does.
    :ivar firmware: what to start instead of a kernel.
    """

    kernel: KernelImage | None
    initrd: bytes
    append: str
    memory_bytes: int
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    deterministic: bool = False
    native: bool = False
    qemu_arguments: tuple[str, ...] = ()
    domains: tuple[Domain, ...] = ()
    firmware: Path | None = None
    ahead: bool = True


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

    def traps(self) -> list["TrapCount"]:
        """Give L0's counters at the end, by exception class and context; none without L0."""

    def sysreg_traps(self) -> dict[str, int]:
        """Give L0's counters at the end, by system register."""

    def fatal(self) -> str:
        """Give the broken invariant that L0 stopped itself at; empty when it did not."""


class NativeSession:
    """L1's kernel at the machine's real EL2, where nobody counts traps.

    QEMU's own loader knows fewer kinds of kernel than ours, and no domains: ours is used.
    """

    def __init__(self, request: Request) -> None:
        config = MachineConfig(
            memory_bytes=request.memory_bytes,
            deterministic=request.deterministic,
            firmware=request.firmware,
            extra_arguments=request.qemu_arguments,
        )
        self._memory = GuestMemory(request.memory_bytes)
        try:
            if request.kernel is not None:
                config = replace(config, entry=self._load(request, request.kernel, config))
        except BaseException:
            self._memory.close()
            raise
        self._machine = Machine(config, self._memory)
        self.console = self._machine.console

    def _load(self, request: Request, kernel: KernelImage, config: MachineConfig) -> int:
        """Put the kernel into memory and give the address to start at."""
        placement = load_guest(
            self._memory,
            qemu_device_tree(config),
            request.memory_bytes,
            kernel,
            request.initrd,
            request.append,
            domains=request.domains,
        )
        return entry_stub(self._memory, placement)

    def __enter__(self) -> Self:
        """Start the machine."""
        try:
            self._machine.__enter__()
        except BaseException:
            self._memory.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the machine and give its memory back."""
        try:
            self._machine.__exit__(kind, error, traceback)
        finally:
            self._memory.close()

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""
        return self._machine.wait(timeout)

    def stop(self, reason: ExitReason = ExitReason.STOPPED) -> None:
        """End the machine now, for that reason."""
        self._machine.stop(reason)

    def traps(self) -> list["TrapCount"]:
        """Give nothing: real EL2 is the guest's own."""
        return []

    def sysreg_traps(self) -> dict[str, int]:
        """Give nothing: real EL2 is the guest's own."""
        return {}

    def fatal(self) -> str:
        """Give nothing: there is no L0 to stop."""
        return ""


class NestedSession:
    """L1 at virtual EL2, with L0 below."""

    def __init__(self, request: Request) -> None:
        from vel2.control.vm import Vm, VmConfig

        config = VmConfig(
            kernel=request.kernel,
            initrd=request.initrd,
            append=request.append,
            memory_bytes=request.memory_bytes,
            el2=request.el2,
            nv=request.nv,
            deterministic=request.deterministic,
            qemu_arguments=request.qemu_arguments,
            domains=request.domains,
            firmware=request.firmware,
            ahead=request.ahead,
        )
        self._vm = Vm(config)
        self._traps: list[TrapCount] = []
        self._sysreg_traps: dict[str, int] = {}
        self._fatal = ""
        self.console = self._vm.console

    def __enter__(self) -> Self:
        """Start the machine."""
        try:
            self._vm.__enter__()
        except BaseException:
            self._vm.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the machine, keep what L0 counted, and give its memory back."""
        try:
            self._vm.__exit__(kind, error, traceback)
            self._traps, self._sysreg_traps = self._vm.traps(), self._vm.sysreg_traps()
            self._fatal = str(self._vm.fatal or "")
            lacking = self._vm.lacking
        finally:
            self._vm.close()
        if lacking and error is None:
            raise self._unable(lacking)

    def _unable(self, lacking: str) -> UserError:
        """Say that L0 would not start, which is no fault of its own."""
        if self._vm.config.qemu_arguments:
            return UserError(
                f"what follows -- makes a machine without {lacking}, which vel2 needs; leave -cpu"
                " out, or take features from `-cpu max`, as in -cpu max,sve=off."
            )
        error = UserError(f"QEMU's machine lacks {lacking}; `vel2 doctor` says what to do.")
        error.exit_code = UNABLE
        return error

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""
        return self._vm.wait(timeout)

    def stop(self, reason: ExitReason = ExitReason.STOPPED) -> None:
        """End the machine now, for that reason."""
        self._vm.machine.stop(reason)

    def traps(self) -> list["TrapCount"]:
        """Give what L0 counted, once the machine has ended."""
        return self._traps

    def sysreg_traps(self) -> dict[str, int]:
        """Give what L0 counted by system register, once the machine has ended."""
        return self._sysreg_traps

    def fatal(self) -> str:
        """Give why L0 stopped itself, once the machine has ended."""
        return self._fatal


def make_session(request: Request) -> Session:
    """Make the machine that was asked for, not started yet.

    :raises UserError: when it cannot be made of what was given.
    """
    return NativeSession(request) if request.native else NestedSession(request)


def vmm_program() -> bytes:
    """Compile the VMM that L1 starts L2 with."""
    from vel2.guests.vmm import build_vmm

    return build_vmm()

"""A machine with one configuration's L0, or none, and Linux as L1: what every run starts with."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vel2.bench.configuration import Configuration
from vel2.bench.counts import Moment, Snapshot
from vel2.bench.peer import KVM_L0_BOOTARGS, KVM_L0_MEMORY_BYTES, kvm_initrd, kvm_kernel
from vel2.bench.traplog import TrapLog
from vel2.control.vm import Vm, VmConfig
from vel2.errors import UserError
from vel2.guests.vmm import build_vmm
from vel2.hyp import image
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage
from vel2.machine.memory import RAM_BASE
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.qemu import Machine, MachineConfig
from vel2.machine.qmp import Monitor

__all__ = (
    "CPU",
    "L0_FATAL",
    "L1Guest",
    "MeasureError",
    "Running",
    "Take",
    "compile_all",
    "guest_failed",
    "system",
)

L1_MEMORY_BYTES = 1 << 30
CPU = f"{DEFAULT_CPU},lpa2=off"
"""The same in every configuration. With FEAT_LPA2, KVM as L0 makes shadow tables for 52-bit
addresses, and takes minutes to empty them again and again while L1 starts."""
TAIL_LINES = 8
EXIT_CODES = {ExitReason.TIMEOUT: 4, ExitReason.DIED: 3}
GUEST_FAILED, L0_FATAL = 1, 5


class MeasureError(UserError):
    """A run that did not get to its end, with the exit code that says why."""

    def __init__(self, sentence: str, exit_code: int = GUEST_FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def guest_failed(level: str, ended: MachineExit, console: Console) -> MeasureError:
    """Say that a guest did not get to its end."""
    last = "\n".join(f"  {line}" for line in console.tail(TAIL_LINES).splitlines())
    code = EXIT_CODES.get(ended.reason, GUEST_FAILED)
    return MeasureError(f"{level} did not get to its end: {ended}; last lines:\n{last}", code)


@dataclass(frozen=True)
class L1Guest:
    """What boots as L1.

    :ivar init_arguments: the command line of its process 1.
    """

    kernel: KernelImage
    initrd: bytes
    bootargs: str
    init_arguments: str = ""


class System(Protocol):
    """A machine with a console, with L0 or without."""

    console: Console

    @property
    def monitor(self) -> Monitor:
        """QMP of the running machine."""

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""


Take = Callable[[], Moment | None]


@dataclass(frozen=True)
class Running:
    """A machine that has been started.

    :ivar snapshot: gives what was trapped so far, once at each mark; None where nobody counts.
    :ivar fatal: says how L0 stopped itself; empty when it did not.
    :ivar vm: L0's; None without L0.
    """

    machine: System
    snapshot: Take
    fatal: Callable[[], str]
    vm: Vm | None = None


def compile_all(configurations: Sequence[Configuration]) -> None:
    """Compile what the runs need into the cache, so that a mistake shows before any of them.

    :raises SubsetError: when it does not compile.
    """
    build_vmm()
    if any(configuration.nv is not None for configuration in configurations):
        image.build(RAM_BASE)


@contextlib.contextmanager
def system(
    configuration: Configuration,
    guest: L1Guest,
    folder: Path,
    *,
    deterministic: bool,
    arguments: tuple[str, ...] = (),
    has_log: bool = True,
) -> Iterator[Running]:
    """Start a machine, and end it.

    :param folder: for temporary files. :param arguments: appended to QEMU's command line.
    :param has_log: QEMU's log is free to count the traps to Linux at real EL2.
    """
    bootargs = guest.bootargs + configuration.bootargs
    if guest.init_arguments:
        bootargs += f" -- {guest.init_arguments}"
    if configuration.nv is not None:
        vm_config = VmConfig(
            guest.kernel,
            guest.initrd,
            bootargs,
            L1_MEMORY_BYTES,
            el2=configuration.el2,
            nv=configuration.nv,
            cpu=CPU,
            deterministic=deterministic,
            qemu_arguments=arguments,
            ahead=configuration.ahead,
        )
        with contextlib.closing(Vm(vm_config)) as vm, vm:
            yield Running(
                vm.machine, lambda: Snapshot.take(vm.vcpu()), lambda: str(vm.fatal or ""), vm
            )
        return
    kernel, initrd, memory_bytes = guest.kernel, guest.initrd, L1_MEMORY_BYTES
    if configuration.kvm:
        initrd = kvm_initrd(configuration.el2, kernel, initrd, bootargs, memory_bytes)
        kernel, bootargs = kvm_kernel(), KVM_L0_BOOTARGS
        memory_bytes += KVM_L0_MEMORY_BYTES
    with contextlib.ExitStack() as stack:
        log = TrapLog(folder) if deterministic and has_log else None
        if log is not None:
            arguments += stack.enter_context(log).arguments
        kernel_file, initrd_file = folder / "Image", folder / "initrd"
        kernel_file.write_bytes(kernel.data)
        initrd_file.write_bytes(initrd)
        config = MachineConfig(
            memory_bytes,
            cpu=CPU,
            deterministic=deterministic,
            kernel=kernel_file,
            initrd=initrd_file,
            append=bootargs,
            extra_arguments=arguments,
        )
        machine = stack.enter_context(Machine(config))
        yield Running(machine, log.take if log else lambda: None, str)

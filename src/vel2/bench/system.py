"""A machine with one configuration's L0, or none, and Linux as L1: what every run starts with."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vel2.arch.nesting import Kind, Level
from vel2.bench.configuration import LEVELS, Configuration
from vel2.bench.counts import Moment, Snapshots
from vel2.bench.guest import L1Guest, stacked
from vel2.bench.traplog import TrapLog
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request, cpu_for
from vel2.control.session import Session
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.guests.vmm import build_vmm
from vel2.hyp import image
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage
from vel2.machine.memory import RAM_BASE
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.pack.nested import nest
from vel2.probes.source import load_probes

__all__ = (
    "L0_FATAL",
    "MeasureError",
    "Running",
    "Take",
    "compile_all",
    "cpu_of",
    "guest_failed",
    "system",
)

CPU = f"{DEFAULT_CPU},lpa2=off"
"""With FEAT_LPA2, KVM as L0 makes shadow tables for 52-bit addresses, and takes minutes to empty
them again and again while L1 starts."""
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


Take = Callable[[], Moment | None]


@dataclass(frozen=True)
class Running:
    """A machine that has been started.

    :ivar snapshot: gives what was trapped so far, once at each mark; None where nobody counts.
    """

    session: Session
    snapshot: Take

    def end(self, deadline: float) -> MachineExit:
        """Wait for the machine's end, until the host's `time.monotonic()` is that.

        :raises MeasureError: when L0 stopped itself, or hangs.
        """
        ended = self.session.wait(max(0.0, deadline - time.monotonic()))
        if trouble := self.session.fatal:
            raise MeasureError(str(trouble), L0_FATAL)
        return ended


def compile_all(configurations: Sequence[Configuration]) -> None:
    """Compile what the runs need into the cache, so that a mistake shows before any of them.

    :raises SubsetError: when it does not compile.
    """
    build_vmm()
    if any(configuration.nv is not None for configuration in configurations):
        image.build(RAM_BASE)


def cpu_of(kernel: KernelImage) -> str:
    """Give QEMU's CPU for an L1: the same in every configuration, so what one lacks all lack."""
    return cpu_for(kernel, Kind.VHE, Level.NV2, CPU)


def request_of(
    configuration: Configuration, guest: L1Guest, deterministic: bool, arguments: tuple[str, ...]
) -> Request:
    """Describe the machine of a configuration."""
    below, el2 = stacked(configuration, guest)
    request = Request(
        Kernel(below.kernel, below.initrd, below.command_line),
        below.memory_bytes,
        smp=below.cpus,
        el2=el2,
        nv=configuration.nv or Level.NV2,
        recursion=configuration.nv is not None and configuration.level > LEVELS[0],
        native=configuration.nv is None,
        cpu=cpu_of(guest.kernel),
        deterministic=deterministic,
        ahead=configuration.ahead,
        qemu_arguments=arguments,
    )
    return nest(request, configuration.depth)


@contextlib.contextmanager
def system(
    configuration: Configuration,
    guest: L1Guest,
    folder: Path,
    *,
    deterministic: bool,
    arguments: tuple[str, ...] = (),
    has_log: bool = True,
    from_first_mark: bool = False,
) -> Iterator[Running]:
    """Start a machine, and end it.

    :param folder: for temporary files. :param arguments: appended to QEMU's command line.
    :param has_log: QEMU's log is free to count the traps to Linux at real EL2.
    :param from_first_mark: nobody asks what was trapped before that.
    """
    with contextlib.ExitStack() as stack:
        log = None
        if configuration.nv is None and deterministic and has_log:
            log = stack.enter_context(TrapLog(folder, from_first_mark))
            arguments += log.arguments
        request = request_of(configuration, guest, deterministic, arguments)
        session = stack.enter_context(contextlib.closing(launch(request)))
        if isinstance(session, Vm):
            for text in configuration.probes:
                for function in load_probes(text):
                    session.probes.add(function)
        stack.enter_context(session)
        yield Running(session, log.take if log else counters_of(session))


def counters_of(session: Session) -> Take:
    """Give what takes L0's counters, or nothing where vel2 is not L0."""
    if isinstance(session, Vm):
        return lambda: Snapshots.take(session.vcpus)
    return lambda: None

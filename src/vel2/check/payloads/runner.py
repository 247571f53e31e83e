"""Running a payload: at the machine's real EL2, and at virtual EL2 under vel2."""

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from vel2.arch.nesting import Kind, Level
from vel2.check.payloads.layout import MEMORY_BYTES
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.hyp import layout
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.loader import load_kernel
from vel2.machine.outcome import MachineExit
from vel2.pack.nested import inner_l0s, nest

__all__ = ("Report", "run_at_real_el2", "run_at_virtual_el2")

TIME_LIMIT_S = 300.0
DONE = re.compile(r"done 0x([0-9a-f]+) failed 0x([0-9a-f]+)")


@dataclass(frozen=True)
class Report:
    """What a payload printed, and how its machine ended.

    :ivar trouble: why L0, or one inside it, stopped; empty if none did.
    """

    lines: tuple[str, ...]
    end: MachineExit
    trouble: str = ""

    @property
    def failures(self) -> list[str]:
        """The checks that failed."""
        return [line for line in self.lines if line.startswith("not ok ")]

    @property
    def checks(self) -> int | None:
        """How many checks were made; None when the payload did not get to its end."""
        found = DONE.fullmatch(self.lines[-1]) if self.lines else None
        return int(found[1], 16) if found else None

    @property
    def complete(self) -> bool:
        """True when the payload said everything and powered the machine off."""
        said = sum(line.startswith(("ok ", "not ok ")) for line in self.lines)
        return self.end.clean and not self.trouble and self.checks == said


def run_at_real_el2(
    image: bytes,
    timeout: float = TIME_LIMIT_S,
    cpu: str = DEFAULT_CPU,
    qemu_arguments: tuple[str, ...] = (),
    cpus: int = 1,
    deterministic: bool = False,
) -> Report:
    """Run a payload with nothing below it."""
    request = Request(
        Kernel(load_kernel(image)),
        MEMORY_BYTES,
        native=True,
        cpu=cpu,
        qemu_arguments=qemu_arguments,
        smp=cpus,
        deterministic=deterministic,
    )
    with closing(launch(request)) as session:
        with session:
            end = session.wait(timeout)
        return Report(_lines(session.console.text), end)


def run_at_virtual_el2(
    image: bytes,
    timeout: float = TIME_LIMIT_S,
    nv: Level = Level.NV2,
    el2: Kind = Kind.VHE,
    prepare: Callable[[Vm], None] | None = None,
    examine: Callable[[Vm], None] | None = None,
    cpu: str = DEFAULT_CPU,
    qemu_arguments: tuple[str, ...] = (),
    recursion: bool = False,
    depth: int = 1,
    cpus: int = 1,
    deterministic: bool = False,
) -> Report:
    """Run a payload as L1 under vel2.

    :param el2: the kind that the payload was built for.
    :param nv: how much of nested virtualization support L0 uses.
    :param prepare: called before the machine starts.
    :param examine: called when it has ended.
    :param cpu: QEMU's `-cpu`.
    :param qemu_arguments: devices that the payload needs. :param cpus: how many CPUs.
    :param recursion: whether the payload has FEAT_NV*.
    :param depth: how many vel2s there are, one in the other, with the payload in the last.
    :param deterministic: time counts instructions, so that a busy host makes no timer fire early.
    """
    memory_bytes = MEMORY_BYTES
    for _ in range(depth - 1):
        memory_bytes += layout.l0_bytes(memory_bytes)
    request = Request(
        Kernel(load_kernel(image)),
        memory_bytes,
        el2=el2,
        nv=nv,
        recursion=recursion,
        cpu=cpu,
        qemu_arguments=qemu_arguments,
        smp=cpus,
        deterministic=deterministic,
    )
    with closing(Vm(nest(request, depth))) as vm:
        if prepare is not None:
            prepare(vm)
        with vm:
            end = vm.wait(timeout)
        if examine is not None:
            examine(vm)
        troubles = (vm.fatal, *(l0.fatal for l0 in inner_l0s(vm)))
        return Report(_lines(vm.console.text), end, "; ".join(map(str, filter(None, troubles))))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())

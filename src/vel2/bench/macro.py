"""Booting, making processes and using memory, in L1 and in L2: one run in one configuration.

What runs is Linux at both levels, with `program` as process 1.
"""

import contextlib
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vel2.bench.configuration import Configuration
from vel2.bench.counts import Moment, Traps, between
from vel2.bench.host import MarkReader
from vel2.bench.layout import UNKNOWN_EXITS, Mark
from vel2.bench.program import BEGIN, MAX_N, PARTS, build_program
from vel2.bench.system import L0_FATAL, L1Guest, MeasureError, Take, guest_failed, system
from vel2.errors import UserError
from vel2.guests.recipes import base_tree, l1_tree
from vel2.guests.vmm import build_vmm
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage
from vel2.machine.outcome import MachineExit

__all__ = ("MacroRequest", "Part", "check_macro", "macro_guest", "measure_macro")

RESULT = re.compile(r"result (l[12]\.\w+) (\d+) (\d+) (\d+)\s")
BOOTARGS = "quiet panic=-1 cryptomgr.notests=1"
"""The self-tests of the crypto library would run beside what is measured."""
SMALL_PAGES = " transparent_hugepage=never"
KVM_MAJOR, KVM_MINOR, MEM_MAJOR, MEM_MINOR = 10, 232, 1, 1


@dataclass(frozen=True)
class MacroRequest:
    """What to run, and how.

    :ivar n: workloads are done in proportion to it.
    :ivar huge_pages: leave L1's policy of huge pages alone. Otherwise L1 gives L2 its memory in
        pages of 4 KiB, so that every page that L2 touches first is a stage-2 fault.
    :ivar timeout: seconds of host time for the whole run.
    """

    configuration: Configuration
    l1_kernel: KernelImage
    l2_kernel: KernelImage
    n: int
    huge_pages: bool = False
    deterministic: bool = True
    timeout: float = 600.0


@dataclass(frozen=True)
class Part:
    """What one part cost.

    :ivar count: how often it was done. :ivar ticks: what that took, in all.
    :ivar traps: to real EL2; None when nobody counted.
    :ivar l1_exits: of L2, as L1's KVM counts them; None when it does not.
    """

    count: int
    ticks: int
    traps: Traps | None = None
    l1_exits: int | None = None


def check_macro(n: int, only: Sequence[str]) -> None:
    """Refuse options that are out of range.

    :raises UserError: saying what can be given.
    """
    if not 1 <= n <= MAX_N:
        raise UserError(f"--macro cannot be done with --n {n}; give 1 to {MAX_N}.")
    if only:
        raise UserError("--macro does all of its parts in one run; leave --only out.")


def macro_guest(request: MacroRequest) -> L1Guest:
    """Give L1, with L2 in it."""
    program = build_program()
    l2 = base_tree("")
    l2.file("init", program, 0o755)
    l2.character_device("dev/mem", MEM_MAJOR, MEM_MINOR)
    l1 = l1_tree(
        build_vmm(),
        request.l2_kernel.data,
        l2.pack(),
        l2_image_bytes=request.l2_kernel.image_size,
        l2_bootargs=f"console=ttyS0 {BOOTARGS} -- {init_arguments(request, 2)}",
    )
    l1.file("init", program, 0o755)
    l1.character_device("dev/kvm", KVM_MAJOR, KVM_MINOR)
    bootargs = f"console=ttyAMA0 {BOOTARGS}{'' if request.huge_pages else SMALL_PAGES}"
    return L1Guest(request.l1_kernel, l1.pack(), bootargs, init_arguments(request, 1))


def init_arguments(request: MacroRequest, level: int) -> str:
    """Give the command line of the program."""
    return f"{level} {request.n} {int(request.deterministic)}"


def measure_macro(request: MacroRequest) -> dict[str, Part]:
    """Boot once; give the figures of each part, in the order of `PARTS`.

    :raises MeasureError: when the run did not get to its end.
    """
    deadline = time.monotonic() + request.timeout
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vel2-")))
        reader = stack.enter_context(MarkReader(folder)) if request.deterministic else None
        running = stack.enter_context(
            system(
                request.configuration,
                macro_guest(request),
                folder,
                deterministic=request.deterministic,
                arguments=reader.userspace_arguments if reader else (),
            )
        )
        console = running.machine.console
        seen: dict[str, Part] = {}
        if reader is not None:
            marks = reader.marks(console, deadline)
            with contextlib.suppress(TimeoutError):  # how the machine ends tells more
                seen.update(follow_parts(marks, running.snapshot))
        ended = running.machine.wait(max(0.0, deadline - time.monotonic()))
        if trouble := running.fatal():
            raise MeasureError(trouble, L0_FATAL)
        return collect_parts(console, ended, seen if reader else None)


def follow_parts(marks: Iterator[Mark], snapshot: Take) -> Iterator[tuple[str, Part]]:
    """Put marks together to parts. What has no beginning began with the machine."""
    begun: dict[int, Moment | None] = {}
    for mark in marks:
        now = snapshot()
        if mark.round == BEGIN:
            begun[mark.operation] = now
            continue
        traps = between(begun.pop(mark.operation, None), now) if now else None
        yield PARTS[mark.operation], Part(mark.count, mark.ticks, traps)


def collect_parts(
    console: Console, ended: MachineExit, seen: Mapping[str, Part] | None
) -> dict[str, Part]:
    """Put together what the program printed and what was seen at its marks.

    :param seen: None when there were no marks.
    :raises MeasureError: when something is missing, or the two do not agree.
    """
    found = {
        name: Part(
            int(count), int(ticks), l1_exits=None if int(exits) == UNKNOWN_EXITS else int(exits)
        )
        for name, count, ticks, exits in RESULT.findall(console.text)
    }
    for level in ("L1", "L2"):
        if not {part for part in PARTS if part.startswith(level.lower())} <= set(found):
            # L1 waits for L2, and says nothing before it has ended.
            level = "L2" if seen is None or "l1.memory_again" in seen else "L1"
            raise guest_failed(level, ended, console)
    parts = {}
    for name in PARTS:
        part = found[name]
        if seen is not None:
            mark = seen.get(name)
            if mark is None or (mark.count, mark.ticks) != (part.count, part.ticks):
                raise MeasureError(f"{name} was seen other than reported.")
            part = replace(part, traps=mark.traps)
        parts[name] = part
    return parts

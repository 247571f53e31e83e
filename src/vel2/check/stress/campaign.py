"""One run: L1 with several CPUs, its guests, its movers, and what is left in L0 afterwards.

L0 keeps the shadow of a guest that is gone until somebody needs its place, since nothing tells it
that the guest is gone. So before and after, L1 runs more guests that do nothing than L0 has
contexts: then all contexts are in use. What is in the pool besides their tables must be equal, and
each page of the pool in exactly one list.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from vel2.arch.nesting import Kind, Level
from vel2.check.stress.guest import build_stress_guest
from vel2.check.stress.pool import Pool
from vel2.check.stress.program import GUEST_PATH, build_stress_program
from vel2.check.stress.script import KILLED, STRESS_INIT
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.guests.markers import parse_markers
from vel2.guests.recipes import base_tree
from vel2.hyp.state import SHADOW_CONTEXTS
from vel2.machine.console import Console, ConsoleClosed, ConsoleTimeout
from vel2.machine.loader import KernelImage

__all__ = ("Stress", "StressResult", "run_stress")

TROUBLE = re.compile(
    r"rcu.*stall|lockup|\bBUG\b|\bOops\b|Call trace|Internal error|hung task", re.IGNORECASE
)
"""What a kernel says that lost an interrupt, a wake-up or a translation."""
WRONG = re.compile(r"stress: .*")
BOOTARGS = "console=ttyAMA0 panic=-1 quiet transparent_hugepage=madvise"
MOVED = ("pgmigrate_success", "thp_collapse_alloc", "thp_split_page", "cow_ksm")
"""Counts of /proc/vmstat: pages moved by compaction, made huge and split, merged ones copied."""


@dataclass(frozen=True)
class Stress:
    """What to run.

    :ivar seconds: how long L1's guests are started anew, by L1's clock. A broadcast TLBI is a
        meeting of all of QEMU's threads, so with more CPUs than the host has little happens in it.
    :ivar guests: how many there are at once. :ivar rounds: how many rounds each does.
    :ivar limit: seconds of host time for the whole run.
    """

    kernel: KernelImage
    seconds: int
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    smp: int = 2
    guests: int = 8
    rounds: int = 6
    deterministic: bool = False
    memory_bytes: int = 1 << 30
    limit: float = 1800.0


@dataclass
class StressResult:
    """What a run showed.

    :ivar lives: how many guests came to their end. :ivar killed: how many L1 ended before that.
    :ivar moved: L1's counts of `MOVED`, from the start of the guests to their end.
    :ivar before, after: L0's pool and contexts, with guests only that do nothing.
    :ivar longest_hold: for how long L0's stage-2 lock was held at most, in ticks of CNTPCT_EL0:
        nanoseconds of the host, or instructions. :ivar failures: what is wrong, a sentence each.
    """

    lives: int = 0
    longest_hold: int = 0
    killed: int = 0
    moved: Mapping[str, int] = field(default_factory=dict)
    before: Pool | None = None
    after: Pool | None = None
    failures: list[str] = field(default_factory=list)


def run_stress(stress: Stress) -> StressResult:
    """Run it once, and judge it."""
    result = StressResult()
    with closing(Vm(request_of(stress))) as vm:
        with vm:
            deadline = time.monotonic() + stress.limit
            try:
                result.before = pool_at(vm, "before", deadline)
                result.after = pool_at(vm, "after", deadline)
                ended = vm.wait(max(0.0, deadline - time.monotonic()))
                if not ended.clean:
                    result.failures.append(f"L1 did not end well: {ended}")
            except (ConsoleClosed, ConsoleTimeout) as error:
                result.failures.append(str(error))
        if vm.fatal:
            result.failures.append(str(vm.fatal))
        result.longest_hold = vm.state.stage2.lock.longest
        read_console(result, vm.console)
        result.failures += judged(result, Pool.of(vm))
    return result


def request_of(stress: Stress) -> Request:
    """Describe L1: a small system whose process 1 does everything."""
    settings = (
        f"guests={stress.guests} seconds={stress.seconds} rounds={stress.rounds}"
        f" idle={SHADOW_CONTEXTS + 1}"
    )
    tree = base_tree(STRESS_INIT)
    tree.file("stress", build_stress_program(), 0o755)
    tree.file(GUEST_PATH, build_stress_guest())
    guest = Kernel(stress.kernel, tree.pack(), f"{BOOTARGS} {settings}")
    return Request(
        guest,
        stress.memory_bytes,
        smp=stress.smp,
        el2=stress.el2,
        nv=stress.nv,
        deterministic=stress.deterministic,
    )


def pool_at(vm: Vm, name: str, deadline: float) -> Pool:
    """Wait until L1 is quiet, look at L0's pool, and let L1 go on.

    :raises ConsoleTimeout: when that is not before the deadline.
    """
    left = max(0.0, deadline - time.monotonic())
    vm.console.wait_for(rf"^##vel2 stress\.quiet={name}$", left)
    found = Pool.of(vm)
    vm.console.write("\n")
    return found


def read_console(result: StressResult, console: Console) -> None:
    """Take what L1 said."""
    said = parse_markers(line.text for line in console.lines)
    result.lives = number(said, "stress.lives")
    result.killed = number(said, "stress.killed")
    result.moved = {name: number(said, f"stress.{name}") for name in MOVED}
    text = console.text
    result.failures += [found[0] for found in TROUBLE.finditer(text)]
    result.failures += [found[0] for found in WRONG.finditer(text)]
    result.failures += [f"{name}: {what}" for name, what in said.items() if ".failed" in name]


def number(said: Mapping[str, str], name: str) -> int:
    """Give a number that L1 said, or 0."""
    return int(said.get(name, "0"))


def judged(result: StressResult, end: Pool) -> Iterator[str]:
    """Say what is not as it must be."""
    yield from end.contradictions
    if result.before is not None and result.after is not None:
        for name in ("lasting", "contexts"):
            before, after = getattr(result.before, name), getattr(result.after, name)
            if before != after:
                yield f"L0's pool: {name} was {before}, and is {after} afterwards"
    if result.lives == 0:
        yield f"no guest came to its end ({result.killed} were ended by {KILLED})"

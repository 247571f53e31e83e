"""Run one program in one machine, watch it, and say what became of L0.

A machine ends in one of three ways. The guest ends it, when its bursts are done or by PSCI: that is
ordinary. L0 ends it, by stopping at a broken invariant: that is a failure. Or nothing happens any
more, and the question is who is stuck. The program shows its current burst in shared memory. If the
burst stays the same while QEMU uses CPU time, the machine is paused a few times to read the PE's
Exception level and L0's count of traps. If it is at EL2 every time, with no trap between two looks,
L0 hangs. Anything else is a guest that has lost its way and let go of the harness. That is the
guest's own affair, and the machine is ended.

If QEMU ends by itself, at an assertion that a guest can reach, the result says so. That is no fault
of L0's, but a finding all the same.
"""

import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from vel2.arch.nesting import Kind, Level
from vel2.check.hostile.harness import build_harness
from vel2.check.hostile.layout import (
    BURST_BYTES,
    BURSTS,
    CONTROL,
    MEMORY_BYTES,
    MEMORY_END,
    TABLES,
    UNDEFINED,
    Control,
)
from vel2.check.hostile.program import Program
from vel2.check.hostile.values import Places
from vel2.check.integrity import Integrity
from vel2.control.guest import Kernel
from vel2.control.regions import is_hidden
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.hyp import layout, vncr
from vel2.lang import Image
from vel2.machine.dtb import qemu_device_tree
from vel2.machine.loader import load_kernel
from vel2.machine.memmap import RegionKind, read_memory_map
from vel2.machine.memory import RAM_BASE
from vel2.machine.outcome import ExitReason
from vel2.machine.qmp import MonitorError

__all__ = ("End", "Ended", "Rig", "Where")

LOOK_S = 0.05
STUCK_CPU_S = 0.5
"""If QEMU uses this much CPU time and no burst ends, somebody is stuck. A burst takes 0.03 s."""
STUCK_IDLE_S = 1.0
"""The same by the clock, for a machine that only waits."""
LOOKS_AT_EL2 = 12
L0_BUDGET_S = 3.0
TIME_LIMIT_S = 120.0
FILL = UNDEFINED.to_bytes(4, "little") * ((RAM_BASE + MEMORY_BYTES - MEMORY_END) // 4)
EL2_MODE = re.compile(r"PSTATE=[0-9a-f]+ .*EL(\d)")
PROGRAM_COUNTER = re.compile(r"PC=([0-9a-f]+)")


class End(Enum):
    """What became of a machine."""

    ENDED = "the guest ended it"
    LOST = "the harness was lost"
    FATAL = "L0 stopped"
    HANG = "L0 hangs"
    BROKEN = "L0 was changed"
    QEMU = "QEMU ended on its own"

    @property
    def is_failure(self) -> bool:
        """Whether L0 is to blame."""
        return self in (End.FATAL, End.HANG, End.BROKEN)


@dataclass(frozen=True)
class Where:
    """A combination: the kind of virtual EL2, the hardware's level, and whether L1 has that too."""

    el2: Kind
    nv: Level
    recursion: bool = False

    def __str__(self) -> str:
        name = f"{self.el2.value}-{self.nv.value}"
        return f"{name}+{self.nv.value}" if self.recursion else name


@dataclass
class Ended:
    """How one program ended in one machine.

    :ivar burst: the burst that ran last.
    :ivar start: its first word that is not counted.
    :ivar detail: L0's own words, or what was found.
    """

    seed: int
    where: Where
    end: End
    burst: int
    events: int
    exceptions: int
    timeouts: int
    seconds: float
    traps: int = 0
    start: int = 0
    detail: list[str] = field(default_factory=list)
    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Traps by context and exception class."""

    @property
    def replay(self) -> str:
        """The command that repeats it."""
        kind = f"--el2 {self.where.el2.value} --nv {self.where.nv.value}"
        kind += " --recursion" if self.where.recursion else " --no-recursion"
        return (
            f"vel2 check hostile --seed {self.seed} {kind} --programs 1 --bursts {self.burst + 1}"
        )

    def __str__(self) -> str:
        what = "; ".join(self.detail)
        return f"seed {self.seed} {self.where} burst {self.burst}: {self.end.value}: {what}"


class Rig:
    """Builds machines for programs and runs them.

    :param where: the combination.
    :param deterministic: time counts instructions. A run repeats exactly, but time stands still
        while a guest takes one exception after another.
    """

    def __init__(self, where: Where, deterministic: bool = False) -> None:
        self.where = where
        self.deterministic = deterministic
        self.harness: Image = build_harness(where.el2, where.nv, where.recursion)
        self._whole: Integrity | None = None
        self._places: Places | None = None

    @property
    def places(self) -> Places:
        """The addresses of this machine, for the generator."""
        if self._places is None:
            vm = self._make()
            try:
                self._places = places_of(vm, self.harness)
            finally:
                vm.close()
        return self._places

    def _make(self) -> Vm:
        request = Request(
            Kernel(load_kernel(self.harness.data)),
            memory_bytes=MEMORY_BYTES,
            el2=self.where.el2,
            nv=self.where.nv,
            recursion=self.where.recursion,
            deterministic=self.deterministic,
        )
        return Vm(request)

    def run(self, program: Program, first: int = 0, last: int | None = None) -> Ended:
        """Run a program, or some of its bursts, in a machine of its own.

        :param first, last: the bursts to run, both included.
        """
        count = len(program.bursts) if last is None else last + 1
        vm = self._make()
        try:
            vm.memory.write(MEMORY_END, FILL)
            for index in range(first, count):
                vm.memory.write(BURSTS + index * BURST_BYTES, program.bursts[index].encoded())
            vm.memory.write(TABLES, program.tables)
            control = Control(vm.memory.window(CONTROL, Control.size))
            control.index, control.bursts = first, count
            integrity = Integrity(vm, like=self._whole)
            with vm:
                end, detail = watch(vm, control)
            result = self._result(program, vm, control, end, detail)
            if not result.end.is_failure and control.exceptions:
                broken = integrity.broken()
                if broken:
                    result.end, result.detail = End.BROKEN, broken
                self._whole = integrity
            return result
        finally:
            vm.close()

    def _result(
        self, program: Program, vm: Vm, control: Control, end: End, detail: list[str]
    ) -> Ended:
        if vm.fatal is not None:
            end, detail = End.FATAL, [str(vm.fatal)]
        exit_ = vm.machine.exit
        return Ended(
            program.seed,
            self.where,
            end,
            min(control.index, len(program.bursts) - 1),
            control.events,
            control.exceptions,
            control.timeouts,
            exit_.seconds if exit_ is not None else 0,
            sum(trap.count for trap in vm.traps()),
            control.start,
            detail,
            Counter({(trap.context, trap.kind): trap.count for trap in vm.traps()}),
        )


def watch(vm: Vm, control: Control) -> tuple[End, list[str]]:
    """Wait for a machine to end, or end it."""
    began = seen = time.monotonic()
    cpu = cpu_seconds(vm.machine.pid)
    index = control.index
    while (ended := vm.machine.poll(LOOK_S)) is None:
        now = time.monotonic()
        if control.index != index:
            index, seen, cpu = control.index, now, cpu_seconds(vm.machine.pid)
        elif (
            cpu_seconds(vm.machine.pid) - cpu > STUCK_CPU_S
            or now - seen > STUCK_IDLE_S
            or now - began > TIME_LIMIT_S
        ):
            try:
                place = l0_hangs(vm)
            except MonitorError:
                continue
            vm.stop()
            return (End.HANG, [place]) if place else (End.LOST, [])
    if ended.reason is ExitReason.DIED:
        return End.QEMU, [ended.detail, vm.machine.stderr.strip()[-300:]]
    return End.ENDED, []


def l0_hangs(vm: Vm) -> str:
    """Say where L0 hangs: at EL2 in every look, and no trap between them; empty if it does not."""
    before = -1
    began, cpu = time.monotonic(), cpu_seconds(vm.machine.pid)
    looks = pc = 0
    while looks < LOOKS_AT_EL2 or time.monotonic() - began < L0_BUDGET_S:
        vm.machine.monitor.pause()
        registers = str(
            vm.machine.monitor.execute("human-monitor-command", {"command-line": "info registers"})
        )
        traps = sum(trap.count for trap in vm.traps())
        vm.machine.monitor.resume()
        level, place = EL2_MODE.search(registers), PROGRAM_COUNTER.search(registers)
        if level is None or place is None or level[1] != "2" or before not in (-1, traps):
            return ""
        before, pc = traps, int(place[1], 16)
        looks += 1
        vm.machine.poll(LOOK_S)
    if cpu_seconds(vm.machine.pid) - cpu < L0_BUDGET_S / 10:
        return ""  # Firmware waits for an event, as CPU_SUSPEND asks it to.
    return f"at EL2 for {L0_BUDGET_S:g} s, in {vm.image.symbol_at(pc) or hex(pc)}"


def cpu_seconds(pid: int | None) -> float:
    """Give the CPU time that a process has had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def places_of(vm: Vm, harness: Image) -> Places:
    """Collect the addresses that a guest of this VM would attack."""
    base = vm.l0_base
    per_cpu = base + layout.PCPU_OFFSET
    pool = base + layout.POOL_OFFSET
    forbidden = [
        base,
        base + len(vm.image.data) & -0x1000,
        base + layout.VM_OFFSET,
        per_cpu,
        per_cpu + layout.VCPU_IN_PCPU,
        per_cpu + layout.VNCR_IN_PCPU,
        *range(pool, pool + 0x4_0000, 0x1000),
        base + vm.l0_bytes - 0x2000,
        base + vm.l0_bytes,
        vncr.WINDOWS,
        1 << 39,
        1 << 40,
    ]
    own = [RAM_BASE, RAM_BASE + MEMORY_BYTES - 0x1000]
    for region in read_memory_map(qemu_device_tree(vm.machine.config)).regions:
        target = forbidden if is_hidden(region) else own
        if region.kind is not RegionKind.RAM:
            target += within(region.base, region.size)
    return Places(
        tuple(own),
        tuple(forbidden),
        harness.symbols["harness_vectors"],
        harness.symbols["harness_el1_vectors"],
    )


def within(base: int, size: int) -> list[int]:
    """Give the first and the last page of a region."""
    return sorted({base & -0x1000, base + size - 1 & -0x1000})

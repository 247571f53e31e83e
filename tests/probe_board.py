"""A board without QEMU for probes: L0's part of memory, shared by the host and by pcpus.

A trap runs L0's own dispatch (`hyp.probe`) as CPython, on that memory. What it calls is machine
code, as the host has linked it and L0 has copied it: another implementation of A64 executes it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import unicorn
from unicorn import arm64_const as arm64

from vel2.control.l0 import L0, Orders
from vel2.control.probes import ProbeSet
from vel2.hyp import layout, probe
from vel2.hyp.layout import PCPU_BYTES, PCPU_OFFSET, VCPU_IN_PCPU, VNCR_IN_PCPU
from vel2.hyp.records import SYNC
from vel2.hyp.state import CONTEXT_VEL2, Vcpu
from vel2.hyp.watch import PROBE, PROBE_AT_END
from vel2.lang import Simulation, resident, u64
from vel2.machine.memory import RAM_BASE, GuestMemory

MIB = 1 << 20
L1_BYTES = 16 * MIB
STACK, RETURN = 0x1000_0000, 0x2000_0000
STEPS = 100_000


@resident
def at_begin(vcpu: Vcpu) -> None:
    """Do what `observe` does for probes when a trap begins."""
    probe.run(vcpu, probe.AT_BEGIN, 0)


@resident
def at_end(vcpu: Vcpu, outcome: u64) -> None:
    """Do what `observe` does for probes when a trap is done."""
    probe.run(vcpu, probe.AT_END, outcome)


class Called(dict[int, Callable[[Vcpu, int], None]]):
    """Stands for `probe.SIMULATED`: any entry is machine code in the board's memory."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def __missing__(self, entry: int) -> Callable[[Vcpu, int], None]:
        return lambda vcpu, what: self.board.execute(entry, vcpu, what)


class Board:
    """Memory with L0 in it, and pcpus that trap when a test says so.

    :ivar entered: the entries that were called. :ivar running: called while a probe runs.
    """

    def __init__(self, cpus: int = 2) -> None:
        size = -(-(L1_BYTES + layout.l0_bytes(L1_BYTES)) // MIB) * MIB
        self.memory = GuestMemory(size)
        self.l0 = L0(self.memory, Orders(L1_BYTES, cpus=cpus))
        self.l0._configure()
        self.simulation = Simulation(RAM_BASE, self.memory.view)
        self.entered: list[int] = []
        self.running: Callable[[], None] = lambda: None
        for cpu in range(cpus):
            vcpu = self.l0.vcpu(cpu)
            block = self.l0.base + PCPU_OFFSET + cpu * PCPU_BYTES
            vcpu.vm, vcpu.index = self.l0.base + layout.VM_OFFSET, cpu
            vcpu.vel2.vncr_page = block + VNCR_IN_PCPU
        self.probes = ProbeSet(self.memory, self.l0, lambda: False)
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
        pointer = ctypes.addressof(ctypes.c_char.from_buffer(self.memory.view))
        self.uc.mem_map_ptr(RAM_BASE, size, unicorn.UC_PROT_ALL, pointer)
        self.uc.mem_map(STACK, 0x1_0000)

    def execute(self, entry: int, vcpu: Vcpu, what: int) -> None:
        """Call machine code."""
        self.entered.append(entry)
        self.running()
        self.uc.ctl_flush_tb()
        self.uc.reg_write(arm64.UC_ARM64_REG_SP, STACK + 0x1_0000)
        self.uc.reg_write(arm64.UC_ARM64_REG_X0, self.address_of(vcpu))
        self.uc.reg_write(arm64.UC_ARM64_REG_X1, what)
        self.uc.reg_write(arm64.UC_ARM64_REG_X30, RETURN)
        self.uc.emu_start(entry, RETURN, count=STEPS)
        assert self.uc.reg_read(arm64.UC_ARM64_REG_PC) == RETURN

    def address_of(self, vcpu: Vcpu) -> int:
        """Give the physical address of a vCPU's state."""
        block = self.l0.base + PCPU_OFFSET + int(vcpu.index) * PCPU_BYTES
        return block + VCPU_IN_PCPU

    @contextmanager
    def simulated(self) -> Iterator[None]:
        """Run L0's code on this board's memory."""
        with self.simulation, patch.object(probe, "SIMULATED", Called(self)):
            yield

    def trap(
        self, cpu: int = 0, *, ec: int = 0x16, pc: int = 0x1000, context: int = CONTEXT_VEL2
    ) -> list[int]:
        """Take a trap, and come to the probes if they watch it; give the entries called."""
        self.entered = []
        with self.simulated():
            vcpu = self.simulation.at(Vcpu, self.address_of(self.l0.vcpu(cpu)))
            trap = vcpu.trap
            trap.kind, trap.context, trap.esr, trap.pc = SYNC, context, ec << 26, pc
            who = int(vcpu.observe.classes[context * 64 + ec])
            if who & PROBE:
                at_begin(vcpu)
            if who & PROBE_AT_END:
                at_end(vcpu, 3)
        return self.entered

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()

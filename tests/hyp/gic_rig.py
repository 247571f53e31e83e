"""A simulated machine with an ITS and redistributors, for the resident code that mediates them.

`vel2.check.gic_model` is the ITS and the redistributors. Only their registers are outside memory;
L0 reaches them by functions of `vel2.hyp.device`, which this module stands in for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any
from unittest.mock import patch

from vel2.arch import sysregs as sr
from vel2.check.gic_model import GICR, GITS, STRIDE, Hardware
from vel2.hyp import its, its_queue, its_submit, layout, lpi, mmio
from vel2.hyp.gicstate import Gic
from vel2.hyp.state import Vcpu, Vm
from vel2.lang import extern, u64
from vel2.lang.jit import Jit
from vel2.lang.sim import Simulation

RAM_BASE = 0x4000_0000
RAM_BYTES = 0x6_0000
L0_BASE = RAM_BASE + RAM_BYTES
VM = L0_BASE
ROOT = L0_BASE + 0x1_0000
VCPU = L0_BASE + 0x2_0000
GIC = L0_BASE + 0x20_0000
END = GIC + layout.GIC_BYTES
SLACK = 0x1_0000
"""Where the simulated machine puts constants."""
MODULES = (its, its_queue, its_submit, lpi)


HARDWARE: list[Hardware] = []


@extern("stand_in_read_register")
def read_register(address: u64) -> u64:
    """Stand in for `device.read_register`."""
    return HARDWARE[-1].read(address)


@extern("stand_in_read_long_register")
def read_long_register(address: u64) -> u64:
    """Stand in for `device.read_long_register`."""
    return HARDWARE[-1].read(address)


@extern("stand_in_write_register")
def write_register(address: u64, value: u64) -> None:
    """Stand in for `device.write_register`."""
    HARDWARE[-1].write(address, value & 0xFFFF_FFFF)


@extern("stand_in_write_long_register")
def write_long_register(address: u64, value: u64) -> None:
    """Stand in for `device.write_long_register`."""
    HARDWARE[-1].write(address, value)


STAND_INS = (read_register, read_long_register, write_register, write_long_register)
ROOTS = (its.init, its.read, its.write, lpi.read, lpi.write, mmio.access)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Let L0 reach `HARDWARE` instead of devices."""
    patches = [
        patch.object(module, function.__name__, function)
        for module in MODULES
        for function in STAND_INS
        if hasattr(module, function.__name__)
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


@cache
def native() -> Jit:
    """Compile what is tested for the host, once."""
    with stand_ins():
        return Jit(*ROOTS)


class CountingSimulation(Simulation):
    """A simulated machine that counts accesses to memory by address (in CPython)."""

    accesses = 0

    def load(self, size: int, address: int) -> int:
        """Read memory."""
        self.accesses += 1
        return super().load(size, address)

    def store(self, size: int, address: int, value: int) -> None:
        """Write memory."""
        self.accesses += 1
        super().store(size, address, value)


class GicRig:
    """L1's RAM, L0's memory with the block for the GIC, and hardware beside it."""

    def __init__(self, pta: int = 0, redistributors: int = 2) -> None:
        self.sim = CountingSimulation(RAM_BASE, END + SLACK - RAM_BASE)
        self.vm: Vm = self.sim.at(Vm, VM)
        self.vcpu: Vcpu = self.sim.at(Vcpu, VCPU)
        self.gic: Gic = self.sim.at(Gic, GIC)
        self.vcpu.vm = VM
        self.vm.config.gic = GIC
        self.vm.config.ram_base, self.vm.config.ram_end = RAM_BASE, RAM_BASE + RAM_BYTES
        self.vm.stage2.canonical.root = ROOT
        self.vm.stage2.start_level = 1
        self.vm.stage2.vtcr = sr.VTCR_EL2.compose(T0SZ=24)
        self.vm.config.its_control = GITS
        self.vm.config.redistributor_count = redistributors
        for n in range(redistributors):
            self.vm.config.redistributors[n] = GICR + n * STRIDE
        self.hardware = Hardware(self.load, GIC, redistributors, pta)
        self.trouble = self.run(its.init, self.vm)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in both lives from the same state, and require the same end."""
        buffer = self.sim.buffer
        assert isinstance(buffer, bytearray)
        before, hardware = bytes(buffer), deepcopy_of(self.hardware)
        self.sim.accesses = 0
        HARDWARE.append(self.hardware)
        try:
            with self.sim, stand_ins():
                expected = function(*arguments)
            after, done = bytes(buffer), self.hardware
            buffer[:] = before
            self.hardware = HARDWARE[-1] = hardware
            with self.sim:
                result = native().call(function, *arguments)
        finally:
            HARDWARE.pop()
        assert result == expected, f"{function.__name__}: native code gives another result"
        assert buffer == after, f"{function.__name__}: memory differs"
        assert vars_of(self.hardware) == vars_of(done), f"{function.__name__}: hardware differs"
        return result

    def load(self, address: int) -> int:
        """Read eight bytes of memory."""
        return Simulation.load(self.sim, 8, address)

    def memory(self, start: int, size: int) -> bytes:
        """Copy memory."""
        return bytes(self.sim.buffer[start - RAM_BASE : start - RAM_BASE + size])

    def fill(self, start: int, data: bytes) -> None:
        """Write memory."""
        self.sim.buffer[start - RAM_BASE : start - RAM_BASE + len(data)] = data

    def store(self, address: int, value: int) -> None:
        """Write eight bytes of memory."""
        Simulation.store(self.sim, 8, address, value)


def deepcopy_of(hardware: Hardware) -> Hardware:
    """Copy hardware's state, not the memory that it shares."""
    copy = Hardware.__new__(Hardware)
    copy.__dict__ = {
        name: value if name == "load" else deepcopy(value) for name, value in vars(hardware).items()
    }
    return copy


def vars_of(hardware: Hardware) -> dict[str, Any]:
    """Give hardware's state to compare."""
    return {name: value for name, value in vars(hardware).items() if name != "load"}

"""A simulated machine with an ITS and redistributors, for the resident code that mediates them.

`Hardware` is the ITS and the redistributors as the GIC specification has them, in a few lines and
with no mercy: it reads L0's queue out of memory, and fails the test at any address that is not
where L0 keeps tables for the GIC, and at any command that software must not give. Only its
registers are outside memory; L0 reaches them by functions of `vel2.hyp.device`, which this module
stands in for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

from vel2.arch import gicv3 as g
from vel2.arch import sysregs as sr
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
GITS = 0x0808_0000
GICR = 0x080A_0000
STRIDE = g.REDISTRIBUTOR_FRAMES * g.FRAME_BYTES
MODULES = (its, its_queue, its_submit, lpi)


class HardwareDevice(NamedTuple):
    """An entry of the device table."""

    itt: int
    size: int
    events: dict[int, tuple[int, int]]
    """EventID -> (INTID, ICID)."""


class Hardware:
    """The machine's GIC, as much of it as reads and writes memory."""

    def __init__(self, sim: Simulation, redistributors: int = 2, pta: int = 0) -> None:
        self.sim = sim
        self.pta = pta
        self.processors = [5 + 3 * n for n in range(redistributors)]
        self.registers: dict[int, int] = {
            GITS + g.GITS_CTLR.offset: g.GITS_CTLR.Quiescent.mask,
            GITS + g.GITS_TYPER.offset: g.GITS_TYPER.compose(
                Physical=1, ITT_entry_size=11, ID_bits=15, Devbits=15, CIL=1, CIDbits=15, PTA=pta
            ),
            GITS + g.GITS_BASER.offset: g.GITS_BASER.compose(Type=1, Entry_Size=7),
            GITS + g.GITS_BASER.offset + 8: g.GITS_BASER.compose(Type=4, Entry_Size=7),
        }
        for n, processor in enumerate(self.processors):
            frame = GICR + n * STRIDE
            self.registers[frame + g.GICR_CTLR.offset] = g.GICR_CTLR.CES.mask
            self.registers[frame + g.GICR_TYPER.offset] = g.GICR_TYPER.compose(
                PLPIS=1, Processor_Number=processor, DirectLPI=1, Last=n == redistributors - 1
            )
        self.devices: dict[int, HardwareDevice] = {}
        self.collections: dict[int, int] = {}
        self.told: list[tuple[str, int, int]] = []
        """(command, redistributor, INTID) of what was done to an LPI."""
        self.commands = 0
        self.is_slow = False
        """Do nothing with the queue until told."""

    def read(self, address: int) -> int:
        """Read a register; those that are not there read as zero."""
        return self.registers.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        if address == GITS + g.GITS_CTLR.offset:
            value |= g.GITS_CTLR.Quiescent.mask
        for number in range(2):
            if address == GITS + g.GITS_BASER.offset + 8 * number:
                fixed = g.GITS_BASER.compose(Type=7, Entry_Size=31)
                value = value & ~fixed | self.registers[address] & fixed
                part = "DEVICE_TABLE" if number == 0 else "COLLECTION_TABLE"
                pages = g.GITS_BASER.Size.get(value) + 1 << 12 + 2 * g.GITS_BASER.Page_Size.get(
                    value
                )
                self.require(part, value & g.GITS_BASER.Physical_Address.mask, pages)
        if address == GITS + g.GITS_CBASER.offset:
            self.require("ITS_QUEUE", value & g.GITS_CBASER.Physical_Address.mask, 0x1000)
        offset = (address - GICR) % STRIDE
        if address >= GICR and offset == g.GICR_CTLR.offset:
            self.write_ctlr(address, value)
            return
        self.registers[address] = value
        if address == GITS + g.GITS_CWRITER.offset and not self.is_slow:
            self.work()

    def write_ctlr(self, address: int, value: int) -> None:
        """Write GICR_CTLR: with EnableLPIs set, the redistributor uses its tables."""
        self.registers[address] = value | g.GICR_CTLR.CES.mask
        if value & g.GICR_CTLR.EnableLPIs.mask:
            properties = self.registers[address + g.GICR_PROPBASER.offset]
            pending = self.registers[address + g.GICR_PENDBASER.offset]
            assert g.GICR_PROPBASER.IDbits.get(properties) < g.MAX_LPI_BITS
            size = (1 << g.MAX_LPI_BITS) - g.FIRST_LPI
            place = properties & g.GICR_PROPBASER.Physical_Address.mask
            self.require("PROPERTIES", place, size)
            table = pending & g.GICR_PENDBASER.Physical_Address.mask
            start = GIC + layout.PENDING_IN_GIC
            number = (address - GICR) // STRIDE
            assert table == start + number * layout.PENDING_BYTES

    def require(self, part: str, address: int, size: int) -> None:
        """Fail unless a range is in that part of L0's block for the GIC."""
        start = GIC + getattr(layout, f"{part}_IN_GIC")
        assert start <= address and address + size <= start + getattr(layout, f"{part}_BYTES"), (
            f"hardware was given {address:#x} (+{size:#x}) as {part}"
        )

    def work(self) -> None:
        """Do the commands in the queue."""
        reader = GITS + g.GITS_CREADR.offset
        queue = self.registers[GITS + g.GITS_CBASER.offset] & g.GITS_CBASER.Physical_Address.mask
        if self.read(GITS + g.GITS_CTLR.offset) & g.GITS_CTLR.Enabled.mask == 0:
            assert self.read(reader) == self.registers[GITS + g.GITS_CWRITER.offset]
        while self.read(reader) != self.registers[GITS + g.GITS_CWRITER.offset]:
            place = queue + self.read(reader)
            self.command(*(Simulation.load(self.sim, 8, place + 8 * i) for i in range(4)))
            self.registers[reader] = (self.read(reader) + g.COMMAND_BYTES) % 0x1000

    def redistributor(self, field: int) -> int:
        """Give the index of a redistributor by an RDbase; only right ones are given."""
        if self.pta:
            names = [GICR + n * STRIDE >> 16 for n in range(len(self.processors))]
        else:
            names = self.processors
        assert field in names, f"RDbase {field:#x} names no redistributor"
        return names.index(field)

    def command(self, first: int, second: int, third: int, fourth: int) -> None:
        """Do one command, which must be right in every field."""
        self.commands += 1
        name = g.Command(first & 0xFF).name
        device_id, event = first >> 32, second & 0xFFFF_FFFF
        icid, valid = third & 0xFFFF, third >> 63
        rdbase = third >> 16 & (1 << 35) - 1
        if name == "MAPD":
            self.map_device(device_id, second, third)
        elif name == "MAPC":
            self.collections.pop(icid, None)
            if valid:
                assert icid < 64
                self.collections[icid] = self.redistributor(rdbase)
        elif name == "MAPTI":
            device, intid = self.devices[device_id], second >> 32
            assert event < 1 << device.size and icid < 64
            assert g.FIRST_LPI <= intid < 1 << g.MAX_LPI_BITS
            device.events[event] = (intid, icid)
        elif name == "INVALL":
            self.told.append((name, self.collections[icid], 0))
        elif name == "SYNC":
            self.told.append((name, self.redistributor(rdbase), 0))
        elif name == "MOVALL":
            second_rd = self.redistributor(fourth >> 16 & (1 << 35) - 1)
            self.told.append((name, self.redistributor(rdbase), second_rd))
        else:
            events = self.devices[device_id].events
            intid, old = events[event]
            self.told.append((name, self.collections[old], intid))
            if name == "DISCARD":
                del events[event]
            if name == "MOVI":
                assert icid in self.collections
                events[event] = (intid, icid)

    def map_device(self, device_id: int, second: int, third: int) -> None:
        """Do MAPD."""
        assert device_id < 1 << 16
        if third >> 63 == 0:
            del self.devices[device_id]
            return
        assert device_id not in self.devices, "a device that is mapped was mapped"
        size = (second & 31) + 1
        itt = third & g.MAPD_DW2.ITT_addr.mask
        self.require("ITTS", itt, 12 << size)
        assert all(Simulation.load(self.sim, 8, itt + i) == 0 for i in range(0, 12 << size, 8))
        for other in self.devices.values():
            assert itt != other.itt, "two devices have one ITT"
        self.devices[device_id] = HardwareDevice(itt, size, {})


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
        self.hardware = Hardware(self.sim, redistributors, pta)
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
        name: value if name == "sim" else deepcopy(value) for name, value in vars(hardware).items()
    }
    return copy


def vars_of(hardware: Hardware) -> dict[str, Any]:
    """Give hardware's state to compare."""
    return {name: value for name, value in vars(hardware).items() if name != "sim"}

"""The ITS and the redistributors as the GIC specification has them, in a few lines and no mercy.

The model reads L0's queue out of memory. It fails at any address that is not where L0 keeps tables
for the GIC, and at any command that software must not give. L0 reaches its registers by functions
of `vel2.hyp.device`, which whoever uses this model stands in for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vel2.arch import gicv3 as g
from vel2.hyp import layout

__all__ = ("GICR", "GITS", "STRIDE", "Hardware", "HardwareDevice")

GITS = 0x0808_0000
GICR = 0x080A_0000
STRIDE = g.REDISTRIBUTOR_FRAMES * g.FRAME_BYTES


class HardwareDevice(NamedTuple):
    """An entry of the device table."""

    itt: int
    size: int
    events: dict[int, tuple[int, int]]
    """EventID -> (INTID, ICID)."""


class Hardware:
    """The machine's GIC, as much of it as reads and writes memory.

    :param load: read eight bytes of memory. :param base: of L0's block for the GIC.
    :param pta: GITS_TYPER.PTA.
    """

    def __init__(
        self, load: Callable[[int], int], base: int, redistributors: int = 2, pta: int = 0
    ) -> None:
        self.load = load
        self.base = base
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
            start = self.base + layout.PENDING_IN_GIC
            number = (address - GICR) // STRIDE
            assert table == start + number * layout.PENDING_BYTES

    def require(self, part: str, address: int, size: int) -> None:
        """Fail unless a range is in that part of L0's block for the GIC."""
        start = self.base + getattr(layout, f"{part}_IN_GIC")
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
            self.command(*(self.load(place + 8 * i) for i in range(4)))
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
        assert all(self.load(itt + i) == 0 for i in range(0, 12 << size, 8))
        for other in self.devices.values():
            assert itt != other.itt, "two devices have one ITT"
        self.devices[device_id] = HardwareDevice(itt, size, {})

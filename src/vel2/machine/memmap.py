"""The machine's physical address map, read from its device tree.

QEMU moves windows with its options and versions, so no address is written down here. What the
device tree says is what the board has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import libfdt

from vel2.errors import UserError
from vel2.machine.dtb import QUIET, children, open_tree

__all__ = ("MemoryMap", "Region", "RegionKind", "read_memory_map")


class RegionKind(Enum):
    """What answers at an address."""

    RAM = "ram"
    FLASH = "flash"
    GIC_DISTRIBUTOR = "gic-distributor"
    GIC_REDISTRIBUTOR = "gic-redistributor"
    GIC_ITS = "gic-its"
    UART = "uart"
    RTC = "rtc"
    GPIO = "gpio"
    FW_CFG = "fw-cfg"
    VIRTIO_MMIO = "virtio-mmio"
    SMMU = "smmu"
    PLATFORM_BUS = "platform-bus"
    PCIE_ECAM = "pcie-ecam"
    PCIE_IO = "pcie-io"
    PCIE_MMIO32 = "pcie-mmio32"
    PCIE_MMIO64 = "pcie-mmio64"
    OTHER = "other"


COMPATIBLE_KINDS = {
    "arm,pl011": RegionKind.UART,
    "arm,pl031": RegionKind.RTC,
    "arm,pl061": RegionKind.GPIO,
    "arm,gic-v3-its": RegionKind.GIC_ITS,
    "arm,smmu-v3": RegionKind.SMMU,
    "cfi-flash": RegionKind.FLASH,
    "qemu,fw-cfg-mmio": RegionKind.FW_CFG,
    "virtio,mmio": RegionKind.VIRTIO_MMIO,
    "pci-host-ecam-generic": RegionKind.PCIE_ECAM,
}

# IEEE 1275 PCI binding: the `ss` bits of phys.hi.
PCI_SPACES = {1: RegionKind.PCIE_IO, 2: RegionKind.PCIE_MMIO32, 3: RegionKind.PCIE_MMIO64}


@dataclass(frozen=True, order=True)
class Region:
    """One range of physical addresses.

    :ivar path: the device tree node it was read from.
    :ivar intid: the first interrupt of the node, as a GIC INTID; None when it has none.
    """

    base: int
    size: int
    kind: RegionKind
    path: str
    intid: int | None = None

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.base + self.size

    def __contains__(self, pa: int) -> bool:
        return self.base <= pa < self.end

    def __str__(self) -> str:
        return f"pa={self.base:#x}..{self.end:#x} {self.kind.value} {self.path}"


@dataclass(frozen=True)
class MemoryMap:
    """All regions, by rising address."""

    regions: tuple[Region, ...]

    @property
    def ram(self) -> Region:
        """RAM; `virt` has one block of it."""
        return self.one(RegionKind.RAM)

    def of(self, kind: RegionKind) -> tuple[Region, ...]:
        """Return the regions of a kind, by rising address."""
        return tuple(region for region in self.regions if region.kind is kind)

    def one(self, kind: RegionKind) -> Region:
        """Return the first region of a kind.

        :raises UserError: when the board has none.
        """
        for region in self.regions:
            if region.kind is kind:
                return region
        raise UserError(f"the machine's device tree has no {kind.value} region.")

    def at(self, pa: int) -> Region | None:
        """Return the region that holds an address; None for a hole in the map."""
        for region in self.regions:
            if pa in region:
                return region
        return None


def read_memory_map(blob: bytes) -> MemoryMap:
    """Read the map out of a device tree.

    :raises UserError: when the bytes are no device tree.
    """
    tree = open_tree(blob)
    return MemoryMap(tuple(sorted(_walk(tree, 0, 2, 2))))


def _walk(tree: Any, node: int, address_cells: int, size_cells: int) -> Iterator[Region]:
    """Yield the regions of a node and of those below it whose addresses are the CPU's."""
    if node != 0:
        yield from _regions(tree, node, address_cells, size_cells)
        # Addresses below a node are the CPU's only when `ranges` says so by being empty; a bus
        # with windows (PCIe, platform bus) is described by the windows.
        ranges = tree.getprop(node, "ranges", QUIET)
        if ranges == -libfdt.NOTFOUND or len(ranges) > 0:
            return
    below = _cells(tree, node, "#address-cells", 2), _cells(tree, node, "#size-cells", 1)
    for child in children(tree, node):
        yield from _walk(tree, child, *below)


def _regions(tree: Any, node: int, address_cells: int, size_cells: int) -> Iterator[Region]:
    path = tree.get_path(node)
    compatible = _strings(tree, node, "compatible")
    intid = _first_intid(tree, node)
    if "qemu,platform" in compatible:
        yield from _platform_windows(tree, node, path)
        return
    if "pci-host-ecam-generic" in compatible:
        yield from _pci_windows(tree, node, path)
    ranges = list(_reg(tree, node, address_cells, size_cells))
    if "arm,gic-v3" in compatible:
        kinds = [RegionKind.GIC_DISTRIBUTOR] + [RegionKind.GIC_REDISTRIBUTOR] * (len(ranges) - 1)
        for kind, (base, size) in zip(kinds, ranges, strict=True):
            yield Region(base, size, kind, path, intid)
        return
    known = [COMPATIBLE_KINDS[c] for c in compatible if c in COMPATIBLE_KINDS]
    if _strings(tree, node, "device_type") == ["memory"]:
        known = [RegionKind.RAM]
    for base, size in ranges:
        yield Region(base, size, known[0] if known else RegionKind.OTHER, path, intid)


def _reg(tree: Any, node: int, address_cells: int, size_cells: int) -> Iterator[tuple[int, int]]:
    """Yield the (address, size) pairs of `reg`; none for nodes that are not memory-mapped."""
    value = tree.getprop(node, "reg", QUIET)
    if value == -libfdt.NOTFOUND or size_cells == 0:
        return
    words = _words(bytes(value))
    stride = address_cells + size_cells
    for start in range(0, len(words) - stride + 1, stride):
        middle = start + address_cells
        yield _join(words[start:middle]), _join(words[middle : start + stride])


def _pci_windows(tree: Any, node: int, path: str) -> Iterator[Region]:
    """Read `ranges` of a PCI host: child address in 3 cells, parent's in 2, size in 2."""
    words = _words(bytes(tree.getprop(node, "ranges")))
    for at in range(0, len(words), 7):
        kind = PCI_SPACES.get(words[at] >> 24 & 3, RegionKind.OTHER)
        yield Region(_join(words[at + 3 : at + 5]), _join(words[at + 5 : at + 7]), kind, path)


def _platform_windows(tree: Any, node: int, path: str) -> Iterator[Region]:
    """Read `ranges` of QEMU's platform bus: child address in 1 cell, parent's in 2, size in 1."""
    words = _words(bytes(tree.getprop(node, "ranges")))
    for at in range(0, len(words), 4):
        base, size = _join(words[at + 1 : at + 3]), words[at + 3]
        yield Region(base, size, RegionKind.PLATFORM_BUS, path)


def _first_intid(tree: Any, node: int) -> int | None:
    """Return the first interrupt; GICv3 binding: type (0 SPI, 1 PPI), number, flags."""
    value = tree.getprop(node, "interrupts", QUIET)
    if value == -libfdt.NOTFOUND or len(value) < 12:
        return None
    kind, number, _ = _words(bytes(value))[:3]
    return number + (32 if kind == 0 else 16)


def _words(value: bytes) -> list[int]:
    return [int.from_bytes(value[at : at + 4], "big") for at in range(0, len(value), 4)]


def _join(cells: list[int]) -> int:
    joined = 0
    for cell in cells:
        joined = joined << 32 | cell
    return joined


def _cells(tree: Any, node: int, name: str, default: int) -> int:
    value = tree.getprop(node, name, QUIET)
    return default if value == -libfdt.NOTFOUND else int.from_bytes(bytes(value), "big")


def _strings(tree: Any, node: int, name: str) -> list[str]:
    value = tree.getprop(node, name, QUIET)
    if value == -libfdt.NOTFOUND:
        return []
    return bytes(value).rstrip(b"\0").decode("ascii", "replace").split("\0")

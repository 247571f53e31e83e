"""Make a packed file: RAM as it must be when L0 is entered, behind a loader.

RAM is filled by the same code that fills a machine's (`control.guest`, `control.l0`); what was
written becomes the pieces.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Board, Guest
from vel2.control.l0 import L0, Orders, check_l1
from vel2.control.regions import check_map, is_hidden
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.machine.memmap import MemoryMap, RegionKind, read_memory_map
from vel2.machine.memory import RAM_BASE, GuestMemory, format_bytes
from vel2.pack.manifest import ALIGNMENT, LOADER_BYTES, MAX_PIECES, Manifest
from vel2.pack.start import build_loader
from vel2.runtime.header import ImageHeader

__all__ = ("Packed", "Packing", "pack")

PAGE_BYTES = 0x1000


@dataclass(frozen=True)
class Packing:
    """What to pack, and for what machine.

    :ivar memory_bytes: the machine's RAM, of which L0 takes its part.
    :ivar el2, nv, recursion, shows_vhe: what virtual EL2 the guest gets.
    :ivar cpus: the machine's, and the guest's.
    :ivar deterministic: what is random otherwise is the same in each file.
    """

    guest: Guest
    memory_bytes: int
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    cpus: int = 1
    recursion: bool = False
    shows_vhe: bool = False
    deterministic: bool = False

    @property
    def orders(self) -> Orders:
        """What its L0 is told.

        :raises UserError: when the memory is not enough for L0.
        """
        l1_bytes = layout.l1_bytes(self.memory_bytes)
        if l1_bytes <= 0:
            raise UserError(
                f"{format_bytes(self.memory_bytes)} of memory are less than vel2 itself takes; give"
                " 128M or more."
            )
        return Orders(
            l1_bytes,
            self.el2,
            self.nv,
            self.cpus,
            recursion=self.recursion,
            shows_vhe=self.shows_vhe,
        )


@dataclass(frozen=True)
class Packed:
    """A packed file.

    :ivar data: the whole file, an arm64 Image. :ivar orders: what its L0 is told.
    """

    data: bytes
    orders: Orders


class NotedMemory(GuestMemory):
    """A machine's RAM that knows what was written by address."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.written: list[tuple[int, int]] = []

    def write(self, pa: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at `pa`, and note where."""
        super().write(pa, data)
        self.written.append((pa, pa + len(data)))


def pack(tree: bytes, packing: Packing) -> Packed:
    """Pack a guest, with L0 below it.

    :param tree: the device tree of the machine that the file is for.
    :raises UserError: when it does not fit, or cannot be started without a flash.
    """
    if packing.guest.flash is not None:
        raise UserError("firmware runs from the flash, which no file can bring; pack a kernel.")
    memory_map = without_guard(read_memory_map(tree))
    check_map(memory_map, guarded=False)
    orders = packing.orders
    check_l1(orders.l1_bytes, orders.cpus)
    hidden = [r.path for r in memory_map.regions if is_hidden(r, guarded=False)]
    with closing(NotedMemory(packing.memory_bytes)) as memory:
        first = packing.guest.load(
            Board(memory, tree, orders.l1_bytes, hidden, packing.deterministic)
        )
        l0 = L0(memory, orders)
        written = merge(memory.written)
        entry = l0.install(memory_map, first)
        written += pages_in_use(memory, l0.base, l0.size - LOADER_BYTES)
        manifest = Manifest()
        manifest.wanted.ram_base = RAM_BASE
        manifest.wanted.ram_bytes = l0.base + l0.size - RAM_BASE
        manifest.wanted.cpus = orders.cpus
        manifest.wanted.distributor = memory_map.one(RegionKind.GIC_DISTRIBUTOR).base
        manifest.wanted.uart = memory_map.one(RegionKind.UART).base
        manifest.l0_base, manifest.l0_bytes, manifest.entry = l0.base, l0.size, entry
        return Packed(assemble(memory, manifest, written), orders)


def without_guard(memory_map: MemoryMap) -> MemoryMap:
    """Leave out the SMMU: no admission of devices stands behind a file (`machine.admission`)."""
    return MemoryMap(tuple(r for r in memory_map.regions if r.kind is not RegionKind.SMMU))


def merge(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges, widen each to whole units of `ALIGNMENT`, and join those that touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        start, end = start & -ALIGNMENT, -(-end // ALIGNMENT) * ALIGNMENT
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif start < end:
            merged.append((start, end))
    return merged


def pages_in_use(memory: GuestMemory, base: int, size: int) -> list[tuple[int, int]]:
    """List the pages of a range that are not zero, joined where they touch."""
    pages = range(base, base + size, PAGE_BYTES)
    return merge([(pa, pa + PAGE_BYTES) for pa in pages if any(memory.read(pa, PAGE_BYTES))])


def assemble(memory: GuestMemory, manifest: Manifest, written: Sequence[tuple[int, int]]) -> bytes:
    """Put the file together.

    :raises UserError: when RAM was written in more pieces than a file can have.
    """
    if len(written) > MAX_PIECES:
        raise UserError(
            f"the guest comes in {len(written)} pieces, and a packed file takes {MAX_PIECES};"
            " give it fewer modules."
        )
    loader = build_loader()
    data = bytearray(loader.data.ljust(LOADER_BYTES, b"\0"))
    for index, (start, end) in enumerate(written):
        piece = manifest.pieces[index]
        piece.address, piece.offset, piece.length = start, len(data), end - start
        data += memory.read(start, end - start)
    manifest.piece_count = len(written)
    manifest.file_bytes = len(data)
    at = loader.symbols["manifest"]
    data[at : at + Manifest.size] = manifest.to_bytes()
    header = ImageHeader(data)
    header.image_size = len(data)
    del header
    return bytes(data)

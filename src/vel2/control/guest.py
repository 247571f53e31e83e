"""What a machine boots: one class for each kind of guest, and what the launcher asks of each.

To add a kind of guest, write a frozen dataclass with `flash` and `load` (the protocol `Guest`). It
puts its parts into the board's memory, and says where the first CPU begins and what x0 holds. That
is enough to run it with vel2 and without, by hand, in `bench` and in `check`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from vel2.machine.boot import STUB_ADDRESS, STUB_BYTES, load_guest
from vel2.machine.domains import Domain
from vel2.machine.dtb import Seeds, l1_device_tree
from vel2.machine.loader import KernelImage
from vel2.machine.memmap import RegionKind, read_memory_map
from vel2.machine.memory import QEMU_TREE_BYTES, RAM_BASE, GuestMemory
from vel2.machine.raw import LoadedFile, RawImage

__all__ = ("Board", "Firmware", "Guest", "Kernel", "Raw", "Start")

FIXED_SEEDS = Seeds(rng=bytes(range(64)), kaslr=0x5EED)


@dataclass(frozen=True)
class Board:
    """A machine's memory before its start, and what a guest has to know of the machine.

    :ivar tree: the machine's device tree, as QEMU describes it.
    :ivar memory_bytes: the guest's RAM, from the start of RAM.
    :ivar hidden: paths of the nodes that the guest must not see.
    :ivar deterministic: what is random otherwise is the same in each run.
    """

    memory: GuestMemory
    tree: bytes
    memory_bytes: int
    hidden: Sequence[str] = ()
    deterministic: bool = False

    @property
    def seeds(self) -> Seeds:
        """What the guest's device tree has as randomness."""
        return FIXED_SEEDS if self.deterministic else Seeds()

    def late(self) -> "Late":
        """Take what is where QEMU will write its own device tree, to be written once more then."""
        there = self.memory.read(RAM_BASE, QEMU_TREE_BYTES)
        return ((RAM_BASE, there),) if any(there) else ()


Late = tuple[tuple[int, bytes], ...]


class Start(NamedTuple):
    """Where a guest begins.

    :ivar pc: physical address of its first instruction. :ivar x0: what that register holds.
    :ivar late: what to write where once QEMU has put its own device tree to the start of RAM.
    :ivar stub: where code may be put that enters the guest.
    """

    pc: int
    x0: int = 0
    late: Late = ()
    stub: int = STUB_ADDRESS


class Guest(Protocol):
    """One kind of guest."""

    @property
    def flash(self) -> Path | None:
        """File for the flash at address 0; without it the flash is empty."""

    def load(self, board: Board) -> Start:
        """Put everything into RAM.

        :raises UserError: when it does not fit.
        """


@dataclass(frozen=True)
class Kernel:
    """A kernel, or a hypervisor that is started like one.

    :ivar append: its command line.
    :ivar domains: what it starts by itself when it boots, as Xen does.
    """

    image: KernelImage
    initrd: bytes = b""
    append: str = ""
    domains: tuple[Domain, ...] = ()

    @property
    def flash(self) -> Path | None:
        """Give nothing: the flash stays empty."""
        return None

    def load(self, board: Board) -> Start:
        """Put kernel, initrd, device tree and the domains' modules into RAM."""
        placement = load_guest(
            board.memory,
            board.tree,
            board.memory_bytes,
            self.image,
            self.initrd,
            self.append,
            domains=self.domains,
            seeds=board.seeds,
            remove=board.hidden,
        )
        # An ELF file may ask for the very start of RAM.
        return Start(placement.entry, placement.dtb_address, board.late())


@dataclass(frozen=True)
class Raw:
    """Files without a header, each at an address of its own.

    The device tree is at the start of RAM, where the `virt` board has it for a guest without a
    header, or else as high as there is room.

    :ivar append: `/chosen/bootargs` in the device tree.
    """

    image: RawImage
    append: str = ""

    @property
    def flash(self) -> Path | None:
        """Give nothing: the flash stays empty."""
        return None

    def load(self, board: Board) -> Start:
        """Put the files and the device tree into RAM."""
        size = board.memory_bytes
        self.image.check(size)
        tree = l1_device_tree(board.tree, size, self.append, seeds=board.seeds, remove=board.hidden)
        place = self.image.room_for(len(tree), size, RAM_BASE)
        files = (*self.image.files, LoadedFile("the device tree", place, tree))
        stub = replace(self.image, files=files).room_for(STUB_BYTES, size, STUB_ADDRESS)
        for file in files:
            board.memory.write(file.address, file.data)
        return Start(self.image.entry, place, board.late(), stub)


@dataclass(frozen=True)
class Firmware:
    """Firmware in the flash, which then finds by itself what to boot.

    It finds its device tree where the `virt` board has it for firmware, at the start of RAM. QEMU's
    own there names what is L0's.
    """

    flash: Path

    def load(self, board: Board) -> Start:
        """Make the device tree; QEMU puts the file into the flash."""
        tree = l1_device_tree(
            board.tree, board.memory_bytes, seeds=board.seeds, remove=board.hidden
        )
        board.memory.write(RAM_BASE, tree)
        flash = read_memory_map(board.tree).one(RegionKind.FLASH).base
        return Start(flash, late=board.late())

"""A guest with a vel2 of its own below it: vel2 in vel2, to any depth that memory allows.

The outer L0 sees a kernel like any other: the packed file. The machine that the file is for is the
one that the outer L0's guests find, whose device tree is known beforehand. Each level takes its own
part from the end of RAM and gives the rest on, at the same addresses.
"""

from dataclasses import dataclass
from pathlib import Path

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Board, Guest, Kernel, Start
from vel2.machine.dtb import cpu_count, l1_device_tree
from vel2.machine.loader import load_kernel
from vel2.pack.file import Packing, pack

__all__ = ("Nested",)


@dataclass(frozen=True)
class Nested:
    """A guest at the virtual EL2 of an inner vel2.

    :ivar el2, nv: what virtual EL2 the inner vel2 gives it.
    """

    guest: Guest
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2

    @property
    def flash(self) -> Path | None:
        """Give what the guest has, to be refused when it is packed."""
        return self.guest.flash

    def load(self, board: Board) -> Start:
        """Pack the guest for this board, and put the file into RAM as a kernel."""
        tree = l1_device_tree(
            board.tree, board.memory_bytes, seeds=board.seeds, remove=board.hidden
        )
        packing = Packing(
            self.guest,
            board.memory_bytes,
            self.el2,
            self.nv,
            cpu_count(tree),
            board.deterministic,
        )
        return Kernel(load_kernel(pack(tree, packing).data)).load(board)

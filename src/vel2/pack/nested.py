"""A guest with a vel2 of its own below it: vel2 in vel2, to any depth that memory allows.

The outer L0 sees a kernel like any other: the packed file. The machine that the file is for is the
one that the outer L0's guest finds, whose device tree is known beforehand. Each level takes its own
part from the end of RAM and gives the rest on, at the same addresses; so the host finds the state
of every L0 in the machine's memory.

L0 runs with HCR_EL2.E2H=0 and uses FEAT_NV2. So a vel2 that has another one below it gets a virtual
EL2 like that (`BELOW`), and the guest on top gets whatever kind was asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Board, Guest, Kernel, Start
from vel2.control.l0 import L0
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.machine.dtb import cpu_count, l1_device_tree
from vel2.machine.loader import load_kernel
from vel2.pack.file import Packing, pack

__all__ = ("Nested", "inner_l0s", "nest")

BELOW: dict[str, Any] = {
    "el2": Kind.NVHE,
    "nv": Level.NV2,
    "recursion": True,
    "shows_vhe": True,
}
"""What virtual EL2 a vel2 needs. FEAT_VHE is for its guests."""


@dataclass(frozen=True)
class Nested:
    """A guest at the virtual EL2 of an inner vel2.

    :ivar el2, nv, recursion, shows_vhe: what virtual EL2 the inner vel2 gives it.
    """

    guest: Guest
    el2: Kind
    nv: Level
    recursion: bool = False
    shows_vhe: bool = False

    @property
    def flash(self) -> Path | None:
        """Give what the guest has, to be refused when it is packed."""
        return self.guest.flash

    def packing(self, memory_bytes: int, cpus: int, deterministic: bool = False) -> Packing:
        """Say what the inner vel2 is packed with, for a machine of that size."""
        return Packing(
            self.guest,
            memory_bytes,
            self.el2,
            self.nv,
            cpus,
            self.recursion,
            self.shows_vhe,
            deterministic,
        )

    def load(self, board: Board) -> Start:
        """Pack the guest for this board, and put the file into RAM as a kernel."""
        tree = l1_device_tree(
            board.tree, board.memory_bytes, seeds=board.seeds, remove=board.hidden
        )
        packing = self.packing(board.memory_bytes, cpu_count(tree), board.deterministic)
        return Kernel(load_kernel(pack(tree, packing).data)).load(board)


def has_devices(request: Request) -> bool:
    """Whether a machine has devices beside the board's own: all of them are on PCI."""
    return bool(request.disks or request.net) or any(
        argument in DEVICE_ARGUMENTS for argument in request.qemu_arguments
    )


DEVICE_ARGUMENTS = ("-device", "-nic", "-net")
Outermost = TypeVar("Outermost", Request, Packing)
"""What says how a guest is to run under one vel2: started by the host, or packed."""


def nest(request: Outermost, depth: int) -> Outermost:
    """Put a guest at the virtual EL2 of the last of `depth` vel2s, one in the other.

    The outermost is the machine's L0; the others take their parts of its guest's memory.

    :raises UserError: when the machine is to have devices that the guest could not use.
    """
    if depth > 1 and isinstance(request, Request) and has_devices(request):
        raise UserError(
            "an inner vel2 gives its guest no device with DMA; leave --disk, --net and -device out,"
            " or --depth."
        )
    for _ in range(depth - 1):
        guest = Nested(request.guest, request.el2, request.nv, request.recursion, request.shows_vhe)
        request = replace(request, guest=guest, **BELOW)
    return request


def inner_l0s(vm: Vm) -> Iterator[L0]:
    """Yield the inner L0s of a machine, from the outermost to the innermost."""
    guest, memory_bytes = vm.request.guest, vm.request.memory_bytes
    while isinstance(guest, Nested):
        orders = guest.packing(memory_bytes, vm.request.smp).orders
        yield L0(vm.memory, orders)
        guest, memory_bytes = guest.guest, orders.l1_bytes

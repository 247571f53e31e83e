"""L0 of a machine that another process runs, to look at.

Everything that is known of such a machine is in its memory: where L0 is and what it is to do is in
its `Configuration`.
"""

from collections.abc import Iterator
from dataclasses import replace

from vel2.arch.nesting import Kind, Level
from vel2.control.l0 import L0, NV_LEVELS, Orders
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp.state import GUEST_VHE, Vm
from vel2.machine.memory import GuestMemory
from vel2.machine.others import OtherMachine

__all__ = ("attach", "find_l0")


def attach(machine: OtherMachine) -> L0:
    """Map a machine's memory read-only, and find L0 in it.

    :raises UserError: when it is gone, not ours, or has no L0 of this vel2.
    """
    try:
        memory = GuestMemory.attach(machine.memory)
    except OSError as error:
        raise UserError(
            f"the machine of process {machine.pid} cannot be looked into ({error.strerror})."
        ) from error
    try:
        return find_l0(memory, f"the machine of process {machine.pid}")
    except BaseException:
        memory.close()
        raise


def find_l0(memory: GuestMemory, what: str) -> L0:
    """Find L0 in a machine's memory.

    :param what: what the machine is, for the sentence.
    :raises UserError: when it has none, or that of another vel2, whose structures differ.
    """
    base = next(bases_in(memory), None)
    if base is None:
        raise UserError(f"{what} has no vel2 below its guest (--native, or not started yet).")
    l0 = L0(memory, Orders(base - memory.base))
    size = len(l0.image.data)
    if memory.read(l0.base, size) != l0.image.data:
        raise UserError(f"{what} runs another version of vel2; look into it with that one.")
    config = l0.state.config
    kind = Kind.VHE if config.guest_kind == GUEST_VHE else Kind.NVHE
    levels: dict[int, Level] = {number: level for level, number in NV_LEVELS.items()}
    l0.orders = replace(
        l0.orders,
        el2=kind,
        nv=levels[config.nv_level],
        cpus=config.cpu_count,
        ahead=config.ahead != 0,
        recursion=config.recursion != 0,
        shows_vhe=config.shows_vhe != 0,
    )
    return l0


def bases_in(memory: GuestMemory) -> Iterator[int]:
    """Give where L0 may begin, the highest place first: its configuration says so itself.

    Above L0 are only its rings, below it L1's memory, in which anything may be.
    """
    step = layout.BLOCK_BYTES
    for base in range(memory.end - layout.l0_bytes(step), memory.base, -step):
        config = Vm(memory.window(base + layout.VM_OFFSET, Vm.size)).config
        if config.l0_base == base:
            yield base

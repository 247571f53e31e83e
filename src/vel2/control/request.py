"""What to run: one description, the same to the command line, `bench`, `check` and a script."""

import re
from dataclasses import dataclass

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Guest, Kernel
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.devices import Disk, device_arguments
from vel2.machine.loader import KernelImage

__all__ = ("DEFAULT_RING_SLOTS", "Request", "cpu_for")

DEFAULT_MEMORY_BYTES = 2 << 30
DEFAULT_RING_SLOTS = 1 << 16


LINUX = re.compile(r"(\d+)\.(\d+)")
LAST_LOST_WITH_SVE = (6, 1)
"""The newest Linux that is known to write CPTR_EL2 in the layout of E2H=0 before it sets SVE up.

Where HCR_EL2.E2H is RES1 that leaves ZEN at 0, and its own access to ZCR_EL2 traps, before it has
said a word. 6.12 does not do it.
"""


def cpu_for(kernel: KernelImage, el2: Kind, nv: Level, cpu: str = DEFAULT_CPU) -> str:
    """Give QEMU's CPU for a kernel as L1: without what the kernel cannot take there.

    :param cpu: for a kernel that takes all.
    """
    # At a VHE virtual EL2 with FEAT_NV2 HCR_EL2.E2H is RES1.
    found = LINUX.match(kernel.version or "") if (el2, nv) == (Kind.VHE, Level.NV2) else None
    if found is None or (int(found[1]), int(found[2])) > LAST_LOST_WITH_SVE:
        return cpu
    # QEMU refuses to have a feature off that an option of its own asks something of.
    options = [option for option in cpu.split(",") if not option.startswith("sve")]
    return ",".join([*options, "sve=off"])


@dataclass(frozen=True)
class Request:
    """One run of one machine.

    :ivar memory_bytes: the guest's own, a multiple of 2 MiB; what vel2 needs comes on top.
    :ivar el2: how L1 sees HCR_EL2.E2H. :ivar nv: the part of FEAT_NV* that L0 uses.
    :ivar recursion: whether L1 has FEAT_NV* of its own, to run guest hypervisors.
    :ivar shows_vhe: whether an nVHE L1 sees FEAT_VHE, which its guests then have; L1 itself must
        leave E2H at 0, as vel2 does.
    :ivar native: without vel2: the guest has the machine's real EL2.
    :ivar smp: how many CPUs the machine has.
    :ivar cpu: QEMU's `-cpu`, for a guest that takes all of it; under vel2 it has FEAT_NV2.
    :ivar deterministic: time counts instructions and seeds are fixed: a run repeats bit for bit.
    :ivar disks: virtio disks. :ivar net: `user` for a network of QEMU's own.
    :ivar doorbell: whether L0 can ask the host about a trap (`hyp.mailbox`): the machine has its
        second UART, which no guest sees.
    :ivar ahead: whether one trap may do several accesses of L1 (`hyp.ahead`); off to compare.
    :ivar ring_slots: room for so many events of each CPU, a power of two, until the host has taken
        them (`control.tracing`). It is part of the machine's memory, which a page used costs.
    :ivar qemu_arguments: appended to QEMU's command line as they are.
    """

    guest: Guest
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    recursion: bool = False
    shows_vhe: bool = False
    native: bool = False
    smp: int = 1
    cpu: str = DEFAULT_CPU
    deterministic: bool = False
    disks: tuple[Disk, ...] = ()
    net: str | None = None
    doorbell: bool = False
    ahead: bool = True
    ring_slots: int = DEFAULT_RING_SLOTS
    qemu_arguments: tuple[str, ...] = ()

    @property
    def cpu_of_guest(self) -> str:
        """QEMU's `-cpu`, without what this guest cannot take at this EL2."""
        if isinstance(self.guest, Kernel) and not self.native:
            return cpu_for(self.guest.image, self.el2, self.nv, self.cpu)
        return self.cpu

    @property
    def machine_arguments(self) -> tuple[str, ...]:
        """QEMU's options for all that the board does not have by itself.

        :raises UserError: when a disk cannot be used.
        """
        return (*device_arguments(self.disks, self.net), *self.qemu_arguments)

"""What to run: one description, the same to the command line, `bench`, `check` and a script."""

from dataclasses import dataclass

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Guest
from vel2.guests.kernels import OFFERS
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.devices import Disk, device_arguments

__all__ = ("Request", "cpu_for")

DEFAULT_MEMORY_BYTES = 2 << 30


def cpu_for(name: str, el2: Kind, nv: Level) -> str:
    """Give QEMU's CPU for a guest on offer as L1: without what the guest cannot take there.

    Under FEAT_NV2 HCR_EL2.E2H is RES1 at a VHE virtual EL2, which Linux 6.1 does not expect.
    """
    options = DEFAULT_CPU.split(",")
    for feature in OFFERS[name].without:
        if (el2, nv) == (Kind.VHE, Level.NV2):
            # QEMU refuses to have a feature off that an option of its own asks something of.
            options = [option for option in options if not option.startswith(feature)]
            options.append(f"{feature}=off")
    return ",".join(options)


@dataclass(frozen=True)
class Request:
    """One run of one machine.

    :ivar memory_bytes: the guest's own, a multiple of 2 MiB; what vel2 needs comes on top.
    :ivar el2: how L1 sees HCR_EL2.E2H. :ivar nv: the part of FEAT_NV* that L0 uses.
    :ivar native: without vel2: the guest has the machine's real EL2.
    :ivar smp: how many CPUs the machine has.
    :ivar cpu: QEMU's `-cpu`; under vel2 it has FEAT_NV2.
    :ivar deterministic: time counts instructions and seeds are fixed: a run repeats bit for bit.
    :ivar disks: virtio disks. :ivar net: `user` for a network of QEMU's own.
    :ivar ahead: whether one trap may do several accesses of L1 (`hyp.ahead`); off to compare.
    :ivar qemu_arguments: appended to QEMU's command line as they are.
    """

    guest: Guest
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    native: bool = False
    smp: int = 1
    cpu: str = DEFAULT_CPU
    deterministic: bool = False
    disks: tuple[Disk, ...] = ()
    net: str | None = None
    ahead: bool = True
    qemu_arguments: tuple[str, ...] = ()

    @property
    def machine_arguments(self) -> tuple[str, ...]:
        """QEMU's options for all that the board does not have by itself.

        :raises UserError: when a disk cannot be used.
        """
        return (*device_arguments(self.disks, self.net), *self.qemu_arguments)

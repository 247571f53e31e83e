"""What boots as L1: a Linux, or a stack of them in which each one's KVM starts the next."""

from dataclasses import dataclass

from vel2.arch.nesting import Kind
from vel2.bench.configuration import Configuration
from vel2.bench.peer import KVM_L0_BOOTARGS, KVM_L0_MEMORY_BYTES, kvm_initrd, kvm_kernel
from vel2.machine.loader import KernelImage

__all__ = ("L1Guest", "stacked", "under_kvm")

L1_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class L1Guest:
    """What boots as L1.

    :ivar init_arguments: the command line of its process 1. :ivar cpus: how many it has.
    """

    kernel: KernelImage
    initrd: bytes
    bootargs: str
    init_arguments: str = ""
    cpus: int = 1
    memory_bytes: int = L1_MEMORY_BYTES

    @property
    def command_line(self) -> str:
        """The kernel's, with that of process 1 behind it."""
        return self.bootargs + (f" -- {self.init_arguments}" if self.init_arguments else "")


def under_kvm(guest: L1Guest, el2: Kind) -> L1Guest:
    """Give a Linux whose KVM starts the guest in a virtual EL2.

    :raises UserError: when that Linux was not fetched.
    """
    initrd = kvm_initrd(
        el2, guest.kernel, guest.initrd, guest.command_line, guest.memory_bytes, guest.cpus
    )
    return L1Guest(
        kvm_kernel(),
        initrd,
        KVM_L0_BOOTARGS,
        cpus=guest.cpus,
        memory_bytes=guest.memory_bytes + KVM_L0_MEMORY_BYTES,
    )


def stacked(configuration: Configuration, guest: L1Guest) -> tuple[L1Guest, Kind]:
    """Put a guest on all that it runs on but vel2; give that, and what virtual EL2 vel2 gives it.

    The innermost EL2 is of the kind that is to be measured. The others are VHE ones: Linux's KVM
    has virtual EL2s to give only there.
    """
    el2 = configuration.el2
    guest = L1Guest(
        guest.kernel,
        guest.initrd,
        guest.bootargs + configuration.bootargs,
        guest.init_arguments,
        guest.cpus,
        guest.memory_bytes,
    )
    for _ in range(configuration.linuxes_below):
        guest, el2 = under_kvm(guest, el2), Kind.VHE
    return guest, el2

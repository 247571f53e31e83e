"""Linux's KVM as L0: the peer that vel2 is compared with.

The newest Linux 7 of Debian runs at the machine's real EL2 with `kvm-arm.mode=nested`. Our VMM
starts L1 there, in a virtual EL2 of KVM's. L1's kernel and initrd, and so L2, are those of every
other configuration. L1's vCPU has KVM's defaults: no SVE and no pointer authentication, so that L1
has less to switch than in the other columns.
"""

from vel2.arch.nesting import Kind
from vel2.guests.kernels import guest_path
from vel2.guests.recipes import kvm_l0_tree
from vel2.guests.vmm import build_vmm
from vel2.machine.loader import KernelImage, load_kernel

__all__ = ("KVM_KERNEL", "KVM_L0_BOOTARGS", "KVM_L0_MEMORY_BYTES", "kvm_initrd", "kvm_kernel")

KVM_KERNEL = "7"
"""The name of L0's kernel among the guests on offer."""
KVM_L0_BOOTARGS = "console=ttyAMA0 quiet panic=-1 cryptomgr.notests=1 kvm-arm.mode=nested"
KVM_L0_MEMORY_BYTES = 512 << 20
"""What L0 has besides L1's memory; the kernel unpacks L1's kernel before it frees the archive."""
MACHINE_CONSOLE, VMM_CONSOLE = "console=ttyAMA0", "console=ttyS0"


def kvm_kernel() -> KernelImage:
    """Give L0's kernel.

    :raises UserError: when it was not fetched.
    """
    return load_kernel(guest_path(KVM_KERNEL))


def kvm_initrd(
    el2: Kind,
    kernel: KernelImage,
    initrd: bytes,
    bootargs: str,
    memory_bytes: int,
    cpus: int = 1,
) -> bytes:
    """Pack what L0 boots: busybox, the VMM and L1.

    :param kernel: L1's, as are `initrd`, `memory_bytes`, `cpus`, and `bootargs`, which name the
        machine's console.
    """
    return kvm_l0_tree(
        build_vmm(),
        el2,
        kernel.data,
        initrd,
        l1_image_bytes=kernel.image_size,
        l1_memory_bytes=memory_bytes,
        l1_cpus=cpus,
        l1_bootargs=bootargs.replace(MACHINE_CONSOLE, VMM_CONSOLE),
    ).pack()

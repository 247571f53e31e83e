"""Where kernel, initrd and device tree go in L1's RAM.

From the bottom of RAM: 2 MiB left free, the kernel on a 2 MiB boundary plus its `text_offset`,
then the initrd, then the device tree, then the modules of a hypervisor that takes some. booting.rst
asks that the device tree be 8-byte aligned and at most 2 MiB, and that the initrd lie within the
same 1 GiB-aligned 32 GiB window as the kernel.

The first 2 MiB stay free because QEMU writes its own device tree to the start of RAM at reset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vel2.errors import UserError
from vel2.machine.loader import KernelImage
from vel2.machine.memory import RAM_BASE, GuestMemory, format_bytes

__all__ = ("DTB_LIMIT", "Placement", "layout")

MIB = 1 << 20
KERNEL_ALIGN = 2 * MIB
PAGE = 4096
DTB_LIMIT = 2 * MIB
HEADROOM = 16 * MIB
"""What a kernel needs, besides what is loaded, before it can print anything."""


def _align(address: int, alignment: int) -> int:
    return (address + alignment - 1) & -alignment


@dataclass(frozen=True)
class Placement:
    """Physical addresses of what was loaded; ends are exclusive.

    :ivar modules: where each module starts.
    """

    kernel_address: int
    entry: int
    initrd_address: int
    initrd_end: int
    dtb_address: int
    modules: tuple[int, ...] = ()

    @property
    def initrd_range(self) -> tuple[int, int] | None:
        """Start and end of the initrd; None when there is none."""
        if self.initrd_address == self.initrd_end:
            return None
        return self.initrd_address, self.initrd_end

    def write(
        self,
        memory: GuestMemory,
        kernel: KernelImage,
        initrd: bytes,
        device_tree: bytes,
        modules: Sequence[bytes] = (),
    ) -> None:
        """Copy all of it into the machine's RAM.

        :raises UserError: when the images are not those that this placement was made for.
        """
        if len(device_tree) > DTB_LIMIT:
            raise UserError(
                f"the device tree has {len(device_tree)} bytes; arm64 kernels allow {DTB_LIMIT}."
            )
        if len(initrd) != self.initrd_end - self.initrd_address:
            raise ValueError("this placement was made for an initrd of another length")
        memory.write(self.kernel_address, kernel.data)
        if initrd:
            memory.write(self.initrd_address, initrd)
        memory.write(self.dtb_address, device_tree)
        for address, module in zip(self.modules, modules, strict=True):
            memory.write(address, module)


def layout(
    memory_bytes: int,
    kernel: KernelImage,
    initrd_bytes: int = 0,
    ram_base: int = RAM_BASE,
    module_bytes: Sequence[int] = (),
) -> Placement:
    """Choose the addresses.

    :param memory_bytes: L1's RAM, which starts at `ram_base`.
    :param module_bytes: the size of each module.
    :raises UserError: when it does not fit.
    """
    if kernel.load_address is None:
        kernel_address = ram_base + KERNEL_ALIGN + kernel.text_offset
    else:
        kernel_address = kernel.load_address
        if not ram_base <= kernel_address < ram_base + memory_bytes:
            raise UserError(
                f"the kernel is an ELF file that loads at {kernel_address:#x}, outside RAM "
                f"({ram_base:#x} to {ram_base + memory_bytes:#x}); link it inside."
            )
    initrd_address = _align(kernel_address + kernel.image_size, KERNEL_ALIGN)
    initrd_end = initrd_address + initrd_bytes
    dtb_address = _align(initrd_end, PAGE)
    end = dtb_address + DTB_LIMIT
    modules = []
    for size in module_bytes:
        modules.append(_align(end, KERNEL_ALIGN))
        end = modules[-1] + size
    needed = end + HEADROOM - ram_base
    if needed > memory_bytes:
        what = "kernel, initrd and the domains' modules" if modules else "kernel and initrd"
        raise UserError(
            f"too little memory: this {what} need {format_bytes(_align(needed, MIB))}, "
            f"given {format_bytes(memory_bytes)}; use a larger --memory."
        )
    return Placement(
        kernel_address=kernel_address,
        entry=kernel_address + kernel.entry_offset,
        initrd_address=initrd_address,
        initrd_end=initrd_end,
        dtb_address=dtb_address,
        modules=tuple(modules),
    )

"""Put a guest into RAM: its images, and the device tree that tells it where it is."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from vel2.machine.domains import Domain, describe_domains, modules_of
from vel2.machine.dtb import Seeds, l1_device_tree
from vel2.machine.layout import KERNEL_ALIGN, Placement, layout
from vel2.machine.loader import KernelImage
from vel2.machine.memory import RAM_BASE, GuestMemory

__all__ = ("STUB_ADDRESS", "STUB_BYTES", "entry_stub", "load_guest")

STUB_ADDRESS = RAM_BASE + KERNEL_ALIGN - 0x1000
"""In the part that placement leaves free, behind the most that QEMU's own device tree can take."""
STUB_CODE = (
    0x58000100,  # ldr x0, dtb
    0xD2800001,  # mov x1, #0
    0xD2800002,  # mov x2, #0
    0xD2800003,  # mov x3, #0
    0x580000D0,  # ldr x16, entry
    0xD61F0200,  # br  x16
    0xD503201F,  # nop
    0xD503201F,  # nop
)
STUB_FORMAT = f"<{len(STUB_CODE)}I2Q"
STUB_BYTES = struct.calcsize(STUB_FORMAT)


def load_guest(
    memory: GuestMemory,
    tree: bytes,
    memory_bytes: int,
    kernel: KernelImage,
    initrd: bytes = b"",
    append: str = "",
    *,
    domains: Sequence[Domain] = (),
    seeds: Seeds | None = None,
    remove: Sequence[str] = (),
    edit: Callable[[Any], None] | None = None,
) -> Placement:
    """Put a kernel and everything it needs into RAM.

    :param tree: the machine's device tree.
    :param memory_bytes: the guest's RAM, from the start of RAM.
    :param domains: what the guest starts by itself.
    :param remove, edit: see `l1_device_tree`.
    :raises UserError: when it does not fit.
    """
    modules = modules_of(domains)
    sizes = [len(module) for module in modules]
    placement = layout(memory_bytes, kernel, len(initrd), module_bytes=sizes)

    def describe(guest_tree: Any) -> None:
        if domains:
            describe_domains(guest_tree, domains, placement.modules, append)
        if edit is not None:
            edit(guest_tree)

    guest_tree = l1_device_tree(
        tree,
        memory_bytes,
        append,
        placement.initrd_range,
        seeds=seeds or Seeds(),
        remove=remove,
        edit=describe,
    )
    placement.write(memory, kernel, initrd, guest_tree, modules)
    return placement


def entry_stub(memory: GuestMemory, entry: int, device_tree: int, at: int) -> int:
    """Write the code that enters the guest as booting.rst says: x0 = device tree, x1 to x3 = 0.

    :param at: where to; `STUB_BYTES` long.
    :return: where to start, with the registers of a PE out of reset.
    """
    memory.write(at, struct.pack(STUB_FORMAT, *STUB_CODE, device_tree, entry))
    return at

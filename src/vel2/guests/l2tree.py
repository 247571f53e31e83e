"""The board that the VMM gives L2, as constants, a layout and a device tree.

It is a cut-down `virt`: RAM at 1 GiB, a GICv3, the architected timer, PSCI by HVC, an 8250 UART.
The VMM loads the device tree at the start of RAM, the kernel 2 MiB above it, and the initrd at the
next 2 MiB boundary after the kernel (its `image_size`, BSS included).

A guest with a virtual EL2 (L1, where KVM is L0) calls PSCI by SMC, since HVC there is a call to
itself. It also gets the timers of EL2 and a maintenance interrupt.
"""

from dataclasses import dataclass

import libfdt

from vel2.errors import UserError

__all__ = (
    "L2_GICD_BASE",
    "L2_GICR_BASE",
    "L2_MAINTENANCE_INTID",
    "L2_RAM_BASE",
    "L2_STATISTICS_BASE",
    "L2_UART_BASE",
    "L2_UART_INTID",
    "L2Layout",
    "l2_device_tree",
    "l2_layout",
)

L2_RAM_BASE = 0x4000_0000
L2_GICD_BASE = 0x0800_0000
L2_GICD_BYTES = 0x1_0000
L2_GICR_BASE = 0x080A_0000
L2_GICR_BYTES = 0x2_0000  # per cpu
L2_UART_BASE = 0x0900_0000
L2_UART_BYTES = 0x1000
L2_UART_SPI = 1
L2_STATISTICS_BASE = 0x0901_0000
"""Where the VMM shows how often L2 exited, as one word of 64 bits; not in the device tree."""
L2_UART_INTID = 32 + L2_UART_SPI
L2_UART_CLOCK_HZ = 1_843_200
ALIGN = 2 << 20
DTB_BYTES = 2 << 20
GIC_PHANDLE = 1
SPI, PPI, LEVEL_HIGH = 0, 1, 4
TIMER_PPIS = (13, 14, 11, 10)  # secure EL1, Non-secure EL1, virtual, hypervisor
HYP_VIRTUAL_PPI = 12
MAINTENANCE_PPI = 9
L2_MAINTENANCE_INTID = 16 + MAINTENANCE_PPI
PMU_PPI = 7
DEFAULT_BOOTARGS = "console=ttyS0 quiet"


@dataclass(frozen=True)
class L2Layout:
    """L2 physical addresses; ends are exclusive."""

    dtb_address: int
    kernel_address: int
    initrd_address: int
    initrd_end: int


def l2_layout(memory_bytes: int, kernel_image_bytes: int, initrd_bytes: int) -> L2Layout:
    """Return where the VMM puts things.

    :param kernel_image_bytes: `image_size` of the kernel's header.
    :raises UserError: when L2's memory is too small for them.
    """
    kernel = L2_RAM_BASE + DTB_BYTES
    initrd = (kernel + kernel_image_bytes + ALIGN - 1) & -ALIGN
    needed = initrd + initrd_bytes - L2_RAM_BASE
    if needed > memory_bytes:
        raise UserError(
            f"too little memory for L2: its kernel and initrd need {-(-needed >> 20)} MiB, "
            f"given {memory_bytes >> 20} MiB."
        )
    return L2Layout(L2_RAM_BASE, kernel, initrd, initrd + initrd_bytes)


def l2_device_tree(
    memory_bytes: int,
    bootargs: str = DEFAULT_BOOTARGS,
    initrd_range: tuple[int, int] | None = None,
    cpus: int = 1,
    *,
    el2: bool = False,
    pmu: bool = False,
) -> bytes:
    """Return the device tree of L2's board.

    :param initrd_range: first address, and the one after the last.
    :param el2: for a vCPU with a virtual EL2.
    :param pmu: for a vCPU with a PMUv3 (`vmm --pmu`).
    """
    tree = libfdt.FdtSw()
    tree.finish_reservemap()
    with tree.add_node(""):
        tree.property_u32("#address-cells", 2)
        tree.property_u32("#size-cells", 2)
        tree.property_u32("interrupt-parent", GIC_PHANDLE)
        tree.property_string("compatible", "linux,dummy-virt")
        tree.property_string("model", "vel2,l2")
        _chosen(tree, bootargs, initrd_range)
        with tree.add_node(f"memory@{L2_RAM_BASE:x}"):
            tree.property_string("device_type", "memory")
            tree.property("reg", _cells64(L2_RAM_BASE, memory_bytes))
        _cpus(tree, cpus)
        with tree.add_node("psci"):
            tree.property("compatible", b"arm,psci-1.0\0arm,psci-0.2\0")
            tree.property_string("method", "smc" if el2 else "hvc")
        _gic(tree, cpus, el2)
        with tree.add_node("timer"):
            tree.property_string("compatible", "arm,armv8-timer")
            ppis = (*TIMER_PPIS, HYP_VIRTUAL_PPI) if el2 else TIMER_PPIS
            cells = [cell for ppi in ppis for cell in (PPI, ppi, LEVEL_HIGH)]
            tree.property("interrupts", _cells32(*cells))
            tree.property("always-on", b"")
        if pmu:
            with tree.add_node("pmu"):
                tree.property_string("compatible", "arm,armv8-pmuv3")
                tree.property("interrupts", _cells32(PPI, PMU_PPI, LEVEL_HIGH))
        _uart(tree)
    fdt = tree.as_fdt()
    fdt.pack()
    return bytes(fdt.as_bytearray()[: fdt.totalsize()])


def _chosen(tree: libfdt.FdtSw, bootargs: str, initrd_range: tuple[int, int] | None) -> None:
    with tree.add_node("chosen"):
        tree.property_string("bootargs", bootargs)
        tree.property_string("stdout-path", f"/serial@{L2_UART_BASE:x}")
        if initrd_range is not None:
            tree.property_u64("linux,initrd-start", initrd_range[0])
            tree.property_u64("linux,initrd-end", initrd_range[1])


def _cpus(tree: libfdt.FdtSw, count: int) -> None:
    with tree.add_node("cpus"):
        tree.property_u32("#address-cells", 1)
        tree.property_u32("#size-cells", 0)
        for number in range(count):
            with tree.add_node(f"cpu@{number:x}"):
                tree.property_string("device_type", "cpu")
                tree.property_string("compatible", "arm,armv8")
                tree.property_string("enable-method", "psci")
                tree.property_u32("reg", number)


def _gic(tree: libfdt.FdtSw, cpus: int, el2: bool) -> None:
    with tree.add_node(f"interrupt-controller@{L2_GICD_BASE:x}"):
        tree.property_string("compatible", "arm,gic-v3")
        tree.property_u32("phandle", GIC_PHANDLE)
        tree.property_u32("#interrupt-cells", 3)
        tree.property("interrupt-controller", b"")
        distributor = (L2_GICD_BASE, L2_GICD_BYTES)
        tree.property("reg", _cells64(*distributor, L2_GICR_BASE, L2_GICR_BYTES * cpus))
        if el2:
            tree.property("interrupts", _cells32(PPI, MAINTENANCE_PPI, LEVEL_HIGH))


def _uart(tree: libfdt.FdtSw) -> None:
    with tree.add_node(f"serial@{L2_UART_BASE:x}"):
        tree.property_string("compatible", "ns16550a")
        tree.property("reg", _cells64(L2_UART_BASE, L2_UART_BYTES))
        tree.property_u32("reg-shift", 0)
        tree.property_u32("clock-frequency", L2_UART_CLOCK_HZ)
        tree.property("interrupts", _cells32(SPI, L2_UART_SPI, LEVEL_HIGH))


def _cells32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def _cells64(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "big") for value in values)

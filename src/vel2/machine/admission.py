"""Which devices a machine under vel2 may have: an allow-list, checked by asking QEMU itself.

A device that writes memory by itself reaches L0's memory unless it is behind the SMMU. QEMU has
many options with many spellings, so they are not parsed. Instead the machine is created, stopped
before its first instruction, and asked which objects it has. Each must be of a kind that is known

- to write no memory (the board's own devices; L0 mediates the ITS and the redistributors),
- to reach memory only through the SMMU (PCI functions: DMA by their bus's address space), or
- to reach memory only through its controller (a disk on SCSI, a keyboard on USB).

Some kinds are missing on purpose. A virtio device on virtio-mmio has no SMMU in front of it.
`virtio-balloon` takes page numbers from its driver and makes QEMU drop those pages, whichever they
are. `virtio-iommu` and `pxb` take functions out of the SMMU's reach. `vhost-*` and `vfio-*` leave
DMA to a program or a device that QEMU does not watch.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from vel2.errors import UserError

__all__ = ("MODERN_KINDS", "admit_devices", "machine_globals")

OLD_NAMES = ("blk", "net", "rng", "scsi", "serial", "9p")
"""Devices of virtio's first version: each has a name for its modern kind."""
MODERN_KINDS = tuple(
    f"virtio-{name}-pci"
    for name in (
        *(*OLD_NAMES, "crypto", "gpu", "sound"),
        *("keyboard", "mouse", "tablet", "multitouch", "input-host"),
    )
)
"""Virtio devices of which a driver says what it wants by virtqueues alone."""
PCI_KINDS = frozenset(
    {
        *MODERN_KINDS,
        *(f"virtio-{name}-pci-non-transitional" for name in OLD_NAMES),
        # Bridges.
        *("gpex-root", "pcie-root-port", "ioh3420", "pcie-pci-bridge", "pci-bridge"),
        *("i82801b11-bridge", "x3130-upstream", "xio3130-downstream"),
        # Disks.
        *("nvme", "ich9-ahci", "lsi53c810", "lsi53c895a", "megasas", "megasas-gen2"),
        *("mptsas1068", "pvscsi", "am53c974", "sdhci-pci", "ufs"),
        # Networks.
        *("e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "igb", "rtl8139", "ne2k_pci"),
        *("pcnet", "tulip", "vmxnet3", "i82550", "i82551", "i82557b", "i82558b", "i82559er"),
        # USB controllers.
        *("qemu-xhci", "nec-usb-xhci", "usb-ehci", "pci-ohci", "piix3-usb-uhci"),
        *("ich9-usb-ehci1", "ich9-usb-uhci1", "ich9-usb-uhci2", "ich9-usb-uhci3"),
        # Displays, sound and the rest.
        *("VGA", "secondary-vga", "bochs-display", "cirrus-vga", "intel-hda", "ich9-intel-hda"),
        *("AC97", "ES1370", "pci-serial", "pvpanic-pci", "pci-testdev", "i6300esb", "edu"),
    }
)
CONTROLLED_BUSES = frozenset(
    {"usb-bus", "SCSI", "IDE", "virtio-serial-bus", "HDA", "nvme-bus", "sd-bus", "ufs-bus"}
)
"""Buses whose devices reach memory only through the bus's controller."""
PCI_BUSES = frozenset({"PCIE", "PCI"})
VIRTIO_BUS = "virtio-pci-bus"
BOARD_KINDS = frozenset(
    {
        *("arm-gicv3", "arm-gicv3-its", "arm-smmuv3", "cfi.pflash01", "pl011", "pl031", "pl061"),
        *("gpio-key", "gpex-pcihost", "platform-bus-device", "fw_cfg_mem", "virtio-mmio"),
        *("acpi-ged", "loader", "guest-loader", "nvme-subsys"),
    }
)
"""The board's own, and the loaders, which write once, before the first instruction."""
CPU_SUFFIX = "-arm-cpu"
NO_DEVICES = frozenset({"container", "memory-region", "iommu-memory-region", "irq", "clock"})
SYSTEM_BUS = "System"
MACHINE = "/machine"
USER_FOLDERS = ("/machine/peripheral", "/machine/peripheral-anon")
BOARD_FOLDERS = (MACHINE, "/machine/unattached")
IOMMU_PLATFORM = "iommu_platform"
MACHINE_SETTINGS = (
    ("virtualization", True, "vel2 runs at EL2"),
    ("secure", False, "vel2 starts at EL2 and not at EL3"),
    ("iommu", "smmuv3", "without that SMMU a device's DMA would reach vel2's memory"),
    ("default-bus-bypass-iommu", False, "it takes PCI devices away from vel2's SMMU"),
    ("gic-version", "3", "GICv3 is what vel2 knows"),
)


class Qmp(Protocol):
    """What is used of `Monitor`."""

    def execute(self, command: str, arguments: dict[str, object], /) -> Any:
        """Run one command and return what it returns."""


def machine_globals() -> list[str]:
    """Return QEMU's options that put every virtio device on PCI behind the SMMU.

    Without them a device accesses memory by physical addresses, past any IOMMU. A device behind
    one must be modern: for a transitional device the driver would choose.
    """
    # The board asks for both stages since QEMU 9.2, and overrides this.
    arguments = ["-global", "arm-smmuv3.stage=2"]
    arguments += ["-global", f"virtio-device.{IOMMU_PLATFORM}=on"]
    for kind in MODERN_KINDS:
        arguments += ["-global", f"{kind}.disable-legacy=on"]
    return arguments


def admit_devices(monitor: Qmp, cpus_wanted: int = 1) -> None:
    """Examine every device of a machine that has not started yet.

    :raises UserError: when one may reach memory that is not L1's.
    """
    for name, wanted, why in MACHINE_SETTINGS:
        found = monitor.execute("qom-get", {"path": MACHINE, "property": name})
        if found != wanted:
            said = {True: "on", False: "off"}.get(found, found)
            raise UserError(f"the machine has {name}={said}, but {why}; leave {name}= out.")
    for folder in USER_FOLDERS:
        for path, kind in _children(monitor, folder):
            _admit(monitor, path, kind)
    # What an option made the board add, or a device that was asked for.
    cpus = 0
    for folder in BOARD_FOLDERS:
        for _, kind in _children(monitor, folder):
            cpus += _is_cpu(kind)
            if kind not in BOARD_KINDS | PCI_KINDS | {SYSTEM_BUS} and not _is_cpu(kind):
                raise _unknown(kind)
    if cpus != cpus_wanted:
        raise UserError(
            f"the machine has {cpus} CPUs, and vel2 was asked for {cpus_wanted}; give --smp instead"
            " of QEMU's -smp."
        )


def _admit(monitor: Qmp, path: str, kind: str) -> None:
    """Examine one device that was asked for, and the objects it consists of."""
    bus = _bus_of(monitor, path)
    if bus in CONTROLLED_BUSES:
        return
    if bus == "virtio-mmio-bus":
        raise UserError(
            f"QEMU's device {kind} is on virtio-mmio, where no SMMU keeps it from vel2's memory;"
            f" give {kind.removesuffix('-device')}-pci instead."
        )
    if kind not in (PCI_KINDS if bus in PCI_BUSES else BOARD_KINDS) or bus == SYSTEM_BUS:
        raise _unknown(kind)
    for below, _ in _children(monitor, path):
        if _bus_of(monitor, below) != VIRTIO_BUS:
            continue
        if not monitor.execute("qom-get", {"path": below, "property": IOMMU_PLATFORM}):
            raise UserError(
                f"QEMU's device {kind} has {IOMMU_PLATFORM}=off, so it would pass vel2's SMMU by;"
                f" leave {IOMMU_PLATFORM}= out."
            )


def _children(monitor: Qmp, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and kind of an object's parts, as far as these may be devices or buses."""
    for entry in monitor.execute("qom-list", {"path": path}):
        kind = str(entry["type"])
        if not kind.startswith("child<"):
            continue
        kind = kind[len("child<") : -1]
        if kind not in NO_DEVICES:
            yield f"{path}/{entry['name']}", kind


def _bus_of(monitor: Qmp, path: str) -> str:
    """Name the kind of bus that a device is on; empty when it is on none."""
    names = {entry["name"] for entry in monitor.execute("qom-list", {"path": path})}
    if "parent_bus" not in names:
        return ""
    bus = monitor.execute("qom-get", {"path": path, "property": "parent_bus"})
    return str(monitor.execute("qom-get", {"path": bus, "property": "type"})) if bus else ""


def _is_cpu(kind: str) -> bool:
    return kind.endswith(CPU_SUFFIX)


def _unknown(kind: str) -> UserError:
    return UserError(
        f"QEMU's device {kind} is not known to leave vel2's memory alone; use another, such as"
        " virtio-blk-pci, virtio-net-pci, nvme, ich9-ahci, e1000e or qemu-xhci."
    )

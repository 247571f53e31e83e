"""Which of QEMU's devices a machine under vel2 may have, as QEMU itself says what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.machine.admission import BOARD_KINDS, MODERN_KINDS, PCI_KINDS, admit_devices
from vel2.machine.qemu import Machine, MachineConfig

pytestmark = pytest.mark.qemu

UNKNOWN = (
    "QEMU's device {} is not known to leave vel2's memory alone; use another, such as"
    " virtio-blk-pci, virtio-net-pci, nvme, ich9-ahci, e1000e or qemu-xhci."
)
NULL_DRIVE = ("-drive", "if=none,id=d,driver=null-co,size=1M")


def admit(*arguments: str) -> None:
    """Make a machine as vel2 does, with more arguments, and look at it."""
    config = MachineConfig(
        memory_bytes=128 << 20, smmu=True, start_paused=True, extra_arguments=arguments
    )
    with Machine(config) as machine:
        admit_devices(machine.monitor)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        # Firmware brings the board's device for power events.
        ("-bios", "BIOS"),
        (*NULL_DRIVE, "-device", "virtio-blk-pci,drive=d,romfile="),
        (*NULL_DRIVE, "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d"),
        (*NULL_DRIVE, "-device", "ich9-ahci,id=a", "-device", "ide-hd,bus=a.0,drive=d"),
        (
            *NULL_DRIVE,
            "-device",
            "nvme,serial=1,drive=d",
            "-device",
            "qemu-xhci",
            "-device",
            "usb-tablet",
        ),
        (
            "-netdev",
            "user,id=n",
            "-device",
            "pcie-root-port,id=r",
            "-device",
            "e1000e,bus=r,netdev=n,romfile=",
        ),
        ("-drive", "if=virtio,driver=null-co,size=1M", "-device", "virtio-rng-pci"),
        (
            "-device",
            "virtio-serial-pci",
            "-chardev",
            "null,id=c",
            "-device",
            "virtconsole,chardev=c",
        ),
    ],
    ids=lambda arguments: " ".join(arguments) or "none",
)
def test_devices_that_keep_to_l1(arguments: tuple[str, ...], tmp_path: Path) -> None:
    bios = tmp_path / "bios"
    bios.write_bytes(bytes(64))
    admit(*(str(bios) if each == "BIOS" else each for each in arguments))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-device", "virtio-balloon-pci,disable-legacy=on"), UNKNOWN.format("virtio-balloon-pci")),
        (("-device", "ramfb"), UNKNOWN.format("ramfb")),
        (("-device", "pxb-pcie,bus_nr=8,bypass_iommu=on"), UNKNOWN.format("pxb-pcie")),
        (
            ("-smp", "2"),
            "the machine has 2 CPUs, and vel2 was asked for 1; give --smp instead of QEMU's -smp.",
        ),
        (
            ("-machine", "virtualization=off"),
            "the machine has virtualization=off, but vel2 runs at EL2; leave virtualization= out.",
        ),
        (
            ("-machine", "secure=on"),
            "the machine has secure=on, but vel2 starts at EL2 and not at EL3; leave secure= out.",
        ),
        (
            ("-device", "virtio-rng-device"),
            "QEMU's device virtio-rng-device is on virtio-mmio, where no SMMU keeps it from vel2's"
            " memory; give virtio-rng-pci instead.",
        ),
        (
            ("-device", "virtio-rng-pci,iommu_platform=off"),
            "QEMU's device virtio-rng-pci has iommu_platform=off, so it would pass vel2's SMMU by;"
            " leave iommu_platform= out.",
        ),
        (
            ("-global", "virtio-device.iommu_platform=off", "-device", "virtio-rng-pci"),
            "QEMU's device virtio-rng-pci has iommu_platform=off, so it would pass vel2's SMMU by;"
            " leave iommu_platform= out.",
        ),
        (
            ("-machine", "iommu=none"),
            "the machine has iommu=none, but without that SMMU a device's DMA would reach vel2's"
            " memory; leave iommu= out.",
        ),
        (
            ("-machine", "default-bus-bypass-iommu=on"),
            "the machine has default-bus-bypass-iommu=on, but it takes PCI devices away from"
            " vel2's SMMU; leave default-bus-bypass-iommu= out.",
        ),
        (
            ("-machine", "gic-version=4"),
            "the machine has gic-version=4, but GICv3 is what vel2 knows; leave gic-version= out.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_devices_that_do_not_are_refused(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        admit(*arguments)
    assert str(caught.value) == sentence


def test_the_lists_are_of_devices_that_qemu_has() -> None:
    """A name with a mistake in it would allow nothing; those missing are of other builds."""
    config = MachineConfig(memory_bytes=128 << 20, smmu=True, start_paused=True)
    with Machine(config) as machine:
        types = machine.monitor.execute("qom-list-types", {"implements": "device"})
        pci = machine.monitor.execute("qom-list-types", {"implements": "pci-device"})
    assert {each["name"] for each in pci} >= PCI_KINDS
    assert {each["name"] for each in types} >= BOARD_KINDS | set(MODERN_KINDS)

"""L1's device tree is the machine's with L0's share taken out, and nothing else changed."""

from __future__ import annotations

from typing import Any

import libfdt
import pytest

from vel2.errors import LaunchError, UserError
from vel2.machine.config import MachineConfig
from vel2.machine.dtb import (
    QUIET,
    Seeds,
    children,
    l1_device_tree,
    open_tree,
    pack_tree,
    qemu_device_tree,
)
from vel2.machine.memmap import RegionKind, read_memory_map
from vel2.machine.memory import RAM_BASE

MIB = 1 << 20


def cells(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "big") for value in values)


def sample_tree(memory: int = 512 * MIB, psci: bool = True) -> bytes:
    """Build a tree shaped like the one of QEMU's `virt` board."""
    tree = libfdt.FdtSw()
    tree.finish_reservemap()
    with tree.add_node(""):
        tree.property_u32("#address-cells", 2)
        tree.property_u32("#size-cells", 2)
        if psci:
            with tree.add_node("psci"):
                tree.property_string("method", "hvc")
        with tree.add_node(f"memory@{RAM_BASE:x}"):
            tree.property_string("device_type", "memory")
            tree.property("reg", cells(RAM_BASE, memory))
        for address in (0x9000000, 0x9040000):
            with tree.add_node(f"pl011@{address:x}"):
                tree.property("compatible", b"arm,pl011\0arm,primecell\0")
                tree.property("reg", cells(address, 0x1000))
                interrupt = (0, 1 if address == 0x9000000 else 8, 4)
                tree.property("interrupts", b"".join(n.to_bytes(4, "big") for n in interrupt))
        with tree.add_node("fw-cfg@9020000"):
            tree.property_string("compatible", "qemu,fw-cfg-mmio")
            tree.property("reg", cells(0x9020000, 0x18))
        with tree.add_node("aliases"):
            tree.property_string("serial0", "/pl011@9000000")
            tree.property_string("serial1", "/pl011@9040000")
            tree.property_string("doorbell", "/pl011@9040000")
        with tree.add_node("chosen"):
            tree.property_string("stdout-path", "/pl011@9000000")
            tree.property("rng-seed", b"from QEMU")
            tree.property("kaslr-seed", bytes(8))
    return pack_tree(tree.as_fdt())


def properties(tree: Any, path: str) -> dict[str, bytes]:
    node = tree.path_offset(path)
    found = {}
    offset = tree.first_property_offset(node, QUIET)
    while offset >= 0:
        value = tree.get_property_by_offset(offset)
        found[value.name] = bytes(value)
        offset = tree.next_property_offset(offset, QUIET)
    return found


def names(tree: Any, node: int = 0) -> list[str]:
    return [tree.get_name(child) for child in children(tree, node)]


def test_only_l0s_share_is_taken_out() -> None:
    before = open_tree(sample_tree())
    after = open_tree(l1_device_tree(sample_tree(), 448 * MIB, "console=ttyAMA0"))
    assert names(after) == [name for name in names(before) if name != "pl011@9040000"]
    assert properties(after, f"/memory@{RAM_BASE:x}")["reg"] == cells(RAM_BASE, 448 * MIB)
    assert properties(after, "/psci")["method"] == b"smc\0"
    assert properties(after, "/aliases") == {"serial0": b"/pl011@9000000\0"}
    assert properties(after, "/chosen") == {
        "stdout-path": b"/pl011@9000000\0",
        "bootargs": b"console=ttyAMA0\0",
    }
    for path in ("/pl011@9000000", "/fw-cfg@9020000"):
        assert properties(after, path) == properties(before, path)


def test_initrd_seeds_removals_and_hook() -> None:
    def add_module(tree: Any) -> None:
        chosen = tree.path_offset("/chosen")
        node = tree.add_subnode(chosen, "module@48000000")
        tree.setprop_str(node, "compatible", "multiboot,kernel")

    blob = l1_device_tree(
        sample_tree(),
        512 * MIB,
        "x" * 5000,
        (0x48000000, 0x48001234),
        seeds=Seeds(rng=b"r" * 64, kaslr=7),
        remove=("/fw-cfg@9020000", "/not-there"),
        edit=add_module,
    )
    tree = open_tree(blob)
    chosen = properties(tree, "/chosen")
    assert chosen["linux,initrd-start"] == cells(0x48000000)
    assert chosen["linux,initrd-end"] == cells(0x48001234)
    assert chosen["rng-seed"] == b"r" * 64
    assert chosen["kaslr-seed"] == cells(7)
    assert chosen["bootargs"] == b"x" * 5000 + b"\0"
    assert "fw-cfg@9020000" not in names(tree)
    assert properties(tree, "/chosen/module@48000000")["compatible"] == b"multiboot,kernel\0"
    assert len(blob) == tree.totalsize()


@pytest.mark.parametrize("size", [0, 513 * MIB])
def test_memory_must_be_a_part_of_the_machines(size: int) -> None:
    with pytest.raises(UserError, match=r"^L1 cannot have .* in all: use a smaller --memory\.$"):
        l1_device_tree(sample_tree(), size)


def test_trees_that_l1_cannot_be_cut_out_of_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        l1_device_tree(sample_tree(psci=False), MIB)
    assert str(caught.value) == (
        "the machine's device tree has no PSCI node; vel2 starts cpus by PSCI."
    )
    with pytest.raises(UserError) as caught:
        l1_device_tree(b"no tree at all", MIB)
    assert str(caught.value) == (
        "these 14 bytes are not a flattened device tree (pylibfdt error -9: FDT_ERR_BADMAGIC)."
    )


def test_memory_map_of_the_sample() -> None:
    found = read_memory_map(sample_tree())
    assert [(region.base, region.kind, region.intid) for region in found.regions] == [
        (0x9000000, RegionKind.UART, 33),
        (0x9020000, RegionKind.FW_CFG, None),
        (0x9040000, RegionKind.UART, 40),
        (RAM_BASE, RegionKind.RAM, None),
    ]
    assert found.ram.size == 512 * MIB
    ram, uart = found.at(RAM_BASE + 5), found.at(0x9000FFF)
    assert ram is found.ram
    assert uart is not None and str(uart) == "pa=0x9000000..0x9001000 uart /pl011@9000000"
    assert found.at(0x9001000) is None
    with pytest.raises(UserError, match="no pcie-ecam region"):
        found.one(RegionKind.PCIE_ECAM)


@pytest.mark.qemu
def test_memory_map_of_qemu_has_what_a_hypervisor_needs() -> None:
    config = MachineConfig(memory_bytes=1024 * MIB, doorbell=True)
    found = read_memory_map(qemu_device_tree(config))
    assert found.ram.base == RAM_BASE
    assert found.ram.size == 1024 * MIB
    assert [region.base for region in found.of(RegionKind.UART)] == [0x9000000, 0x9040000]
    assert found.one(RegionKind.GIC_DISTRIBUTOR).size == 0x10000
    assert found.one(RegionKind.GIC_REDISTRIBUTOR).size >= 0x20000
    assert found.one(RegionKind.GIC_DISTRIBUTOR).intid == 25, "the maintenance interrupt"
    assert len(found.of(RegionKind.VIRTIO_MMIO)) == 32
    for kind in (RegionKind.PCIE_ECAM, RegionKind.PCIE_MMIO32, RegionKind.PCIE_MMIO64):
        assert found.one(kind).size >= 1 << 20
    assert not found.of(RegionKind.OTHER)
    for one, following in zip(found.regions, found.regions[1:], strict=False):
        assert one.end <= following.base, f"{one} overlaps {following}"


@pytest.mark.qemu
def test_l1_does_not_see_the_smmu() -> None:
    """L1's tree is what it would be on a board that has none."""
    trees = []
    for smmu in (True, False):
        blob = qemu_device_tree(MachineConfig(memory_bytes=512 * MIB, smmu=smmu))
        found = read_memory_map(blob).of(RegionKind.SMMU)
        assert len(found) == smmu
        hidden = [region.path for region in found]
        trees.append(open_tree(l1_device_tree(blob, 448 * MIB, remove=hidden)))
    with_smmu, without = trees
    assert names(with_smmu) == names(without)
    (pcie,) = (name for name in names(without) if name.startswith("pcie@"))
    has, wanted = properties(with_smmu, f"/{pcie}"), properties(without, f"/{pcie}")
    # QEMU numbers phandles by their order, and the SMMU has one.
    for value in (has, wanted):
        del value["msi-map"]
    assert has == wanted


@pytest.mark.qemu
def test_doorbell_and_cpus_follow_the_configuration() -> None:
    plain = open_tree(qemu_device_tree(MachineConfig(memory_bytes=256 * MIB, smp=3)))
    assert "pl011@9040000" not in names(plain)
    cpus = [n for n in names(plain, plain.path_offset("/cpus")) if n.startswith("cpu@")]
    assert len(cpus) == 3
    assert "rng-seed" not in properties(plain, "/chosen")
    assert properties(plain, "/psci")["method"] == b"smc\0"


@pytest.mark.qemu
def test_a_machine_qemu_refuses_is_reported_with_its_words() -> None:
    config = MachineConfig(memory_bytes=256 * MIB, cpu="cortex-m0")
    with pytest.raises(LaunchError) as caught:
        qemu_device_tree(config)
    assert caught.value.summary == "QEMU did not write its device tree"
    assert caught.value.exit_status == 1
    assert "cortex-m0" in caught.value.tail

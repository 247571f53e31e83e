"""The host's check of L0: it finds each kind of damage in the memory of a VM that was attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.limits import LIMIT_S
from vel2.arch.descriptors import DESC_TABLE, S2AP, Stage1Leaf, Stage2Leaf
from vel2.check.integrity import CANARY, Integrity
from vel2.check.payloads import build_payload
from vel2.check.payloads.layout import ARENA, MEMORY_BYTES, RAM_BASE
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.hyp import layout
from vel2.hyp.smmu import Tables
from vel2.hyp.state import SHADOW_CONTEXTS
from vel2.hyp.state import Vm as ResidentVm
from vel2.machine.loader import load_kernel

pytestmark = pytest.mark.qemu

PAGE = 0x1000
ENTRY = 8


class Attacked(NamedTuple):
    vm: Vm
    integrity: Integrity


@pytest.fixture(scope="module")
def attacked() -> Iterator[Attacked]:
    """Run the payload that leaves L0's memory mapped in L1's tables, and keep L0's memory."""
    target = RAM_BASE + MEMORY_BYTES
    image = build_payload("isolation", [target], CANARY)
    vm = Vm(Request(Kernel(load_kernel(image)), MEMORY_BYTES))
    try:
        integrity = Integrity(vm)
        with vm:
            assert vm.wait(LIMIT_S).clean
        yield Attacked(vm, integrity)
    finally:
        vm.close()


def read(vm: Vm, address: int) -> int:
    return int.from_bytes(vm.memory.read(address, ENTRY), "little")


def slots(vm: Vm, table: int, level: int) -> Iterator[tuple[int, int]]:
    """Give (address, level) of every valid entry under a table of 512."""
    for address in range(table, table + PAGE, ENTRY):
        entry = read(vm, address)
        if entry & 1:
            yield address, level
            if level < 3 and entry & 3 == DESC_TABLE:
                yield from slots(vm, entry & Stage2Leaf.OA.mask, level + 1)


def leaf_slot(vm: Vm, root: int, wanted: Callable[[int], bool] = lambda _: True) -> int:
    """Give the address of the first leaf that is wanted, of 2 MiB at most."""
    for address, level in slots(vm, root, vm.state.stage2.start_level):
        entry = read(vm, address)
        if level > 1 and (level == 3 or entry & 3 != DESC_TABLE) and wanted(entry):
            return address
    raise AssertionError(f"no such leaf under {root:#x}")


def table_slot(vm: Vm, root: int) -> int:
    """Give the address of the first entry that is a table."""
    found = slots(vm, root, vm.state.stage2.start_level)
    return next(at for at, level in found if level < 3 and read(vm, at) & 3 == DESC_TABLE)


def shadow_root(vm: Vm) -> int:
    """Give the root of a shadow that has tables."""
    state = vm.state
    return next(
        state.stage2.shadows[i].root
        for i in range(SHADOW_CONTEXTS)
        if state.stage2.shadows[i].pages
    )


def is_device(entry: int) -> bool:
    return not Stage2Leaf.MemAttr.get(entry) & 0b1100


def first_table(vm: Vm) -> int:
    """Give the canonical stage 2's first table below its root."""
    return read(vm, table_slot(vm, canonical(vm))) & Stage2Leaf.OA.mask


def vm_field(vm: Vm, path: str) -> int:
    return vm.l0_base + layout.VM_OFFSET + ResidentVm.offset_of(path)


def canonical(vm: Vm) -> int:
    return vm.state.stage2.canonical.root


def own_level2(vm: Vm) -> int:
    return vm.state.stage2.pool_end + PAGE


def block_of(vm: Vm, address: int) -> int:
    """Give the slot of a 2 MiB block in EL2's own stage 1."""
    return own_level2(vm) + (address >> 21 & 511) * ENTRY


def stream_entry(vm: Vm, number: int) -> int:
    return vm.l0_base + layout.SMMU_OFFSET + Tables.second.offset + number * 64


Damage = Callable[[Vm], tuple[int, int]]
"""Gives the address of eight bytes, and what to put there."""


def change(slot: int, vm: Vm, clear: int = 0, put: int = 0) -> tuple[int, int]:
    return slot, read(vm, slot) & ~clear | put


DAMAGES: dict[str, tuple[Damage, str]] = {
    "image": (lambda vm: (vm.l0_base, 0), "L0's image was changed"),
    "vm": (
        lambda vm: (vm_field(vm, "config.ram_end"), 1 << 40),
        "what the host told L0 was changed",
    ),
    "stack": (
        lambda vm: (vm.l0_base + layout.PCPU_OFFSET + 8, 0),
        "the canary at 0x48210008 was changed",
    ),
    "output": (
        lambda vm: change(leaf_slot(vm, canonical(vm)), vm, 0, Stage2Leaf.OA.put(1)),
        "is not the identity",
    ),
    "missing leaf": (lambda vm: (leaf_slot(vm, canonical(vm)), 0), "bytes are mapped"),
    "executable device": (
        lambda vm: change(leaf_slot(vm, canonical(vm), is_device), vm, Stage2Leaf.XN.mask),
        "allows execution from a device",
    ),
    "normal device": (
        lambda vm: change(
            leaf_slot(vm, canonical(vm), is_device), vm, 0, Stage2Leaf.MemAttr.put(0b1111)
        ),
        "allows Normal memory over a device",
    ),
    "read-only": (
        lambda vm: change(
            leaf_slot(vm, canonical(vm)), vm, Stage2Leaf.S2AP.mask, Stage2Leaf.S2AP.put(S2AP.RO)
        ),
        "is not read-write",
    ),
    "canonical vttbr": (
        lambda vm: (vm_field(vm, "stage2.canonical.vttbr"), ARENA),
        "canonical: VTTBR_EL2 would be 0x43000000",
    ),
    "device leaf": (
        lambda vm: change(
            leaf_slot(vm, vm.state.stage2.devices.root), vm, 0, Stage2Leaf.OA.put(1 << 18)
        ),
        "devices: ",
    ),
    "stream to bypass": (
        lambda vm: change(stream_entry(vm, 0x42), vm, 0b111 << 1, 0b100 << 1),
        "stream table: entry 0x42 is 09",
    ),
    "stream root": (
        lambda vm: (stream_entry(vm, 0xFF) + 3 * ENTRY, ARENA),
        "stream table: entry 0xff is 0d",
    ),
    "stream descriptor": (
        lambda vm: (vm.l0_base + layout.SMMU_OFFSET + Tables.first.offset, ARENA),
        "stream table: descriptor 0x0 is 0x43000000",
    ),
    "shadow leaf": (
        lambda vm: change(leaf_slot(vm, shadow_root(vm)), vm, Stage2Leaf.OA.mask, vm.l0_base),
        "reaches 0x48000000, which is not L1's",
    ),
    "shadow contiguous": (
        lambda vm: change(leaf_slot(vm, shadow_root(vm)), vm, 0, Stage2Leaf.Contiguous.mask),
        "has bits that L0 does not use",
    ),
    "shadow table": (
        lambda vm: change(table_slot(vm, shadow_root(vm)), vm, Stage2Leaf.OA.mask, ARENA),
        "the table at 0x43000000, level 2, is outside L0's pool",
    ),
    "shadow loop": (
        lambda vm: change(table_slot(vm, shadow_root(vm)), vm, Stage2Leaf.OA.mask, first_table(vm)),
        "is pointed at twice",
    ),
    "shadow vttbr": (
        lambda vm: (vm_field(vm, "stage2.shadows[3].vttbr"), 5 << 48 | ARENA),
        "shadow 3: VTTBR_EL2 would be 0x5000043000000",
    ),
    "writable image": (
        lambda vm: change(block_of(vm, vm.l0_base), vm, Stage1Leaf.AP.mask, Stage1Leaf.AP.put(1)),
        "lets L0's image be written",
    ),
    "executable data": (
        lambda vm: change(block_of(vm, vm.l0_base + (1 << 21)), vm, Stage1Leaf.UXN.mask),
        "is executable",
    ),
    "own output": (
        lambda vm: change(block_of(vm, vm.l0_base), vm, Stage1Leaf.OA.mask, ARENA),
        "to itself",
    ),
}


def test_an_attacked_l0_is_whole(attacked: Attacked) -> None:
    assert attacked.integrity.broken() == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found(attacked: Attacked, kind: str) -> None:
    damage, finding = DAMAGES[kind]
    address, value = damage(attacked.vm)
    before = attacked.vm.memory.read(address, ENTRY)
    attacked.vm.memory.write(address, value.to_bytes(ENTRY, "little"))
    try:
        found = attacked.integrity.broken()
    finally:
        attacked.vm.memory.write(address, before)
    assert any(finding in each for each in found), found
    assert attacked.integrity.broken() == []

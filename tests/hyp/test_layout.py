"""Where L0's things lie: nothing overlaps, and what the assembly assumes holds."""

from __future__ import annotations

import pytest

from vel2.arch.gicv3 import FIRST_LPI, MAX_LPI_BITS
from vel2.hyp import layout
from vel2.hyp.gicstate import ITT_BYTES, MAX_DEVICES, Gic
from vel2.hyp.homes import CONTEXT_MEMORY, SWITCHED
from vel2.hyp.state import (
    ID_REGISTERS,
    MAX_REDISTRIBUTORS,
    CpuContext,
    PoolPage,
    Stage2,
    Vcpu,
    Vm,
    VncrPage,
)

MIB = 1 << 20
PARTS = {
    "image": (layout.IMAGE_OFFSET, layout.IMAGE_MAX_BYTES),
    "Vm": (layout.VM_OFFSET, layout.VM_MAX_BYTES),
    "pcpus": (layout.PCPU_OFFSET, layout.MAX_PCPUS * layout.PCPU_BYTES),
    "GIC": (layout.GIC_OFFSET, layout.GIC_BYTES),
    "pool": (layout.POOL_OFFSET, layout.POOL_MIN_BYTES),
}


def test_the_parts_of_l0_do_not_overlap() -> None:
    """Show that image, Vm, pcpu blocks and pool follow each other, on page boundaries."""
    end = 0
    for name, (offset, size) in sorted(PARTS.items(), key=lambda part: part[1]):
        assert offset >= end, name
        assert offset % layout.PAGE_BYTES == size % layout.PAGE_BYTES == 0, name
        end = offset + size
    assert layout.VM_OFFSET % layout.BLOCK_BYTES == 0, "the image's block is mapped read-only"


GIC_PARTS = {
    "state": (0, layout.GIC_STATE_BYTES),
    "queue": (layout.ITS_QUEUE_IN_GIC, layout.ITS_QUEUE_BYTES),
    "collections": (layout.COLLECTION_TABLE_IN_GIC, layout.COLLECTION_TABLE_BYTES),
    "properties": (layout.PROPERTIES_IN_GIC, layout.PROPERTIES_BYTES),
    "ITTs": (layout.ITTS_IN_GIC, layout.ITTS_BYTES),
    "devices": (layout.DEVICE_TABLE_IN_GIC, layout.DEVICE_TABLE_BYTES),
    "pending": (layout.PENDING_IN_GIC, MAX_REDISTRIBUTORS * layout.PENDING_BYTES),
}


def test_the_gics_tables_do_not_overlap() -> None:
    """Show that each is aligned as its register wants it, and large enough for what it holds."""
    end = 0
    for name, (offset, size) in sorted(GIC_PARTS.items(), key=lambda part: part[1]):
        assert offset >= end, name
        assert offset % 0x1_0000 == 0, name
        end = offset + size
    assert end <= layout.GIC_BYTES
    assert Gic.size <= layout.GIC_STATE_BYTES
    assert layout.ITTS_BYTES == MAX_DEVICES * ITT_BYTES
    lpis = (1 << MAX_LPI_BITS) - FIRST_LPI
    assert lpis <= layout.PROPERTIES_BYTES
    assert layout.PENDING_BYTES >= (1 << MAX_LPI_BITS) // 8
    assert MAX_REDISTRIBUTORS >= layout.MAX_PCPUS


def test_structures_fit_their_places() -> None:
    """Show that Vm and Vcpu fit, with the stack below and the VNCR page above the Vcpu."""
    assert Vm.size <= layout.VM_MAX_BYTES
    assert layout.VCPU_IN_PCPU >= layout.STACK_BYTES
    assert layout.VCPU_IN_PCPU + Vcpu.size <= layout.VNCR_IN_PCPU
    assert layout.VNCR_IN_PCPU + VncrPage.size <= layout.PCPU_BYTES
    assert layout.VNCR_IN_PCPU % layout.PAGE_BYTES == 0
    assert VncrPage.size == layout.PAGE_BYTES
    assert layout.VCPU_IN_PCPU % 16 == 0, "SP_EL2 starts there"


def test_the_vectors_can_reach_the_vcpu() -> None:
    """Show that the fields the assembly uses are within its instructions' offsets."""
    assert Vcpu.offset_of("x") == 0
    for name in ("pc", "trap.pc"):
        assert Vcpu.offset_of(name) <= 504
        assert Vcpu.offset_of(name.replace("pc", "pstate")) == Vcpu.offset_of(name) + 8
    for name in ("observe.pc_low", "observe.pc_span", "observe.anybody"):
        assert Vcpu.offset_of(name) < 32760 and Vcpu.offset_of(name) % 8 == 0
    assert Vcpu.offset_of("observe.groups") < 4096, "LDRB's offset, on top of the group's number"
    assert Vcpu.offset_of("observe.classes") < 32760
    for name in ("slow_eret", "vel2.vncr_page", "pcpu.mdscr", "counters.fast_eret"):
        assert Vcpu.offset_of(name) < 32760 and Vcpu.offset_of(name) % 8 == 0


def test_contexts_hold_every_row() -> None:
    """Show that the home table and the structures made from it have the same rows, in order."""
    assert [row.index for row in SWITCHED] == list(range(len(SWITCHED)))
    assert CpuContext.size == 8 * (1 + len(SWITCHED) + len(CONTEXT_MEMORY))
    assert len({row.hardware for row in SWITCHED}) == len(SWITCHED)
    assert len({row.vel2 for row in SWITCHED}) == len(SWITCHED)
    assert ID_REGISTERS == 64


@pytest.mark.parametrize("l1_bytes", [2 * MIB, 64 * MIB, 512 * MIB, 4096 * MIB, 65536 * MIB])
def test_the_pool_grows_with_l1s_memory(l1_bytes: int) -> None:
    """Show that L0's block is whole 2 MiB blocks, and that a 4 GiB L1 costs less than 64 MiB."""
    assert layout.l0_bytes(l1_bytes) % layout.BLOCK_BYTES == 0
    assert layout.pool_bytes(l1_bytes) >= max(layout.POOL_MIN_BYTES, l1_bytes // 128)
    assert l1_bytes > 4096 * MIB or layout.l0_bytes(l1_bytes) < 64 * MIB


@pytest.mark.parametrize("pa_bits", [40, 43, 48])
def test_the_smallest_pool_holds_all_roots_and_more(pa_bits: int) -> None:
    """Show that the roots of 17 stage 2s, the records and the canonical tables leave room."""
    root_pages = 1 if pa_bits > 43 else 1 << (pa_bits - 39)
    pages = layout.POOL_MIN_BYTES // layout.PAGE_BYTES
    records = -(-pages * PoolPage.size // layout.PAGE_BYTES)
    el2_tables = 2
    assert pages - records - el2_tables - 18 * root_pages > 512
    assert Stage2.size % 8 == 0

"""L1's memory map: what of the machine it gets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vel2.control.regions import HIDDEN_BASES, UART1_BASE, check_map, l1_regions, parange_of
from vel2.errors import UserError
from vel2.hyp.state import REGION_DEVICE, REGION_RAM, REGION_ROM
from vel2.machine.gicframes import its_control, passed_regions, redistributors
from vel2.machine.memmap import MemoryMap, Region, RegionKind

MIB = 1 << 20
RAM = 0x4000_0000
L1_BYTES = 256 * MIB
L0_BYTES = 16 * MIB
PAGE = 0x1000


def region(base: int, size: int, kind: RegionKind) -> Region:
    """Make a region that has nothing but a place and a kind."""
    return Region(base=base, size=size, kind=kind, path=f"/{kind.value}@{base:x}")


VIRT = (
    region(0x0000_0000, 64 * MIB, RegionKind.FLASH),
    region(0x0400_0000, 64 * MIB, RegionKind.FLASH),
    region(0x0800_0000, 0x1_0000, RegionKind.GIC_DISTRIBUTOR),
    region(0x0808_0000, 0x2_0000, RegionKind.GIC_ITS),
    region(0x080A_0000, 0xF6_0000, RegionKind.GIC_REDISTRIBUTOR),
    region(0x0900_0000, 0x1000, RegionKind.UART),
    region(0x0901_0000, 0x1000, RegionKind.RTC),
    region(0x0902_0000, 0x18, RegionKind.FW_CFG),
    region(UART1_BASE, 0x1000, RegionKind.UART),
    region(0x0905_0000, 0x2_0000, RegionKind.SMMU),
    *(region(0x0A00_0000 + n * 0x200, 0x200, RegionKind.VIRTIO_MMIO) for n in range(32)),
    region(0x1000_0000, 0x2EFF_0000, RegionKind.PCIE_MMIO32),
    region(0x3EFF_0000, 0x1_0000, RegionKind.PCIE_IO),
    region(RAM, L1_BYTES + L0_BYTES, RegionKind.RAM),
)


def covers(regions: list[tuple[int, int, int]], address: int) -> int | None:
    """Give the kind of the region an address is in."""
    found = [kind for base, size, kind in regions if base <= address < base + size]
    assert len(found) <= 1, "two regions overlap"
    return found[0] if found else None


def test_virts_map() -> None:
    """Show that L1 gets the board's devices, but neither UART1, fw_cfg, the SMMU nor L0."""
    regions = l1_regions(MemoryMap(VIRT), L1_BYTES, 1)
    assert covers(regions, 0) == covers(regions, 0x0400_0000) == REGION_ROM
    for address in (0x0800_0000, 0x0900_0000, 0x0901_0000, 0x0A00_3E00, 0x1000_0000, 0x3EFF_FFFF):
        assert covers(regions, address) == REGION_DEVICE
    for hidden in (UART1_BASE, UART1_BASE + 0xFFF, 0x0902_0000, 0x0905_0000, 0x0906_FFFF):
        assert covers(regions, hidden) is None
    assert covers(regions, RAM) == covers(regions, RAM + L1_BYTES - 1) == REGION_RAM
    assert covers(regions, RAM + L1_BYTES) is None
    assert covers(regions, RAM + L1_BYTES + L0_BYTES - 1) is None
    assert len(regions) < 16, "32 virtio windows are one region"


def test_without_an_smmu_l1_gets_no_device_with_dma() -> None:
    """Show that neither virtio-mmio nor anything of PCI is L1's then, and all else still is."""
    regions = l1_regions(MemoryMap(VIRT), L1_BYTES, 1, guarded=False)
    for hidden in (0x0A00_0000, 0x0A00_3E00, 0x1000_0000, 0x3EFE_FFFF, 0x3EFF_0000):
        assert covers(regions, hidden) is None
    for device in (0x0800_0000, 0x0809_0040, 0x080B_0000, 0x0900_0000, 0x0901_0000):
        assert covers(regions, device) == REGION_DEVICE
    assert covers(regions, 0) == REGION_ROM


def test_the_gics_frames_that_write_memory_are_left_out() -> None:
    """Show what L1 reaches of ITS and redistributors, and that CPUs it has not have none."""
    regions = l1_regions(MemoryMap(VIRT), L1_BYTES, 1)
    for reached in (0x0809_0040, 0x080B_0000, 0x080B_FFFF):
        assert covers(regions, reached) == REGION_DEVICE
    for address in (0x0808_0000, 0x0808_FFFF, 0x080A_0000, 0x080A_FFFF, 0x080C_0000, 0x080D_0000):
        assert covers(regions, address) is None
    assert its_control(MemoryMap(VIRT)) == 0x0808_0000
    assert redistributors(MemoryMap(VIRT), 3) == (0x080A_0000, 0x080C_0000, 0x080E_0000)
    two = list(passed_regions(MemoryMap(VIRT), 2))
    assert [r.base for r in two if r.kind is RegionKind.GIC_REDISTRIBUTOR] == [
        0x080B_0000,
        0x080D_0000,
    ]


def test_a_machine_without_an_its() -> None:
    """Show that it has no control frame, and redistributors all the same."""
    without = MemoryMap(tuple(r for r in VIRT if r.kind is not RegionKind.GIC_ITS))
    assert its_control(without) == 0
    assert covers(l1_regions(without, L1_BYTES, 1), 0x080A_0000) is None


@st.composite
def maps(draw: st.DrawFn) -> tuple[Region, ...]:
    """Draw devices that do not overlap, in order, below RAM; some share a page."""
    regions = []
    at = 0
    kinds = st.sampled_from((RegionKind.UART, RegionKind.FLASH, RegionKind.OTHER))
    for _ in range(draw(st.integers(0, 10))):
        at += draw(st.sampled_from((0, 0, 0x200, PAGE, 0x1_0000)))
        size = draw(st.sampled_from((0x18, 0x200, PAGE, 0x1800, 4 * PAGE)))
        regions.append(region(at, size, draw(kinds)))
        at += size
    return (*regions, region(RAM, L1_BYTES + L0_BYTES, RegionKind.RAM))


@settings(max_examples=100)
@given(devices=maps())
def test_regions_are_whole_pages_that_cover_every_device_once(devices: tuple[Region, ...]) -> None:
    """Show that regions are pages, in order, disjoint, and hold each device and nothing far off."""
    regions = l1_regions(MemoryMap(devices), L1_BYTES, 1)
    end = 0
    for base, size, _ in regions:
        assert base % PAGE == size % PAGE == 0 and size > 0
        assert base >= end
        end = base + size
    for device in devices[:-1]:
        assert covers(regions, device.base) is not None
        assert covers(regions, device.end - 1) is not None
    pages = {
        page
        for device in devices[:-1]
        for page in range(device.base // PAGE, -(-device.end // PAGE))
    }
    assert sum(size for _, size, _ in regions) == len(pages) * PAGE + L1_BYTES


def test_the_doorbell_is_hidden() -> None:
    """Show that it is by its address that UART1 is hidden."""
    assert frozenset({0x0904_0000}) == HIDDEN_BASES


def test_a_neighbour_does_not_bring_uart1_back() -> None:
    """Show that devices right before and after UART1 do not make its page L1's."""
    devices = (
        region(UART1_BASE - PAGE, PAGE, RegionKind.OTHER),
        region(UART1_BASE, PAGE, RegionKind.UART),
        region(UART1_BASE + PAGE, PAGE, RegionKind.OTHER),
        region(RAM, L1_BYTES + L0_BYTES, RegionKind.RAM),
    )
    regions = l1_regions(MemoryMap(devices), L1_BYTES, 1)
    assert covers(regions, UART1_BASE) is None
    assert covers(regions, UART1_BASE - 1) == covers(regions, UART1_BASE + PAGE) == REGION_DEVICE


STRANGER = region(0x0B00_0000, 0x1000, RegionKind.OTHER)
NODE = region(0x8000_0000, MIB, RegionKind.RAM)


@pytest.mark.parametrize(
    ("regions", "sentence"),
    [
        (
            (*VIRT, STRANGER),
            "the machine has /other@b000000, which is not known to leave vel2's memory alone;"
            " leave out the option that adds it.",
        ),
        (
            (*VIRT, NODE),
            "the machine's RAM is in several pieces, and vel2 needs it in one; leave -numa and"
            " memory devices out.",
        ),
        (
            tuple(each for each in VIRT if each.kind is not RegionKind.SMMU),
            "the machine has no SMMU, and vel2 needs one against DMA; leave iommu= out of"
            " -machine.",
        ),
    ],
    ids=["unknown", "numa", "no-smmu"],
)
def test_machines_that_l1_cannot_be_cut_out_of(regions: tuple[Region, ...], sentence: str) -> None:
    check_map(MemoryMap(VIRT))
    with pytest.raises(UserError) as caught:
        check_map(MemoryMap(regions))
    assert str(caught.value) == sentence


def test_an_smmu_is_needed_only_for_devices_with_dma() -> None:
    without = MemoryMap(tuple(each for each in VIRT if each.kind is not RegionKind.SMMU))
    check_map(without, guarded=False)
    with pytest.raises(UserError, match="which is not known to leave vel2's memory alone"):
        check_map(MemoryMap((*without.regions, STRANGER)), guarded=False)


@pytest.mark.parametrize(
    ("end", "parange"), [(1 << 40, 2), ((1 << 40) + 1, 3), (1 << 42, 3), (1 << 44, 4)]
)
def test_physical_addresses_are_as_small_as_the_map_allows(end: int, parange: int) -> None:
    assert parange_of([(RAM, L1_BYTES, REGION_RAM), (end - PAGE, PAGE, REGION_DEVICE)]) == parange


def test_a_map_beyond_the_smmu_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        parange_of([(1 << 44, PAGE, REGION_DEVICE)])
    assert str(caught.value) == (
        "the machine's memory map ends at 0x100000001000, and its SMMU takes 44 bits; give less"
        " memory, or smaller windows for PCI."
    )

"""What of the machine is L1's: its physical memory map, cut out of the machine's.

Two kinds of device stay L0's. Some would let L1 write to L0's memory, and nothing bounds them:
fw_cfg, and the SMMU's own registers. Others have DMA: those on PCI are L1's where L0 has an SMMU in
front of them. Without one L1 gets no device with DMA at all, and no way to find or program one.
"""

from collections.abc import Sequence

from vel2.errors import UserError
from vel2.hyp import state as resident
from vel2.machine.gicframes import passed_regions
from vel2.machine.memmap import MemoryMap, Region, RegionKind

__all__ = ("HIDDEN_BASES", "UART1_BASE", "check_map", "is_hidden", "l1_regions", "parange_of")

PAGE_BYTES = 0x1000
PARANGES = {40: 2, 42: 3, 44: 4}
"""ID_AA64MMFR0_EL1.PARange by bits. Where L1's map ends at 40, as QEMU's does, walks need no level
0, and QEMU feels each level; 44 is what its SMMU has."""
UART1_BASE = 0x0904_0000
HIDDEN_BASES = frozenset({UART1_BASE})
HIDDEN_KINDS = frozenset({RegionKind.FW_CFG, RegionKind.SMMU})
"""fw_cfg writes to any physical address on request; the SMMU bounds what other devices reach."""
DMA_KINDS = frozenset(
    {
        *(RegionKind.VIRTIO_MMIO, RegionKind.PLATFORM_BUS),
        *(RegionKind.PCIE_ECAM, RegionKind.PCIE_IO),
        *(RegionKind.PCIE_MMIO32, RegionKind.PCIE_MMIO64),
    }
)
"""Where devices are that may have DMA, and through which they are programmed."""
ROM_KINDS = frozenset({RegionKind.FLASH})


def parange_of(regions: Sequence[tuple[int, int, int]]) -> int:
    """Choose the smallest physical address size that L1's map fits.

    :raises UserError: when none of those does that the SMMU has.
    """
    end = max(base + size for base, size, _ in regions)
    for bits, parange in PARANGES.items():
        if end <= 1 << bits:
            return parange
    raise UserError(
        f"the machine's memory map ends at {end:#x}, and its SMMU takes {max(PARANGES)} bits; give"
        " less memory, or smaller windows for PCI."
    )


def check_map(memory_map: MemoryMap, *, guarded: bool = True) -> None:
    """Require a machine that L1's part can be cut out of.

    :param guarded: whether L0 needs an SMMU, because L1 gets devices with DMA.
    :raises UserError: when something is there that is not known to write no memory by itself, or
        when RAM is in several pieces, of which L0 would not be in the first.
    """
    for region in memory_map.of(RegionKind.OTHER):
        raise UserError(
            f"the machine has {region.path}, which is not known to leave vel2's memory alone;"
            " leave out the option that adds it."
        )
    if len(memory_map.of(RegionKind.RAM)) != 1:
        raise UserError(
            "the machine's RAM is in several pieces, and vel2 needs it in one; leave -numa and"
            " memory devices out."
        )
    if guarded and not memory_map.of(RegionKind.SMMU):
        raise UserError(
            "the machine has no SMMU, and vel2 needs one against DMA; leave iommu= out of -machine."
        )


def is_hidden(region: Region, *, guarded: bool = True) -> bool:
    """Whether a device of the machine is not given to L1.

    :param guarded: whether L0 has an SMMU in front of what is on PCI.
    """
    return (
        region.base in HIDDEN_BASES
        or region.kind in HIDDEN_KINDS
        or (region.kind in DMA_KINDS and not guarded)
    )


def l1_regions(
    memory_map: MemoryMap, l1_memory_bytes: int, cpus: int, *, guarded: bool = True
) -> list[tuple[int, int, int]]:
    """List L1's physical memory map as (base, size, kind): whole pages, without what is L0's."""
    regions = []
    for region in passed_regions(memory_map, cpus):
        if is_hidden(region, guarded=guarded):
            continue
        if region.kind is RegionKind.RAM:
            regions.append((region.base, l1_memory_bytes, resident.REGION_RAM))
            continue
        base = region.base & -PAGE_BYTES
        size = -(-region.end // PAGE_BYTES) * PAGE_BYTES - base
        kind = resident.REGION_ROM if region.kind in ROM_KINDS else resident.REGION_DEVICE
        if regions and regions[-1][0] + regions[-1][1] > base:
            last_base, last_size, last_kind = regions.pop()
            size = max(base + size, last_base + last_size) - last_base
            base, kind = last_base, last_kind
        elif regions and regions[-1][0] + regions[-1][1] == base and regions[-1][2] == kind:
            last_base, last_size, _ = regions.pop()
            base, size = last_base, last_size + size
        regions.append((base, size, kind))
    return regions

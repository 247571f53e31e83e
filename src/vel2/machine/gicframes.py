"""The frames of the GIC that L0 emulates, and the map without them.

A control frame of the ITS and the first frame of a redistributor have registers that make the GIC
read and write memory. L1 can reach them only through L0.
"""

from collections.abc import Iterator
from dataclasses import replace

from vel2.arch import gicv3
from vel2.machine.memmap import MemoryMap, Region, RegionKind

__all__ = ("its_control", "passed_regions", "redistributors")

FRAME = gicv3.FRAME_BYTES


def its_control(memory_map: MemoryMap) -> int:
    """Give the address of the ITS's control frame; 0 if the machine has no ITS."""
    regions = memory_map.of(RegionKind.GIC_ITS)
    return regions[0].base if regions else 0


def redistributors(memory_map: MemoryMap, cpus: int) -> tuple[int, ...]:
    """Give RD_base of the redistributor of each CPU; the map has room for many more."""
    stride = gicv3.REDISTRIBUTOR_FRAMES * FRAME
    bases = [
        base
        for region in memory_map.of(RegionKind.GIC_REDISTRIBUTOR)
        for base in range(region.base, region.end, stride)
    ]
    return tuple(bases[:cpus])


def passed_regions(memory_map: MemoryMap, cpus: int) -> Iterator[Region]:
    """Yield the map with the frames of the ITS and the redistributors that L1 reaches directly.

    For an ITS that is the frame that devices write to, for each redistributor SGI_base. L1 gets
    no redistributor of a CPU beyond those counted.
    """
    bases = redistributors(memory_map, cpus)
    for region in memory_map.regions:
        if region.kind is RegionKind.GIC_ITS:
            yield replace(region, base=region.base + FRAME, size=FRAME)
        elif region.kind is RegionKind.GIC_REDISTRIBUTOR:
            for base in bases:
                if base in region:
                    yield replace(region, base=base + FRAME, size=FRAME)
        else:
            yield region

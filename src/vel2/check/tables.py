"""L0's stage-2 tables as hardware walks them, read by the host from shared memory.

Nothing here is shared with `vel2.hyp.stage2`, which writes them, so that a mistake there shows
here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import DESC_TABLE, GRANULE_4K, S2AP, Stage2Leaf, Stage2Table
from vel2.control.vm import Vm
from vel2.hyp.state import REGION_DEVICE

__all__ = ("Leaf", "MapRange", "TableError", "input_bits", "l1_map", "leaves")

ENTRY_BYTES = 8
ENTRIES = GRANULE_4K.size // ENTRY_BYTES
LAST_LEVEL = 3
TYPE_MASK = Stage2Table.TYPE.mask | Stage2Table.VALID.mask
EXECUTE_NEVER = 0b10
"""Stage2Leaf.XN, FEAT_XNX: execute by neither EL1 nor EL0."""
DEVICE_MEMATTR = 0b1100
"""MemAttr[3:2] = 0b00 is Device of some type, whatever HCR_EL2.FWB."""


class TableError(Exception):
    """A table that hardware would walk is not one of L0's."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One block or page of a stage 2: `size` bytes from `ipa` are those from `output`."""

    ipa: int
    output: int
    size: int
    descriptor: int

    def __str__(self) -> str:
        return f"ipa={self.ipa:#x} pa={self.output:#x} size={self.size:#x} {self.descriptor:#x}"

    @property
    def s2ap(self) -> int:
        """What data accesses may do."""
        return Stage2Leaf.S2AP.get(self.descriptor)

    @property
    def is_executable(self) -> bool:
        """Whether any Exception level may execute from it."""
        return Stage2Leaf.XN.get(self.descriptor) != EXECUTE_NEVER

    @property
    def is_device(self) -> bool:
        """Whether it makes its memory Device of some type."""
        return not Stage2Leaf.MemAttr.get(self.descriptor) & DEVICE_MEMATTR


@dataclass(frozen=True, slots=True, order=True)
class MapRange:
    """A range of L1's memory map, and the most that a leaf there may allow."""

    base: int
    end: int
    is_device: bool

    def excess_of(self, leaf: Leaf) -> str:
        """Name what a leaf in this range allows beyond it; empty if nothing."""
        if not self.is_device:
            return ""
        if leaf.is_executable:
            return "execution from a device"
        return "" if leaf.is_device else "Normal memory over a device"


def input_bits(vm: Vm) -> int:
    """Give the size of the input address of every stage 2, from VTCR_EL2.T0SZ."""
    return 64 - sr.VTCR_EL2.T0SZ.get(vm.state.stage2.vtcr)


def l1_map(vm: Vm) -> list[MapRange]:
    """List L1's memory map by address, as far as stage 2 reaches; call when L0 has started."""
    limit = 1 << input_bits(vm)
    regions = [vm.state.config.regions[i] for i in range(vm.state.config.region_count)]
    return sorted(
        MapRange(region.base, min(region.base + region.length, limit), region.kind == REGION_DEVICE)
        for region in regions
        if region.base < limit
    )


def leaves(vm: Vm, root: int, seen: set[int] | None = None) -> Iterator[Leaf]:
    """Walk one stage 2 as hardware would, and give every leaf.

    :param seen: table pages that have already been walked; those of this walk are added.
    :raises TableError: at a table outside L0's pool, or one that is used twice.
    """
    level = vm.state.stage2.start_level
    count = 1 << input_bits(vm) - GRANULE_4K.level_shift(level)
    yield from _under(vm, root, level, count, 0, set() if seen is None else seen)


def _under(
    vm: Vm, table: int, level: int, count: int, start: int, seen: set[int]
) -> Iterator[Leaf]:
    pool = vm.state.config.pool_base
    size = max(count * ENTRY_BYTES, GRANULE_4K.size)
    if not pool <= table <= vm.state.stage2.pool_end - size:
        raise TableError(f"the table at {table:#x}, level {level}, is outside L0's pool")
    if table in seen:
        raise TableError(f"the table at {table:#x}, level {level}, is pointed at twice")
    seen.add(table)
    shift = GRANULE_4K.level_shift(level)
    words = vm.memory.window(table, count * ENTRY_BYTES).cast("Q")
    for index, entry in enumerate(words):
        if not Stage2Table.VALID.get(entry):
            continue
        ipa = start + (index << shift)
        if level == LAST_LEVEL or entry & TYPE_MASK != DESC_TABLE:
            yield Leaf(ipa, entry & GRANULE_4K.address_mask(level), 1 << shift, entry)
        else:
            below = entry & GRANULE_4K.table_mask
            yield from _under(vm, below, level + 1, ENTRIES, ipa, seen)


READ_WRITE = S2AP.RW
"""What every range of L1's map allows its data accesses."""

"""Is L0 as it was? What no guest may have changed, checked by the host in shared memory.

Make an `Integrity` before the machine starts, which fills the gaps of L0's memory with a canary.
Ask for `broken()` while the machine stands still (paused, or ended) and L0 has entered L1 once. It
names what is not as it must be:

- L0's image, byte for byte; what the host told L0 in the `Vm`; the canary;
- the canonical stage 2: every leaf maps L1's memory map to itself, and together they map all of it;
- the stage 2 of devices, likewise, and the SMMU's stream table, which sends every device there;
- every shadow: each leaf inside the map, with no permission and no memory type beyond it;
- what hardware can be told to walk: the roots, the VMIDs, and tables that are in L0's pool, once;
- EL2's own stage 1: nothing but the image is executable, and the image can't be written.

A program that attacks L0 is right when it ends with nothing broken. The tables are read by `tables`
and the map is the host's own: nothing is taken from the code that made them.
"""

import struct
from collections.abc import Iterator

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import DESC_TABLE, GRANULE_4K, LAST_LEVEL, SH, Stage1Leaf, Stage2Leaf
from vel2.arch.smmu import L1STD, STE0, STE1, STE2, StreamConfig
from vel2.check.tables import (
    ENTRIES,
    ENTRY_BYTES,
    READ_WRITE,
    TYPE_MASK,
    Leaf,
    MapRange,
    TableError,
    l1_map,
    leaves,
)
from vel2.control.vm import Vm
from vel2.hyp import layout, vncr
from vel2.hyp.smmu import Tables as SmmuTables
from vel2.hyp.state import SHADOW_CONTEXTS, Configuration
from vel2.hyp.state import Vcpu as ResidentVcpu
from vel2.hyp.state import Vm as ResidentVm

__all__ = ("CANARY", "Integrity")

CANARY = 0x7665_6C32_C0DE_C0DE
"""Neither a valid descriptor nor an address of anything."""
VMID_SHIFT = 48
CANONICAL_VMID = 1
FIRST_SHADOW_VMID = 2
LEVEL_1, LEVEL_2 = 1, 2
STREAM_BITS, STREAM_SPLIT = 16, 8
UNUSABLE = Stage2Leaf.Contiguous.mask | Stage2Leaf.OA_HIGH.mask
"""Bits of a leaf that would reach further than its address and size say."""
NEVER_WRITTEN = 0b10
"""Stage1Leaf.AP[2:1] with bit 2 set is read-only, at EL2."""
SHOWN = 4
"""How many findings of one kind are listed; the rest are counted."""


class Integrity:
    """What L0's memory must be like.

    :param vm: loaded, not started.
    :param canary: eight bytes to fill the gaps with.
    :param like: another one, of a VM with the same memory map, that has found its canonical
        stage 2 whole: if the bytes are the same here, it need not be walked again.
    """

    def __init__(self, vm: Vm, canary: int = CANARY, like: "Integrity | None" = None) -> None:
        self.vm = vm
        self._canary = canary.to_bytes(8, "little")
        self._gaps = list(gaps(vm))
        for start, size in self._gaps:
            vm.memory.write(start, self._canary * (size // 8))
        self._told = self._told_by_host()
        self._canonical: dict[int, bytes] = {} if like is None else like._canonical

    def broken(self) -> list[str]:
        """Name everything that has changed and must not; empty when L0 is whole."""
        found = [*self._memory(), *self._roots(), *self._own_stage1(), *self._stream_table()]
        tables: set[int] = set()
        walked = ("canonical", self.vm.state.stage2.canonical.root, self._canonical_leaves)
        devices = ("devices", self.vm.state.stage2.devices.root, self._canonical_findings)
        shadows = [
            (f"shadow {i}", self.vm.state.stage2.shadows[i].root, self._shadow_leaves)
            for i in range(SHADOW_CONTEXTS)
        ]
        for name, root, findings in (walked, devices, *shadows):
            try:
                told = list(findings(root, tables))
            except TableError as error:
                told = [str(error)]
            found += [f"{name}: {what}" for what in told[:SHOWN]]
            if len(told) > SHOWN:
                found.append(f"{name}: and {len(told) - SHOWN} more")
        return found

    def _told_by_host(self) -> bytes:
        """Give what the host wrote into the `Vm`, which must stay as it is."""
        return self.vm.memory.read(self._vm_base, Configuration.size)

    @property
    def _vm_base(self) -> int:
        return self.vm.l0_base + layout.VM_OFFSET

    def _memory(self) -> Iterator[str]:
        image = self.vm.image.data
        if self.vm.memory.read(self.vm.l0_base, len(image)) != image:
            yield "L0's image was changed"
        if self._told_by_host() != self._told:
            yield "what the host told L0 was changed"
        for start, size in self._gaps:
            now = self.vm.memory.read(start, size)
            if now != self._canary * (size // 8):
                changed = next(i for i in range(size) if now[i] != self._canary[i % 8])
                yield f"the canary at {start + changed:#x} was changed"

    def _roots(self) -> Iterator[str]:
        """Check what L0 loads into VTTBR_EL2."""
        state = self.vm.state
        canonical = state.stage2.canonical.root
        if state.stage2.canonical.vttbr != canonical | CANONICAL_VMID << VMID_SHIFT:
            yield f"canonical: VTTBR_EL2 would be {state.stage2.canonical.vttbr:#x}"
        for i in range(SHADOW_CONTEXTS):
            shadow = state.stage2.shadows[i]
            vmid = (FIRST_SHADOW_VMID + i) << VMID_SHIFT
            if shadow.vttbr not in (shadow.root | vmid, canonical | vmid):
                yield f"shadow {i}: VTTBR_EL2 would be {shadow.vttbr:#x}"

    def _canonical_leaves(self, root: int, tables: set[int]) -> Iterator[str]:
        if self._canonical and self._is_unchanged(self._canonical):
            tables.update(self._canonical)
            return
        before = set(tables)
        found = list(self._canonical_findings(root, tables))
        yield from found
        if not found:
            pages = tables - before - {root}
            self._canonical = {at: self.vm.memory.read(at, GRANULE_4K.size) for at in pages}
            self._canonical[root] = self.vm.memory.read(root, self._root_bytes)

    @property
    def _root_bytes(self) -> int:
        return self.vm.state.stage2.shadows[0].root - self.vm.state.stage2.canonical.root

    def _is_unchanged(self, pages: dict[int, bytes]) -> bool:
        return all(self.vm.memory.read(at, len(data)) == data for at, data in pages.items())

    def _canonical_findings(self, root: int, tables: set[int]) -> Iterator[str]:
        ranges = l1_map(self.vm)
        mapped = 0
        for leaf in leaves(self.vm, root, tables):
            mapped += leaf.size
            if leaf.output != leaf.ipa:
                yield f"{leaf} is not the identity"
            yield from beyond(leaf, ranges)
            if leaf.s2ap != READ_WRITE:
                yield f"{leaf} is not read-write"
        wanted = sum(each.end - each.base for each in ranges)
        if mapped != wanted:
            yield f"{mapped:#x} bytes are mapped, and the memory map has {wanted:#x}"

    def _shadow_leaves(self, root: int, tables: set[int]) -> Iterator[str]:
        ranges = l1_map(self.vm)
        for leaf in leaves(self.vm, root, tables):
            yield from beyond(leaf, ranges)

    def _stream_table(self) -> Iterator[str]:
        """Check that every StreamID has stage 2 alone, by the tables of devices."""
        base = self.vm.l0_base + layout.SMMU_OFFSET
        second = base + SmmuTables.second.offset
        descriptor = second | L1STD.Span.put(STREAM_SPLIT + 1)
        wanted = stream_entry(self.vm)
        entries = self.vm.memory.window(second, len(wanted) << STREAM_SPLIT)
        for number in range(1 << STREAM_SPLIT):
            found = entries[number * len(wanted) : (number + 1) * len(wanted)]
            if found != wanted:
                yield f"stream table: entry {number:#x} is {found.hex()}"
        first = self.vm.memory.window(
            base + SmmuTables.first.offset, 8 << STREAM_BITS - STREAM_SPLIT
        )
        for number, word in enumerate(first.cast("Q")):
            if word != descriptor:
                yield f"stream table: descriptor {number:#x} is {word:#x}"

    def _own_stage1(self) -> Iterator[str]:
        """Check EL2's stage 1: the two pages behind the pool, levels 1 and 2."""
        level1 = self.vm.state.stage2.pool_end
        image = self.vm.l0_base
        table = image >> GRANULE_4K.level_shift(LEVEL_1)
        for level, at in ((LEVEL_1, level1), (LEVEL_2, level1 + GRANULE_4K.size)):
            words = self.vm.memory.window(at, ENTRIES * ENTRY_BYTES).cast("Q")
            shift = GRANULE_4K.level_shift(level)
            for index, entry in enumerate(words):
                if level == LEVEL_1 and index == table:
                    if entry != level1 + GRANULE_4K.size | DESC_TABLE:
                        yield f"EL2's stage 1: {entry:#x} is not the table of L0's gigabyte"
                    continue
                if level == LEVEL_1 and index == vncr.GIGABYTE:
                    yield from self._windows(entry)
                    continue
                start = index << shift
                if level == LEVEL_2:
                    start += table << GRANULE_4K.level_shift(LEVEL_1)
                yield from own_block(entry, start, level, image)

    def _windows(self, entry: int) -> Iterator[str]:
        """Check the windows to L1's own VNCR pages: one for each pcpu, on L1's RAM or nothing."""
        level2 = self.vm.l0_base + layout.VNCR_TABLES_OFFSET
        level3 = level2 + layout.PAGE_BYTES
        config = self.vm.state.config
        upper = self.vm.memory.window(level2, ENTRIES * ENTRY_BYTES).cast("Q")
        if entry != level2 | DESC_TABLE or upper[0] != level3 | DESC_TABLE or any(upper[1:]):
            yield "EL2's stage 1: the tables of the windows are not L0's"
        for index, leaf in enumerate(self.vm.memory.window(level3, layout.PAGE_BYTES).cast("Q")):
            output = leaf & GRANULE_4K.address_mask(LAST_LEVEL)
            is_ram = config.ram_base <= output < config.ram_end
            if leaf and not (index < config.cpu_count and is_ram and Stage1Leaf.UXN.get(leaf)):
                yield f"EL2's stage 1: window {index} is {leaf:#x}"


def stream_entry(vm: Vm) -> bytes:
    """Give the stream table entry that a device of L1 must have (STE of SMMUv3, 64 bytes)."""
    vtcr = sr.VTCR_EL2(vm.state.stage2.vtcr)
    words = (
        STE0.compose(V=1, Config=StreamConfig.STAGE2),
        STE1.compose(SHCFG=1),
        STE2.compose(
            S2VMID=FIRST_SHADOW_VMID + SHADOW_CONTEXTS,
            S2T0SZ=vtcr.T0SZ,
            S2SL0=vtcr.SL0,
            S2IR0=1,
            S2OR0=1,
            S2SH0=SH.INNER,
            S2PS=vtcr.PS,
            S2AA64=1,
            S2AFFD=1,
        ),
        vm.state.stage2.devices.root,
    )
    return struct.pack("<8Q", *words, 0, 0, 0, 0)


def own_block(entry: int, start: int, level: int, image: int) -> Iterator[str]:
    """Check one block of EL2's stage 1."""
    is_image = level == LEVEL_2 and start == image
    if entry & TYPE_MASK == DESC_TABLE or entry & GRANULE_4K.address_mask(level) != start:
        yield f"EL2's stage 1: {entry:#x} does not map {start:#x} to itself"
    if is_image and not Stage1Leaf.AP.get(entry) & NEVER_WRITTEN:
        yield f"EL2's stage 1: {entry:#x} lets L0's image be written"
    if not is_image and not Stage1Leaf.UXN.get(entry):
        yield f"EL2's stage 1: {entry:#x} is executable"


def beyond(leaf: Leaf, ranges: list[MapRange]) -> Iterator[str]:
    """Name what a leaf maps or allows beyond what is L1's."""
    if leaf.descriptor & UNUSABLE:
        yield f"{leaf} has bits that L0 does not use"
    here = leaf.output
    for each in ranges:
        if not each.base <= here < each.end:
            continue
        here = min(each.end, leaf.output + leaf.size)
        excess = each.excess_of(leaf)
        if excess:
            yield f"{leaf} allows {excess}"
        if here == leaf.output + leaf.size:
            return
    yield f"{leaf} reaches {here:#x}, which is not L1's"


def gaps(vm: Vm) -> Iterator[tuple[int, int]]:
    """Give the parts of L0's memory that nothing uses, the end of the stack too: address, size."""
    per_cpu = layout.PCPU_OFFSET
    page = layout.PAGE_BYTES
    used = (
        (len(vm.image.data), layout.IMAGE_MAX_BYTES),
        (layout.VM_OFFSET + ResidentVm.size, layout.PCPU_OFFSET),
        (per_cpu, per_cpu + page),
        (per_cpu + layout.VCPU_IN_PCPU + ResidentVcpu.size, per_cpu + layout.VNCR_IN_PCPU),
        (per_cpu + layout.VNCR_IN_PCPU + page, per_cpu + layout.PCPU_BYTES),
    )
    for start, end in used:
        aligned = start + 7 & ~7
        if aligned < end:
            yield vm.l0_base + aligned, end - aligned

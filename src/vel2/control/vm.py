"""A VM under vel2: the machine, L0's image, L1's images, and L0's state while it runs.

Everything is in place before the machine starts: the kernel, initrd and device tree of L1 from the
bottom of RAM, L0's block above L1's part. L0 is entered at real EL2 and enters L1 at virtual EL2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vel2.arch.nesting import Kind, Level
from vel2.control import counters
from vel2.control.counters import TrapCount
from vel2.control.watch import Hang, Watch, progress
from vel2.errors import UserError
from vel2.hyp import ahead, image, layout, start
from vel2.hyp import state as resident
from vel2.hyp.outcome import Fatal, Stop
from vel2.machine.admission import admit_devices
from vel2.machine.boot import load_guest
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.console import Console
from vel2.machine.domains import Domain
from vel2.machine.dtb import Seeds, l1_device_tree, qemu_device_tree
from vel2.machine.gicframes import its_control, passed_regions, redistributors
from vel2.machine.loader import KernelImage
from vel2.machine.memmap import MemoryMap, Region, RegionKind, read_memory_map
from vel2.machine.memory import RAM_BASE, GuestMemory, format_size
from vel2.machine.outcome import MachineExit
from vel2.machine.qemu import Machine, MachineConfig

__all__ = ("FatalStop", "Vm", "VmConfig")

MIB = 1 << 20
GUEST_KINDS = {Kind.VHE: resident.GUEST_VHE, Kind.NVHE: resident.GUEST_NVHE}
NV_LEVELS = {Level.NV2: resident.LEVEL_NV2, Level.NV: resident.LEVEL_NV}
PARANGES = {40: 2, 42: 3, 44: 4}
"""ID_AA64MMFR0_EL1.PARange by bits. Where L1's map ends at 40, as QEMU's does, walks need no level
0, and QEMU feels each level; 44 is what its SMMU has."""
UART1_BASE = 0x0904_0000
HIDDEN_BASES = frozenset({UART1_BASE})
HIDDEN_KINDS = frozenset({RegionKind.FW_CFG, RegionKind.SMMU})
"""fw_cfg writes to any physical address on request; the SMMU bounds what other devices reach."""
FIXED_SEEDS = Seeds(rng=bytes(range(64)), kaslr=0x5EED)
LACKING = {
    start.NEEDS_NV2: "FEAT_NV2",
    start.NEEDS_VHE: "FEAT_VHE",
    start.NEEDS_GICV3: "the GICv3 system registers",
    start.NEEDS_POOL: "enough memory for L0's tables",
    start.NEEDS_ECV: "FEAT_ECV",
    start.NEEDS_GIC: "a GICv3 that L0 can take over",
    start.NEEDS_SMMU: "an SMMUv3 that L0 can take over",
}
"""What `hyp.start` asks for and did not find."""
PAGE_BYTES = 0x1000
QEMU_TREE_BYTES = 1 * MIB
"""What QEMU writes to the start of RAM, most of it empty."""
CPUS = layout.MAX_PCPUS
ROM_KINDS = frozenset({RegionKind.FLASH})


@dataclass(frozen=True)
class VmConfig:
    """What to run at virtual EL2: a kernel, or firmware, which then finds its own.

    :ivar firmware: file for the flash at address 0. It finds L1's device tree where QEMU's `virt`
        board has it for firmware, at the start of RAM.
    :ivar memory_bytes: L1's RAM; a multiple of 2 MiB. L0's own comes on top.
    :ivar cpu: QEMU's `-cpu`, with FEAT_NV2.
    :ivar append: L1's kernel command line.
    :ivar domains: what an L1 such as Xen starts by itself when it boots.
    :ivar ahead: whether one trap may do several accesses of L1 (`hyp.ahead`); off to compare.
    :ivar edit_tree: called with L1's open device tree, to add to it.
    """

    kernel: KernelImage | None = None
    initrd: bytes = b""
    append: str = ""
    memory_bytes: int = 2048 * MIB
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    cpu: str = DEFAULT_CPU
    deterministic: bool = False
    qemu_arguments: tuple[str, ...] = ()
    edit_tree: Callable[[Any], None] | None = None
    domains: tuple[Domain, ...] = ()
    firmware: Path | None = None
    ahead: bool = True

    def __post_init__(self) -> None:
        if (self.kernel is None) == (self.firmware is None):
            raise ValueError("a VM boots either a kernel or firmware")
        if self.firmware is not None and (self.initrd or self.domains):
            raise ValueError("initrd and domains are for a kernel")


@dataclass(frozen=True)
class FatalStop:
    """L0 stopped on a broken invariant of its own: which, and the state of EL2."""

    code: Fatal
    detail: int
    esr: int
    elr: int
    far: int
    where: str

    def __str__(self) -> str:
        return (
            f"L0 stopped: {self.code.name} ({self.detail:#x}) esr={self.esr:#x} elr={self.elr:#x}"
            f" far={self.far:#x} in {self.where}"
        )


@dataclass
class Vm:
    """One VM: enter it to start the machine, leave it to end the machine.

    :raises UserError: on construction, when the images do not fit or the machine cannot be
        described.
    """

    config: VmConfig
    _machine: Machine = field(init=False)
    _firmware_tree: bytes = field(init=False, default=b"")
    _watch: Watch | None = field(init=False, default=None)
    _hang: Hang | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        l1_bytes = self.config.memory_bytes
        if l1_bytes <= 0 or l1_bytes % layout.BLOCK_BYTES:
            raise UserError(
                f"L1 cannot have {format_size(l1_bytes)} of memory;"
                " give a multiple of 2 MiB, such as 2G."
            )
        self.l0_base = RAM_BASE + l1_bytes
        self.l0_bytes = layout.l0_bytes(l1_bytes)
        machine = MachineConfig(
            memory_bytes=l1_bytes + self.l0_bytes,
            cpu=self.config.cpu,
            deterministic=self.config.deterministic,
            firmware=self.config.firmware,
            smmu=True,
            start_paused=True,
            extra_arguments=self.config.qemu_arguments,
        )
        # Whether QEMU makes such a machine is known at once; compiling takes its time.
        tree = qemu_device_tree(machine)
        check_map(read_memory_map(tree))
        self.image = image.build(self.l0_base)
        machine = replace(machine, entry=self.image.symbols["entry"])
        self.memory = GuestMemory(machine.memory_bytes)
        try:
            self._load(tree)
        except BaseException:
            self.memory.close()
            raise
        self._machine = Machine(machine, self.memory)

    def _load(self, tree: bytes) -> None:
        """Put everything into RAM."""
        config = self.config
        memory_map = read_memory_map(tree)
        seeds = FIXED_SEEDS if config.deterministic else Seeds()
        hidden = [region.path for region in memory_map.regions if is_hidden(region)]
        entry_pc, entry_x0 = memory_map.one(RegionKind.FLASH).base, 0
        if config.kernel is None:
            self._firmware_tree = l1_device_tree(
                tree,
                config.memory_bytes,
                config.append,
                seeds=seeds,
                remove=hidden,
                edit=config.edit_tree,
            )
        else:
            placement = load_guest(
                self.memory,
                tree,
                config.memory_bytes,
                config.kernel,
                config.initrd,
                config.append,
                domains=config.domains,
                seeds=seeds,
                remove=hidden,
                edit=config.edit_tree,
            )
            entry_pc, entry_x0 = placement.entry, placement.dtb_address
        self.memory.write(self.l0_base, self.image.data)
        vm = self.state
        vm.l0_base = self.l0_base
        vm.l0_size = self.l0_bytes
        vm.pool_base = self.l0_base + layout.POOL_OFFSET
        vm.pool_size = layout.pool_bytes(config.memory_bytes)
        vm.guest_kind = GUEST_KINDS[config.el2]
        vm.nv_level = NV_LEVELS[config.nv]
        vm.ahead = ahead.BUDGET if config.ahead else 0
        vm.entry_pc = entry_pc
        vm.entry_x0 = entry_x0
        vm.gic = self.l0_base + layout.GIC_OFFSET
        vm.its_control = its_control(memory_map)
        for index, base in enumerate(redistributors(memory_map, CPUS)):
            vm.redistributors[index] = base
            vm.redistributor_count = index + 1
        regions = l1_regions(memory_map, config.memory_bytes)
        vm.smmu_base = memory_map.one(RegionKind.SMMU).base
        vm.ram_base = RAM_BASE
        vm.ram_end = RAM_BASE + config.memory_bytes
        vm.canonical_by_pages = 1
        vm.max_parange = parange_of(regions)
        if len(regions) > resident.MAX_REGIONS:
            raise UserError(
                f"the machine has {len(regions)} memory regions; vel2 takes {resident.MAX_REGIONS}:"
                " use fewer devices."
            )
        vm.region_count = len(regions)
        for index, (base, size, kind) in enumerate(regions):
            vm.regions[index].base = base
            vm.regions[index].length = size
            vm.regions[index].kind = kind

    @property
    def state(self) -> resident.Vm:
        """L0's `Vm`, live."""
        return resident.Vm(self.memory.window(self.l0_base + layout.VM_OFFSET, layout.VM_MAX_BYTES))

    def vcpu(self, index: int = 0) -> resident.Vcpu:
        """One vCPU's state, live."""
        base = self.l0_base + layout.PCPU_OFFSET + index * layout.PCPU_BYTES + layout.VCPU_IN_PCPU
        return resident.Vcpu(self.memory.window(base, resident.Vcpu.size))

    @property
    def console(self) -> Console:
        """L1's console."""
        return self._machine.console

    @property
    def machine(self) -> Machine:
        """The machine below."""
        return self._machine

    def __enter__(self) -> Self:
        """Start the machine.

        :raises UserError: when it has a device that may reach past L1's memory.
        """
        self._machine.__enter__()
        try:
            self._prepare()
        except BaseException:
            self._machine.close()
            raise
        self._watch = Watch(
            self._machine.monitor, self._progress, self._name_of, self._end_because_of
        )
        self._watch.start()
        return self

    def _prepare(self) -> None:
        """Do what is left to do when the machine is there and nothing has run yet."""
        admit_devices(self._machine.monitor)
        if self.config.firmware is not None:
            # QEMU has put its own tree there, which names what is L0's.
            self.memory.write(RAM_BASE, self._firmware_tree.ljust(QEMU_TREE_BYTES, b"\0"))
        if not self._machine.config.waits:
            self._machine.monitor.execute("cont")

    def _progress(self) -> tuple[int, ...]:
        return progress(self.vcpu(), self.state.pool_used)

    def _name_of(self, pc: int) -> str:
        """Name a place of L0, with its source line where there is one."""
        symbol = self.image.symbol_at(pc) or "no code of L0"
        line = self.image.source_at(pc)
        return f"{symbol} ({line})" if line else symbol

    def _end_because_of(self, hang: Hang) -> None:
        self._hang = hang
        self._machine.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the machine; L0's state stays readable until `close`."""
        if self._watch is not None:
            self._watch.end()
        self._machine.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine."""
        return self._machine.wait(timeout)

    def stop(self) -> None:
        """End the machine now."""
        self._machine.stop()

    @property
    def stop_reason(self) -> Stop:
        """Why L0 stopped the machine; RUNNING when it did not."""
        return Stop(self.state.stop_reason)

    @property
    def fatal(self) -> FatalStop | Hang | None:
        """The broken invariant L0 stopped at, or where it hangs, or None."""
        vm = self.state
        if self._hang is not None:
            return self._hang
        if vm.fatal_code == Fatal.NONE:
            return None
        where = self.image.symbol_at(vm.fatal_elr) or "the guest"
        return FatalStop(
            Fatal(vm.fatal_code),
            vm.fatal_detail,
            vm.fatal_esr,
            vm.fatal_elr,
            vm.fatal_far,
            where,
        )

    @property
    def lacking(self) -> str:
        """What the machine below has not, so that L0 would not start; empty when it has all."""
        vm = self.state
        if vm.fatal_code != Fatal.BAD_MACHINE:
            return ""
        return LACKING.get(vm.fatal_detail & 0xFF, f"what it needs ({vm.fatal_detail:#x})")

    def traps(self) -> list[TrapCount]:
        """Give the traps taken so far, by exception class and context."""
        return counters.traps(self.vcpu())

    def sysreg_traps(self) -> dict[str, int]:
        """Give the system registers and instructions that trapped, by name."""
        return counters.sysreg_traps(self.vcpu())


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


def check_map(memory_map: MemoryMap) -> None:
    """Require a machine that L1's part can be cut out of.

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
    if not memory_map.of(RegionKind.SMMU):
        raise UserError(
            "the machine has no SMMU, and vel2 needs one against DMA; leave iommu= out of -machine."
        )


def is_hidden(region: Region) -> bool:
    """Whether a device of the machine is not given to L1."""
    return region.base in HIDDEN_BASES or region.kind in HIDDEN_KINDS


def l1_regions(memory_map: MemoryMap, l1_memory_bytes: int) -> list[tuple[int, int, int]]:
    """List L1's physical memory map as (base, size, kind): whole pages, without what is L0's."""
    regions = []
    for region in passed_regions(memory_map, CPUS):
        if is_hidden(region):
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

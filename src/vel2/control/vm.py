"""A VM under vel2: the machine with L0's image above L1's memory, and L0's state while it runs.

Everything is in place before the machine starts: the kernel, initrd and device tree of L1 from the
bottom of RAM, L0's block above L1's part. L0 is entered at real EL2 and enters L1 at virtual EL2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from vel2.arch.nesting import Kind, Level
from vel2.control import counters
from vel2.control.counters import TrapCount
from vel2.control.guest import Board, Start
from vel2.control.request import Request
from vel2.control.session import Session
from vel2.control.watch import Hang, Watch, progress
from vel2.errors import UserError
from vel2.hyp import ahead, image, layout, start
from vel2.hyp import state as resident
from vel2.hyp.outcome import Fatal, Stop
from vel2.machine.admission import admit_devices
from vel2.machine.gicframes import its_control, passed_regions, redistributors
from vel2.machine.memmap import MemoryMap, Region, RegionKind, read_memory_map
from vel2.machine.memory import RAM_BASE, format_size
from vel2.machine.outcome import MachineExit
from vel2.machine.qemu import MachineConfig

__all__ = ("FatalStop", "Vm")

UNABLE = 3
"""The exit code of a command on a machine that cannot run vel2."""
GUEST_KINDS = {Kind.VHE: resident.GUEST_VHE, Kind.NVHE: resident.GUEST_NVHE}
NV_LEVELS = {Level.NV2: resident.LEVEL_NV2, Level.NV: resident.LEVEL_NV}
PARANGES = {40: 2, 42: 3, 44: 4}
"""ID_AA64MMFR0_EL1.PARange by bits. Where L1's map ends at 40, as QEMU's does, walks need no level
0, and QEMU feels each level; 44 is what its SMMU has."""
UART1_BASE = 0x0904_0000
HIDDEN_BASES = frozenset({UART1_BASE})
HIDDEN_KINDS = frozenset({RegionKind.FW_CFG, RegionKind.SMMU})
"""fw_cfg writes to any physical address on request; the SMMU bounds what other devices reach."""
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
MAX_CPUS = layout.MAX_PCPUS
ROM_KINDS = frozenset({RegionKind.FLASH})


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


class Vm(Session):
    """A machine with L0 at EL2, and the guest as L1.

    :raises UserError: on construction, when the images do not fit or the machine cannot be
        described.
    """

    def __init__(self, request: Request) -> None:
        l1_bytes = request.memory_bytes
        if l1_bytes <= 0 or l1_bytes % layout.BLOCK_BYTES:
            raise UserError(
                f"L1 cannot have {format_size(l1_bytes)} of memory;"
                " give a multiple of 2 MiB, such as 2G."
            )
        if not 1 <= request.smp <= MAX_CPUS:
            raise UserError(f"L1 cannot have {request.smp} CPUs; give 1 to {MAX_CPUS}.")
        self.l0_base = RAM_BASE + l1_bytes
        self.l0_bytes = layout.l0_bytes(l1_bytes)
        self._watch: Watch | None = None
        self._hang: Hang | None = None
        super().__init__(request)

    def _describe(self) -> MachineConfig:
        config = super()._describe()
        return replace(config, memory_bytes=config.memory_bytes + self.l0_bytes, smmu=True)

    def _examine(self, tree: bytes) -> None:
        self._map = read_memory_map(tree)
        check_map(self._map)

    def _board(self, tree: bytes) -> Board:
        hidden = [region.path for region in self._map.regions if is_hidden(region)]
        return replace(super()._board(tree), hidden=hidden)

    def _enter_at(self, start: Start) -> int:
        """Put L0 above L1's memory, and tell it what to run."""
        self.image = image.build(self.l0_base)
        self.memory.write(self.l0_base, self.image.data)
        self._configure(start)
        self._describe_machine()
        return self.image.symbols["entry"]

    def _configure(self, start: Start) -> None:
        """Write what L0 is to do."""
        request = self.request
        config = self.state.config
        config.l0_base = self.l0_base
        config.pool_base = self.l0_base + layout.POOL_OFFSET
        config.pool_size = layout.pool_bytes(request.memory_bytes)
        config.guest_kind = GUEST_KINDS[request.el2]
        config.nv_level = NV_LEVELS[request.nv]
        config.ahead = ahead.BUDGET if request.ahead else 0
        first = self.vcpu().power
        first.entry_pc = start.pc
        first.entry_x0 = start.x0
        config.canonical_by_pages = 1

    def _describe_machine(self) -> None:
        """Write what machine L0 is on, and L1's memory map.

        :raises UserError: when it is larger than L0 can keep.
        """
        config, memory_map = self.state.config, self._map
        config.gic = self.l0_base + layout.GIC_OFFSET
        config.its_control = its_control(memory_map)
        for index, base in enumerate(redistributors(memory_map, self.request.smp)):
            config.redistributors[index] = base
            config.redistributor_count = index + 1
        config.pcpus = self.l0_base + layout.PCPU_OFFSET
        config.cpu_count = self.request.smp
        regions = l1_regions(memory_map, self.request.memory_bytes, self.request.smp)
        config.smmu_base = memory_map.one(RegionKind.SMMU).base
        config.ram_base = RAM_BASE
        config.ram_end = RAM_BASE + self.request.memory_bytes
        config.max_parange = parange_of(regions)
        if len(regions) > resident.MAX_REGIONS:
            raise UserError(
                f"the machine has {len(regions)} memory regions; vel2 takes {resident.MAX_REGIONS}:"
                " use fewer devices."
            )
        config.region_count = len(regions)
        for index, (base, size, kind) in enumerate(regions):
            config.regions[index].base = base
            config.regions[index].length = size
            config.regions[index].kind = kind

    @property
    def state(self) -> resident.Vm:
        """L0's `Vm`, live."""
        return resident.Vm(self.memory.window(self.l0_base + layout.VM_OFFSET, layout.VM_MAX_BYTES))

    def vcpu(self, index: int = 0) -> resident.Vcpu:
        """One vCPU's state, live."""
        base = self.l0_base + layout.PCPU_OFFSET + index * layout.PCPU_BYTES + layout.VCPU_IN_PCPU
        return resident.Vcpu(self.memory.window(base, resident.Vcpu.size))

    @property
    def vcpus(self) -> list[resident.Vcpu]:
        """The state of all vCPUs, live."""
        return [self.vcpu(index) for index in range(self.request.smp)]

    def _admit(self) -> None:
        admit_devices(self.monitor, self.request.smp)

    def __enter__(self) -> Self:
        """Start the machine, and watch L0.

        :raises UserError: when it has a device that may reach past L1's memory.
        """
        super().__enter__()
        self._watch = Watch(self.monitor, self._progress, self._name_of, self._end_because_of)
        self._watch.start()
        return self

    def _progress(self, cpu: int) -> tuple[int, ...]:
        return progress(self.vcpu(cpu), self.state.stage2.pool_used)

    def _name_of(self, pc: int) -> str:
        """Name a place of L0, with its source line where there is one."""
        symbol = self.image.symbol_at(pc) or "no code of L0"
        line = self.image.source_at(pc)
        return f"{symbol} ({line})" if line else symbol

    def _end_because_of(self, hang: Hang) -> None:
        self._hang = hang
        self.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the machine; L0's state stays readable until `close`."""
        if self._watch is not None:
            self._watch.end()
        super().__exit__(kind, error, traceback)

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine.

        :raises UserError: when L0 would not start, which is no fault of its own.
        """
        ended = super().wait(timeout)
        if self.lacking:
            raise self._unable()
        return ended

    def _unable(self) -> UserError:
        """Say what L0 does not find in this machine."""
        if self.request.qemu_arguments:
            return UserError(
                f"what follows -- makes a machine without {self.lacking}, which vel2 needs; leave"
                " -cpu out, or take features from `-cpu max`, as in -cpu max,sve=off."
            )
        error = UserError(f"QEMU's machine lacks {self.lacking}; `vel2 doctor` says what to do.")
        error.exit_code = UNABLE
        return error

    @property
    def stop_reason(self) -> Stop:
        """Why L0 stopped the machine; RUNNING when it did not."""
        return Stop(self.state.post_mortem.stop_reason)

    @property
    def fatal(self) -> FatalStop | Hang | None:
        """The broken invariant L0 stopped at, or where it hangs, or None."""
        ended = self.state.post_mortem
        if self._hang is not None:
            return self._hang
        if ended.fatal_code == Fatal.NONE:
            return None
        where = self.image.symbol_at(ended.fatal_elr) or "the guest"
        return FatalStop(
            Fatal(ended.fatal_code),
            ended.fatal_detail,
            ended.fatal_esr,
            ended.fatal_elr,
            ended.fatal_far,
            where,
        )

    @property
    def lacking(self) -> str:
        """What the machine below has not, so that L0 would not start; empty when it has all."""
        ended = self.state.post_mortem
        if ended.fatal_code != Fatal.BAD_MACHINE:
            return ""
        return LACKING.get(ended.fatal_detail & 0xFF, f"what it needs ({ended.fatal_detail:#x})")

    def traps(self) -> list[TrapCount]:
        """Give the traps taken so far, by exception class and context."""
        return counters.traps(self.vcpus)

    def sysreg_traps(self) -> dict[str, int]:
        """Give the system registers and instructions that trapped, by name."""
        return counters.sysreg_traps(self.vcpus)


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


def l1_regions(
    memory_map: MemoryMap, l1_memory_bytes: int, cpus: int
) -> list[tuple[int, int, int]]:
    """List L1's physical memory map as (base, size, kind): whole pages, without what is L0's."""
    regions = []
    for region in passed_regions(memory_map, cpus):
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

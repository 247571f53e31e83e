"""L0 in a machine's memory: what is put there before it starts, and what it says afterwards.

It lies right above L1's part of RAM, whoever starts the machine: `vm` has QEMU enter it, and `pack`
puts it into a file for any boot loader. An L0 in a guest's memory is found by the host, too: L1's
physical addresses are the machine's.
"""

from dataclasses import dataclass

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Start
from vel2.control.regions import l1_regions, parange_of
from vel2.errors import UserError
from vel2.hyp import ahead, image, layout, start
from vel2.hyp import state as resident
from vel2.hyp.gicstate import Gic
from vel2.hyp.mailbox import Mailbox
from vel2.hyp.outcome import Fatal, Stop
from vel2.hyp.pcpu import ON
from vel2.lang import Image
from vel2.machine.gicframes import its_control, redistributors
from vel2.machine.memmap import MemoryMap, RegionKind
from vel2.machine.memory import RAM_BASE, GuestMemory, format_size
from vel2.trace.schema import EVENT_BYTES

__all__ = ("L0", "MAX_CPUS", "FatalStop", "Orders", "check_l1")

MAX_CPUS = layout.MAX_PCPUS
GUEST_KINDS = {Kind.VHE: resident.GUEST_VHE, Kind.NVHE: resident.GUEST_NVHE}
NV_LEVELS = {Level.NV2: resident.LEVEL_NV2, Level.NV: resident.LEVEL_NV}
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


@dataclass(frozen=True)
class Orders:
    """What L0 is to do, on whatever machine.

    :ivar l1_bytes: L1's memory. :ivar cpus: L1's. :ivar el2, nv, ahead, recursion, shows_vhe: as of
        `Request`. :ivar ring_slots: for how many events each pcpu has room, a power of two or 0.
    """

    l1_bytes: int
    el2: Kind = Kind.VHE
    nv: Level = Level.NV2
    cpus: int = 1
    ahead: bool = True
    recursion: bool = False
    shows_vhe: bool = False
    ring_slots: int = 0


def check_l1(memory_bytes: int, cpus: int) -> None:
    """Require an L1 of a size that L0 can be laid out for.

    :raises UserError: when it is not.
    """
    if memory_bytes <= 0 or memory_bytes % layout.BLOCK_BYTES:
        raise UserError(
            f"L1 cannot have {format_size(memory_bytes)} of memory;"
            " give a multiple of 2 MiB, such as 2G."
        )
    if not 1 <= cpus <= MAX_CPUS:
        raise UserError(f"L1 cannot have {cpus} CPUs; give 1 to {MAX_CPUS}.")


class L0:
    """L0 above the first `l1_bytes` of a machine's RAM.

    :ivar base, size: its part of RAM. :ivar image: its code, as linked for that place.
    """

    def __init__(self, memory: GuestMemory, orders: Orders) -> None:
        self.memory = memory
        self.orders = orders
        self.base = RAM_BASE + orders.l1_bytes
        self._rings = self.base + layout.l0_bytes(orders.l1_bytes)
        rings = layout.rings_bytes(orders.cpus, orders.ring_slots)
        self.size = layout.l0_bytes(orders.l1_bytes) + rings
        self.image: Image = image.build(self.base)

    def install(self, memory_map: MemoryMap, first: Start) -> int:
        """Write the image, what L0 is to do, and what machine it is on.

        :param memory_map: the machine's. Without an SMMU in it L1 gets no device with DMA.
        :param first: where L1 begins.
        :return: where the machine's first CPU is to begin, at EL2.
        :raises UserError: when the machine has more to it than L0 can keep.
        """
        self.memory.write(self.base, self.image.data)
        self._configure()
        power = self.vcpu().power
        power.entry_pc = first.pc
        power.entry_x0 = first.x0
        power.state = ON
        self._describe_machine(memory_map)
        return self.image.symbols["entry"]

    def _configure(self) -> None:
        """Write what L0 is to do."""
        orders, config = self.orders, self.state.config
        config.l0_base = self.base
        config.pool_base = self.base + layout.POOL_OFFSET
        config.pool_size = layout.pool_bytes(orders.l1_bytes)
        config.guest_kind = GUEST_KINDS[orders.el2]
        config.nv_level = NV_LEVELS[orders.nv]
        config.recursion = int(orders.recursion)
        config.shows_vhe = int(orders.shows_vhe)
        config.ahead = ahead.BUDGET if orders.ahead else 0
        config.canonical_by_pages = 1
        config.gic = self.base + layout.GIC_OFFSET
        config.pcpus = self.base + layout.PCPU_OFFSET
        config.cpu_count = orders.cpus
        for index, vcpu in enumerate(self.vcpus):
            vcpu.ring.base = self._rings + index * orders.ring_slots * EVENT_BYTES
            vcpu.ring.slots = orders.ring_slots
        config.ram_base = RAM_BASE
        config.ram_end = RAM_BASE + orders.l1_bytes

    def _describe_machine(self, memory_map: MemoryMap) -> None:
        """Write what machine L0 is on, and L1's memory map.

        :raises UserError: when it is larger than L0 can keep.
        """
        config, cpus = self.state.config, self.orders.cpus
        config.its_control = its_control(memory_map)
        for index, base in enumerate(redistributors(memory_map, cpus)):
            config.redistributors[index] = base
            config.redistributor_count = index + 1
        guards = memory_map.of(RegionKind.SMMU)
        config.smmu_base = guards[0].base if guards else 0
        regions = l1_regions(memory_map, self.orders.l1_bytes, cpus, guarded=bool(guards))
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
        return resident.Vm(self.memory.window(self.base + layout.VM_OFFSET, layout.VM_MAX_BYTES))

    def vcpu(self, index: int = 0) -> resident.Vcpu:
        """One vCPU's state, live."""
        base = self.base + layout.PCPU_OFFSET + index * layout.PCPU_BYTES + layout.VCPU_IN_PCPU
        return resident.Vcpu(self.memory.window(base, resident.Vcpu.size))

    def mailbox(self, index: int) -> Mailbox:
        """One vCPU's mailbox, live."""
        base = self.base + layout.PCPU_OFFSET + index * layout.PCPU_BYTES + layout.MAILBOX_IN_PCPU
        return Mailbox(self.memory.window(base, Mailbox.size))

    @property
    def vcpus(self) -> list[resident.Vcpu]:
        """The state of all vCPUs, live."""
        return [self.vcpu(index) for index in range(self.orders.cpus)]

    @property
    def locks(self) -> dict[str, resident.Lock]:
        """L0's locks by what they are about, live."""
        gic = self.memory.window(self.base + layout.GIC_OFFSET, Gic.size)
        state = self.state
        return {
            "stage 2": state.stage2.lock,
            "GIC": Gic(gic).lock,
            "VNCR_EL2": state.vncr_lock,
        }

    @property
    def stop_reason(self) -> Stop:
        """Why L0 stopped the machine; RUNNING when it did not."""
        return Stop(self.state.post_mortem.stop_reason)

    @property
    def fatal(self) -> FatalStop | None:
        """The broken invariant L0 stopped at, or None."""
        ended = self.state.post_mortem
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

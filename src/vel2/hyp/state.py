"""The state of L0: one `Vm`, and per pcpu one `Vcpu` with its contexts and counters.

All of it lies in shared memory, so the host reads it live and without a copy. The order of the
first fields of `Vcpu` is known to the vectors (`vectors.py`), which take the offsets from here.
"""

from vel2.arch.bits import Register
from vel2.hyp.counters import Counters
from vel2.hyp.homes import CONTEXT_MEMORY, SWITCHED
from vel2.hyp.layout import PCPU_BYTES, VCPU_IN_PCPU
from vel2.hyp.pcpu import Guesses, Pcpu, Power
from vel2.hyp.probing import Probes, Probing
from vel2.hyp.records import ExceptionRecord, ReturnRecord, Trap, Walk
from vel2.hyp.watch import Filter, Ring, Seen, Watch
from vel2.lang import PA, Struct, array, at, inline, nested, scalar, u8, u32, u64

__all__ = (
    "CONTEXT_VEL1",
    "CONTEXT_VEL2",
    "FGT_LOADED",
    "GUEST_NVHE",
    "GUEST_VHE",
    "HCRX_LOADED",
    "LEVEL_NV",
    "LEVEL_NV2",
    "MAX_REDISTRIBUTORS",
    "MAX_REGIONS",
    "REGION_DEVICE",
    "REGION_RAM",
    "REGION_ROM",
    "SHADOW_CONTEXTS",
    "SLOW_MAINTENANCE",
    "SLOW_PTIMER",
    "SLOW_VEL1",
    "SLOW_VTIMER",
    "VNCR_LOADED",
    "VSE_LOADED",
    "Configuration",
    "Lock",
    "PoolPage",
    "Stage2",
    "Vcpu",
    "Vm",
    "VncrPage",
    "id_index",
    "page_of",
    "vcpu_at",
    "vm_of",
)

CONTEXT_VEL2 = 0
"""vEL2 or its EL0 (E2H=1, TGE=1): the hyp context."""
CONTEXT_VEL1 = 1
"""vEL1 or its EL0: what L1 runs below itself, normally L2."""

SHADOW_CONTEXTS = 64
"""Each costs its root (two pages where L1 sees 40 bits) and a `Stage2`; tables are shared."""
MAX_REGIONS = 32
MAX_REDISTRIBUTORS = 8
ID_REGISTERS = 64

GUEST_VHE = 0
GUEST_NVHE = 1
LEVEL_NV2 = 0
LEVEL_NV = 1

REGION_RAM = 0
REGION_DEVICE = 1
REGION_ROM = 2


class CpuContext(Struct):
    """The EL1 register file of one virtual translation regime, and its registers without hardware.

    `el1[row.index]` is the value hardware's `row.hardware` has when this context runs (`SWITCHED`);
    `memory[row.index]` holds virtual EL2 registers that no hardware register stands for.
    """

    vncr_page = scalar(u64)
    """The `VncrPage` that hardware's VNCR_EL2 names while this context runs. Each context that is a
    hypervisor's has one, which with FEAT_NV alone L0 reads and writes for it; others have 0."""
    el1 = array(u64, len(SWITCHED))
    memory = array(u64, len(CONTEXT_MEMORY))


class VncrPage(Struct):
    """The page VNCR_EL2 points at, as 512 slots of eight bytes."""

    slot = array(u64, 512)


class Vcpu(Struct):
    """One virtual CPU, pinned to its pcpu. SP_EL2 points at it while a guest runs.

    Its pcpu owns it and needs no lock for it, but for `shadow` and `power`; the host reads, and
    writes `observe`. What stands before that begins anew whenever the pcpu is turned on
    (`start.forget`).
    """

    x = array(u64, 31)
    pc = scalar(u64)
    pstate = scalar(u64)
    """As real hardware has it: vEL2 is EL1h or EL1t here."""
    trap = nested(Trap)
    exception = nested(ExceptionRecord)
    returning = nested(ReturnRecord)
    context = scalar(u64)
    """Which of the contexts hardware holds: `CONTEXT_VEL2` or `CONTEXT_VEL1`."""
    e2h = scalar(u64)
    """L1's HCR_EL2.E2H: fixed under FEAT_NV2, as L1 wrote it under FEAT_NV alone."""
    slow_eret = scalar(u64)
    """Not 0 while an ERET inside vEL2 has more to do than to return (bits `SLOW_*`)."""
    vm = scalar(u64)
    index = scalar(u64)
    hpfar = scalar(u64)
    """L1's HPFAR_EL2."""
    zcr_vel2 = scalar(u64)
    """L1's ZCR_EL2, while vEL1 runs."""
    shadow = scalar(u64)
    """Address of the `Stage2` that runs or ran L2 last, or 0; under `Stage2Manager.lock`."""
    pcpu = nested(Pcpu)
    walk = nested(Walk)
    vel2 = nested(CpuContext)
    vel1 = nested(CpuContext)
    selectors = array(u64, 64)
    """As L1 wrote them (`selectors.ALL`): PMEVTYPER<n>_EL0, PMCCFILTR_EL0, DBGBCR<n>_EL1,
    DBGWCR<n>_EL1."""
    guesses = nested(Guesses)
    observe = nested(Watch)
    """Which events anybody wants."""
    seen = nested(Seen)
    ring = nested(Ring)
    probing = nested(Probing)
    counters = nested(Counters)
    power = nested(Power)


FGT_LOADED = 1 << 0
"""L1's fine-grained traps."""
HCRX_LOADED = 1 << 1
"""L1's HCRX_EL2, with bits that vEL2 would notice."""
VSE_LOADED = 1 << 2
"""A virtual SError is pending for vEL1."""
VNCR_LOADED = 1 << 3
"""VNCR_EL2 names L1's own page for its guest's vEL2 (`vncr`)."""

SLOW_MAINTENANCE = 1 << 0
"""The ICH_* registers were left live because a maintenance interrupt is asserted."""
SLOW_VTIMER = 1 << 1
"""L2's virtual timer was left live because its interrupt is asserted."""
SLOW_PTIMER = 1 << 2
SLOW_VEL1 = 1 << 3
"""vEL1 runs: an ERET that traps is L1's to see."""


class Lock(Struct):
    """A ticket lock between pcpus (`lock`)."""

    next = scalar(u64)
    """The ticket that the next to come takes."""
    served = scalar(u64)
    """The ticket whose turn it is."""
    taken_at = scalar(u64)
    total = scalar(u64)
    """How long it was held altogether, in ticks of CNTPCT_EL0; `served` says how often."""
    longest = scalar(u64)
    """The longest time it was held, in ticks of CNTPCT_EL0."""


class Stage2(Struct):
    """One set of stage-2 tables that hardware walks: the canonical one or a shadow."""

    vttbr = scalar(u64)
    """Root and VMID as hardware's VTTBR_EL2 wants them."""
    root = scalar(PA)
    guest_vttbr = scalar(u64)
    guest_vtcr = scalar(u64)
    in_use = scalar(u64)
    stage2_off = scalar(u64)
    """L1 runs this VMID without a stage 2 (HCR_EL2.VM=0): the canonical tables serve."""
    dirty = scalar(u64)
    """Hardware may hold TLB entries of this VMID."""
    unflushed = scalar(u64)
    """An entry was taken out, and TLBs may still have it: not 0 only inside a hold of the lock."""
    last_use = scalar(u64)
    pages = scalar(u64)
    spare = scalar(u64)
    """Heads of lists of pool pages, as index + 1."""
    last_page = scalar(u64)
    """The end of `pages`."""
    page_count = scalar(u64)
    """How many `pages` has."""


class PoolPage(Struct):
    """What is known of one page of the table pool."""

    next = scalar(u32)
    next_spare = scalar(u32)
    guest_shift = scalar(u8)
    """log2 of the largest leaf of L1 that this table holds parts of (0: only whole leaves)."""
    level = scalar(u8)
    """Of a spare table: which level it was at. Tables below it are spare, too."""


class Region(Struct):
    """A range of L1's physical memory map."""

    base = scalar(u64)
    length = scalar(u64)
    kind = scalar(u64)


class Configuration(Struct):
    """What the VM is. The host writes it before the machine starts, and nobody afterwards."""

    l0_base = scalar(u64)
    pool_base = scalar(u64)
    pool_size = scalar(u64)
    guest_kind = scalar(u64)
    """`GUEST_VHE` or `GUEST_NVHE`."""
    shows_vhe = scalar(u64)
    """An nVHE L1 sees FEAT_VHE all the same, for guests of its own. It must leave E2H at 0."""
    nv_level = scalar(u64)
    """`LEVEL_NV2` or `LEVEL_NV`."""
    recursion = scalar(u64)
    """Whether L1 has FEAT_NV, and FEAT_NV2 where `nv_level` does not leave it out."""
    ram_base = scalar(u64)
    """L1's RAM, up to `ram_end`."""
    ram_end = scalar(u64)
    max_parange = scalar(u64)
    """The largest ID_AA64MMFR0_EL1.PARange that L1 may see; the stage-2 tables are for it too."""
    canonical_by_pages = scalar(u64)
    """Whether `stage2.init` maps L1's memory by pages although blocks would do."""
    smmu_base = scalar(u64)
    """The register frame of the SMMU that all of L1's devices with DMA are behind; 0 if L1 has no
    such device."""
    ahead = scalar(u64)
    """How many instructions `ahead.run` may execute after one trap; 0 turns it off."""
    region_count = scalar(u64)
    regions = array(Region, MAX_REGIONS)
    gic = scalar(u64)
    """Address of what L0 keeps for the GIC (`gicstate.Gic`)."""
    its_control = scalar(u64)
    """Address of the ITS's control frame, which no region has in it; 0 if there is no ITS."""
    redistributor_count = scalar(u64)
    redistributors = array(u64, MAX_REDISTRIBUTORS)
    """RD_base of each, which no region has in it."""
    pcpus = scalar(u64)
    """Address of the first pcpu's block."""
    cpu_count = scalar(u64)
    """How many pcpus, and so vCPUs, there are."""


class Probed(Struct):
    """The machine as it was found. `start.boot` writes it on the first pcpu, and nobody afterwards.

    It is in force for all pcpus: they are taken to be alike.
    """

    affinities = array(u64, MAX_REDISTRIBUTORS)
    """MPIDR_EL1's affinity fields of each pcpu, as the redistributors tell."""
    id_registers = array(u64, ID_REGISTERS)
    """[CRm * 8 + op2] of the space S3_0_C0_C<CRm>_<op2>, as L1 sees them."""
    mdcr = scalar(u64)
    """L0's part of MDCR_EL2 in every context."""
    mdcr_writable = scalar(u64)
    """What L1 can set in MDCR_EL2."""
    selectors = scalar(u64)
    """Which of `Vcpu.selectors` there are, as a mask; those of a PMU only if the VM has one."""
    counters = scalar(u64)
    """Hardware's PMCR_EL0.N."""
    list_registers = scalar(u64)
    active_priorities = scalar(u64)
    """How many ICH_AP0R<n>/AP1R<n> exist."""
    cpacr_holds_cptr = scalar(u64)
    """Hardware's CPACR_EL1 keeps the bits only CPTR_EL2 has (as FEAT_NV2p1 requires)."""
    cntkctl_holds_cnthctl = scalar(u64)
    frequency = scalar(u64)
    """CNTFRQ_EL0, for who reads times in ticks of CNTPCT_EL0."""
    cnthctl = scalar(u64)
    """Hardware's CNTHCTL_EL2 out of reset, and so L1's; L0 writes it afterwards."""
    has_fgt = scalar(u64)
    has_sve = scalar(u64)
    optional = scalar(u64)
    """Which of `homes.OPTIONAL` L1 has, as a mask."""
    nesting = scalar(u64)
    """HCR_EL2.{NV,NV1,NV2,AT}, as far as L1 has them."""
    hcrx_writable = scalar(u64)
    """The bits of HCRX_EL2 that L1 has."""
    hcrx_of_l0 = scalar(u64)
    """Those that L0 sets."""
    hcrx_vel2 = scalar(u64)
    """HCRX_EL2 for vEL2, without `hcrx_of_l0`."""


class Stage2Manager(Struct):
    """All stage-2 tables that hardware walks, and the pool of pages they are made of.

    `start.boot` makes the first group, which then stays. The rest is shared by all pcpus, under
    `lock`: whoever changes it, or walks L1's tables in order to (docs/stage2.md).
    """

    vtcr = scalar(u64)
    start_level = scalar(u64)
    pool_end = scalar(u64)
    """Behind the last page of the pool: EL2's own tables."""
    pool_first_page = scalar(u64)
    pool_pages = scalar(u64)
    canonical = nested(Stage2)
    devices = nested(Stage2)
    """L1's memory map once more, in the largest blocks, for the SMMU."""

    lock = nested(Lock)
    pool_free = scalar(u64)
    """Head of the free list, as index + 1."""
    pool_used = scalar(u64)
    clock = scalar(u64)
    lottery = scalar(u64)
    """State of the generator that draws which context is given away (`shadow.draw`)."""
    contexts = scalar(u64)
    """How many of `shadows` have been given to anybody yet: those below it."""
    shadows = array(Stage2, SHADOW_CONTEXTS)


class PostMortem(Struct):
    """Why and how L0 stopped the machine, for the host. Whoever stops it writes, and only once."""

    stop_reason = scalar(u64)
    """An `outcome.Stop`."""
    fatal_code = scalar(u64)
    """An `outcome.Fatal`."""
    fatal_detail = scalar(u64)
    fatal_esr = scalar(u64)
    fatal_elr = scalar(u64)
    fatal_far = scalar(u64)


class Vm(Struct):
    """The machine L1 owns: one part for each owner and lifetime."""

    config = nested(Configuration)
    probed = nested(Probed)
    stage2 = nested(Stage2Manager)
    post_mortem = nested(PostMortem)
    vncr_lock = nested(Lock)
    """Over the tables by which EL2 reaches L1's own VNCR pages (`vncr`)."""
    probes = nested(Probes)
    online = scalar(u64)
    """How many vCPUs are on, by PSCI. All pcpus change it, each by one atomic access (`power`)."""
    filter = nested(Filter)


def id_index(register: type[Register]) -> int:
    """Give the place of an identification register in `Probed.id_registers`."""
    return register.encoding.CRm * 8 + register.encoding.op2


@inline
def vm_of(vcpu: Vcpu) -> Vm:
    """Give the `Vm` of a vcpu."""
    return at(Vm, vcpu.vm)


@inline
def vcpu_at(vm: Vm, index: u64) -> Vcpu:
    """Give a vcpu of the VM by number."""
    return at(Vcpu, u64(vm.config.pcpus + VCPU_IN_PCPU + index * PCPU_BYTES))


@inline
def page_of(vcpu: Vcpu) -> VncrPage:
    """Give the VNCR page of vEL2, where it finds vEL1's registers and its own."""
    return at(VncrPage, vcpu.vel2.vncr_page)

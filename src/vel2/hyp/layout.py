"""Where everything of L0 lives, as offsets from the base of L0's memory.

L0 owns one block of RAM above L1's: 2 MiB of image (mapped read-only and executable at EL2), the
`Vm`, one block per pcpu (stack, `Vcpu`, mailbox, VNCR page), what the SMMU reads, the maps of
probes, what the GIC reads and writes by itself, the pool of translation table pages, and rings for
events. The host fills in the image and the `Vm` before the machine starts and reads the rest while
it runs.
"""

from vel2.trace.schema import EVENT_BYTES

__all__ = (
    "BLOCK_BYTES",
    "COLLECTION_TABLE_BYTES",
    "COLLECTION_TABLE_IN_GIC",
    "DEVICE_TABLE_BYTES",
    "DEVICE_TABLE_IN_GIC",
    "GIC_BYTES",
    "GIC_OFFSET",
    "IMAGE_MAX_BYTES",
    "ITS_QUEUE_BYTES",
    "ITS_QUEUE_IN_GIC",
    "ITTS_IN_GIC",
    "MAILBOX_IN_PCPU",
    "MAX_PCPUS",
    "PAGE_BYTES",
    "PAGE_MASK",
    "PAGE_SHIFT",
    "PCPU_BYTES",
    "PCPU_OFFSET",
    "PENDING_BYTES",
    "PENDING_IN_GIC",
    "POOL_OFFSET",
    "PROBE_CODE_BYTES",
    "PROBE_CODE_OFFSET",
    "PROBE_MAPS_BYTES",
    "PROBE_MAPS_OFFSET",
    "PROBE_STAGING_OFFSET",
    "PROPERTIES_IN_GIC",
    "SMMU_OFFSET",
    "VCPU_IN_PCPU",
    "VM_MAX_BYTES",
    "VM_OFFSET",
    "VNCR_IN_PCPU",
    "VNCR_TABLES_OFFSET",
    "WANTED_IN_VM",
    "l0_bytes",
    "l1_bytes",
    "pool_bytes",
    "rings_bytes",
)

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_BYTES - 1
BLOCK_BYTES = 0x20_0000
"""L0's base and size are multiples of this: blocks map it at EL2 and leave it out of stage 2."""

IMAGE_OFFSET = 0
IMAGE_MAX_BYTES = 0x1C_0000
PROBE_CODE_OFFSET = IMAGE_OFFSET + IMAGE_MAX_BYTES
"""Behind the image, in its block: what probes have become (`probe`)."""
PROBE_CODE_BYTES = BLOCK_BYTES - IMAGE_MAX_BYTES
VM_OFFSET = BLOCK_BYTES
VM_MAX_BYTES = 0x1_0000
WANTED_IN_VM = 0x8000
"""Which traps hooks of the host's want (`mailbox.Wanted`): above the `Vm`, in its part."""
PCPU_OFFSET = VM_OFFSET + VM_MAX_BYTES
PCPU_BYTES = 0x10_0000
MAX_PCPUS = 8

STACK_BYTES = 0x8000
VCPU_IN_PCPU = STACK_BYTES
"""The `Vcpu` sits right above the stack: SP_EL2 points at it whenever a guest runs."""
MAILBOX_IN_PCPU = 0xE_0000
"""Where a vCPU that waits for a hook and the host find each other (`mailbox`)."""
VNCR_IN_PCPU = 0xF_0000

SMMU_OFFSET = PCPU_OFFSET + MAX_PCPUS * PCPU_BYTES
"""The SMMU's stream table and command queue (`smmu.Tables`), aligned to more than their size."""
PROBE_STAGING_OFFSET = 0xA8_0000
"""Where the host puts code of probes, for L0 to copy to the same offset in `PROBE_CODE`."""
PROBE_MAPS_OFFSET = PROBE_STAGING_OFFSET + PROBE_CODE_BYTES
PROBE_MAPS_BYTES = 0x13_0000
GIC_OFFSET = 0xC0_0000
GIC_BYTES = BLOCK_BYTES
GIC_STATE_BYTES = 0x2_0000
ITS_QUEUE_IN_GIC = 0x2_0000
ITS_QUEUE_BYTES = PAGE_BYTES
COLLECTION_TABLE_IN_GIC = 0x3_0000
COLLECTION_TABLE_BYTES = 0x1_0000
PROPERTIES_IN_GIC = 0x4_0000
PROPERTIES_BYTES = 0x1_0000
ITTS_IN_GIC = 0x6_0000
ITTS_BYTES = 0x4_0000
DEVICE_TABLE_IN_GIC = 0x10_0000
DEVICE_TABLE_BYTES = 0x8_0000
PENDING_IN_GIC = 0x18_0000
PENDING_BYTES = 0x1_0000
"""Of one redistributor. Queue, tables of the ITS and pending tables are aligned to 64 KiB."""

VNCR_TABLES_OFFSET = GIC_OFFSET - 2 * PAGE_BYTES
"""Of EL2's own stage 1: a level-2 and a level-3 table for L1's own VNCR pages (`vncr`)."""

POOL_OFFSET = GIC_OFFSET + GIC_BYTES
POOL_MIN_BYTES = 0x40_0000


def pool_bytes(l1_memory_bytes: int) -> int:
    """Size the table pool: 1/512 of L1's memory for L1's own pages, and four times that for L2s."""
    wanted = POOL_MIN_BYTES + l1_memory_bytes // 512 + l1_memory_bytes // 128
    return -(-wanted // BLOCK_BYTES) * BLOCK_BYTES


def l0_bytes(l1_memory_bytes: int) -> int:
    """Size L0's block, without rings, for an L1 with `l1_memory_bytes` of RAM."""
    return POOL_OFFSET + pool_bytes(l1_memory_bytes)


def rings_bytes(cpus: int, slots: int) -> int:
    """Size the rings for events, which follow the pool, as whole blocks: one for each pcpu."""
    return -(-cpus * slots * EVENT_BYTES // BLOCK_BYTES) * BLOCK_BYTES


def l1_bytes(memory_bytes: int) -> int:
    """Give the most memory that L1 can have of `memory_bytes`, of which L0 takes its part.

    It is a multiple of `BLOCK_BYTES`; 0 or less when L0 alone would not fit.
    """
    blocks = memory_bytes // BLOCK_BYTES * BLOCK_BYTES
    # L0's part grows with L1's: this is too little, and by less than L0's part.
    l1 = blocks - l0_bytes(blocks)
    while l1 + BLOCK_BYTES + l0_bytes(l1 + BLOCK_BYTES) <= memory_bytes:
        l1 += BLOCK_BYTES
    return l1

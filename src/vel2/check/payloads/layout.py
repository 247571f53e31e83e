"""Where a payload keeps its data in L1's RAM, and what the host tells it.

The image is linked at the address where both QEMU's loader and vel2 put an arm64 Image whose text
offset is 0. Everything else lies above it and counts as the image's BSS, so that no loader puts a
device tree there. A payload clears the memory it uses and assumes nothing about the rest.
"""

from vel2.lang import Struct, array, scalar, u64
from vel2.runtime.bare import Memory

IMAGE_BASE = 0x4020_0000
STATE = 0x4100_0000
STACK_TOP = 0x4120_0000
TABLES = 0x4200_0000
ARENA = 0x4300_0000
"""Pages that payloads use as data: `ARENA + n * PAGE_BYTES`."""
MEMORY_END = 0x4400_0000
PAGE_BYTES = 0x1000
RAM_BASE = 0x4000_0000
MEMORY_BYTES = 128 << 20
"""L1's RAM in a payload's run. What lies above is L0's at virtual EL2 and a hole at real EL2."""

MAX_TARGETS = 16
MEMORY = Memory(IMAGE_BASE, STATE, STACK_TOP, MEMORY_END)


class Parameters(Struct):
    """What the host patches into the image."""

    hcr = scalar(u64)
    """HCR_EL2 to begin with: its E2H stays as it is (`controls.set_hcr`)."""
    cptr = scalar(u64)
    """CPTR_EL2 that traps nothing, in the layout of that E2H."""
    nesting = scalar(u64)
    """ID_AA64MMFR2_EL1.NV up to which `nested` tries what it tells of: 1 or 2."""
    ram_end = scalar(u64)
    """The first address after L1's RAM."""
    forgets = scalar(u64)
    """1 if a TLB may lose at any time what it has: below an inner vel2, at every trap."""
    canary = scalar(u64)
    """What the host has written over L0's memory, and L1 must never see."""
    target_count = scalar(u64)
    targets = array(u64, MAX_TARGETS)
    """Addresses where L1 has nothing: L0's memory, hidden devices, holes of the map."""


class State(Struct):
    """What the last exception left, what the guest starts with, and the bookkeeping of checks."""

    x = array(u64, 31)
    vector = scalar(u64)
    """Number of the vector, 0 to 15; see `assembly`."""
    esr = scalar(u64)
    elr = scalar(u64)
    spsr = scalar(u64)
    far = scalar(u64)
    pstate = scalar(u64)
    """DAIF, EL, SP, PAN, SSBS, UAO at the vector's first instruction, as in SPSR_ELx."""
    frame = scalar(u64)
    """The stack pointer to return to at an exception; 0 when none is expected."""
    guest_x = array(u64, 31)
    guest_pc = scalar(u64)
    guest_pstate = scalar(u64)
    next_table = scalar(u64)
    checks = scalar(u64)
    failures = scalar(u64)
    name = scalar(u64)
    """The check under way: its name, subject, and the first value that was wrong."""
    subject = scalar(u64)
    wrong = scalar(u64)
    got = scalar(u64)
    want = scalar(u64)

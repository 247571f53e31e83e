"""Where the hostile program keeps its data in L1's RAM, and what it shares with the host.

The host writes everything before the machine starts, because QEMU does not notice code that the
host changes later. The guest may overwrite all of it: it is the guest's own memory.
"""

from vel2.lang import Struct, array, scalar, u64

RAM_BASE = 0x4000_0000
MEMORY_BYTES = 32 << 20
"""L1's RAM. L0's memory follows."""
IMAGE_BASE = 0x4020_0000
IMAGE_END = 0x4040_0000
"""The harness: its own block of 2 MiB, which L2's first stage 2 leaves out."""
CONTROL = 0x4030_0000
TABLES = 0x4060_0000
TABLE_PAGES = 64
SANE_STAGE1, SANE_STAGE2 = 0, 4
"""Numbers of the pages that hold the roots of tables that map RAM to itself, in order."""
HELD_ROOT, HELD_BLOCKS = TABLE_PAGES, TABLE_PAGES + 1
ALL_TABLE_PAGES = TABLE_PAGES + 2
"""With recursion two more, for a stage 1 of EL2 that may be on while L2 runs: wild but for the
entry `HELD_ENTRY` of each, which leads to the harness's block."""
HELD_ENTRY, HELD_SELF = 1, 5
"""`HELD_SELF` leads from the root to itself."""
DATA = 0x4070_0000
DATA_PAGES = 16
BURSTS = 0x4080_0000
BURST_BYTES = 1024
WORDS_OFFSET = 512
MAX_WORDS = (BURST_BYTES - WORDS_OFFSET) // 4 - 8
"""What follows the last word is `UNDEFINED`."""
MAX_BURSTS = 4096
MEMORY_END = BURSTS + MAX_BURSTS * BURST_BYTES
PAGE_BYTES = 0x1000
UNDEFINED = 0xE7FD_DEFE
"""Ends a burst, and fills the memory that nobody uses: UDF in A32, UDF in the half that T32
executes first, and unallocated in A64. Zeros are no-operations in A32: a burst lost among them
would run for a long time."""

KEEP = 1 << 0
"""`Burst.flags`: keep the state that the previous burst has left at EL2."""
VIA_EL1 = 1 << 1
"""`Burst.flags`: enter by an ERET of L2's EL1, for a PSTATE that EL2 may not return to."""
REGIME = 1 << 2
"""`Burst.flags`: while the burst runs, EL2's own stage 1 is on. With recursion only."""


class Control(Struct):
    """What the harness knows, and the host watches."""

    x = array(u64, 32)
    """The registers of the burst that was interrupted."""
    index = scalar(u64)
    """The burst that runs."""
    bursts = scalar(u64)
    """How many there are."""
    events = scalar(u64)
    """Hostile instructions executed."""
    exceptions = scalar(u64)
    timeouts = scalar(u64)
    """Bursts that the timer ended."""
    strays = scalar(u64)
    """Bursts that ended somewhere else."""
    start = scalar(u64)
    """The first word that has run since the burst was entered last, as an index."""
    left = scalar(u64)
    """Exceptions that the burst may still take."""
    done = scalar(u64)
    """1 when every burst has run."""


class Burst(Struct):
    """One burst, as the harness takes it; the words follow at `WORDS_OFFSET`."""

    x = array(u64, 32)
    flags = scalar(u64)
    pstate = scalar(u64)
    hcr = scalar(u64)
    """HCR_EL2 to enter with, unless `KEEP`."""
    count = scalar(u64)
    sp = scalar(u64)
    """SP_EL0 and SP_EL1 to enter with."""
    mdcr = scalar(u64)
    """L1's other controls of what it runs, unless `KEEP`."""
    hstr = scalar(u64)
    cnthctl = scalar(u64)
    cptr = scalar(u64)
    vncr = scalar(u64)
    """L1's VNCR_EL2, unless `KEEP`; with recursion and FEAT_NV2."""
    sctlr = scalar(u64)
    """L1's own regime, if `REGIME`."""
    tcr = scalar(u64)
    ttbr0 = scalar(u64)
    ttbr1 = scalar(u64)
    mair = scalar(u64)

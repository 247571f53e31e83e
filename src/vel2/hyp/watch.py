"""Who watches what: the tables that say which events anybody wants, and where events go.

Tracing, probes and hooks are off nearly always, and then cost two instructions a trap: the vectors
look whether anybody watches at all (`Watch.anybody`). If so they look whether anybody wants this
trap, which for one that nobody wants takes ten instructions at most. Only then the trap takes the
way through `trap.handle_watched_sync`, where `observe` sees it.

Each event has a class, a number below `CLASSES`: context and exception class of a synchronous
exception, as in `Counters.by_ec`, the kind of an interrupt, or one of the events that are no trap.
Its word in `Watch.classes` says who wants it: `TRACE`, `SWITCHES`, `PROBE`, `HOOK`. Accesses to
registers (EC 0x18) are looked for in `Watch.groups` alone. What the tables let through is what any
of them wants; each then asks for itself. The host writes all of it, at any time.
"""

from vel2.hyp.records import IRQ, SYNC
from vel2.lang import Struct, array, inline, scalar, u8, u16, u64

__all__ = (
    "AHEAD",
    "BY_PC",
    "CLASSES",
    "CLASSES_PER_CONTEXT",
    "FILL",
    "GROUP_BITS",
    "HOOK",
    "PLAIN_ERET",
    "PROBE",
    "PROBE_AT_END",
    "PSCI",
    "RANGES",
    "REGISTER_GROUPS",
    "SWITCHES",
    "TRACE",
    "UNMAP",
    "Filter",
    "Ring",
    "Seen",
    "Watch",
    "class_of_interrupt",
)

TRACE = 1 << 0
"""Into the ring (`event`)."""
PROBE = 1 << 1
"""To a probe that is called before anything is done (`probe`)."""
PROBE_AT_END = 1 << 2
"""To a probe that is called when the trap is done."""
HOOK = 1 << 3
"""To a hook, which may decide what comes of it."""
SWITCHES = 1 << 4
"""A context switch that comes with it, into the ring."""
BY_PC = 1 << 5
"""Not of EC 0x18: only from `Watch.pc_low` up to `Watch.pc_low + Watch.pc_span`, which is one of
the addresses."""

CLASSES_PER_CONTEXT = 64
"""The class of a synchronous exception is context * CLASSES_PER_CONTEXT + EC."""
INTERRUPTS = 2 * CLASSES_PER_CONTEXT
"""From here on, by context, those of IRQ; then FIQ, then SError (`class_of_interrupt`)."""
KIND_STEP = (IRQ - SYNC) // 2
"""Between the kinds of exceptions (`records`) by the number of contexts."""
PLAIN_ERET = INTERRUPTS + 8
"""An ERET that the vectors do at once."""
AHEAD = PLAIN_ERET + 1
FILL = PLAIN_ERET + 2
UNMAP = PLAIN_ERET + 3
PSCI = PLAIN_ERET + 4
CLASSES = PSCI + 1

GROUP_BITS = 12
REGISTER_GROUPS = 1 << GROUP_BITS
"""op0, op2, op1 and CRn of a trap key make a group of 16, one for each CRm."""


@inline
def class_of_interrupt(kind: u64, context: u64) -> u64:
    """Give the class of an interrupt or SError by its kind (`records`)."""
    return u64(INTERRUPTS + kind // KIND_STEP + context)


class Watch(Struct):
    """What is wanted of one vCPU. The host writes it, while the machine runs; L0 only reads."""

    anybody = scalar(u64)
    """Bits of who watches at all. 0: nobody, whatever else is written here."""
    groups = array(u8, REGISTER_GROUPS)
    """[trap key >> 4]: not 0 if a register or instruction of the group is wanted."""
    pc_low = scalar(u64)
    pc_span = scalar(u64)
    classes = array(u64, CLASSES)


RANGES = 16


class Range(Struct):
    """Addresses `low` up to `low + span`, which is one of them."""

    low = scalar(u64)
    span = scalar(u64)


class Filter(Struct):
    """What of all this the tracer wants: its own, exact filter. The host writes it, at any time."""

    kinds = scalar(u64)
    """A bit for each `trace.schema.Kind`."""
    sources = scalar(u64)
    """A bit for each `trace.schema.Place` an event may come from."""
    by_register = scalar(u64)
    """Of system register accesses only those in `registers`."""
    range_count = scalar(u64)
    """0: from any address."""
    ranges = array(Range, RANGES)
    registers = array(u16, REGISTER_GROUPS)
    """[trap key >> 4], a bit for each CRm."""


class Seen(Struct):
    """What `observe.begin` keeps of a trap until its end. Its pcpu alone uses it."""

    wanted = scalar(u64)
    """Who wants the trap that L0 is in, as `Watch.classes` says it; 0 in others."""
    began = scalar(u64)
    """CNTPCT_EL0."""
    forwarded = scalar(u64)
    injected = scalar(u64)
    """The counters when it began."""
    hcr = scalar(u64)
    """HCR_EL2 as it was when the guest trapped."""
    vttbr = scalar(u64)
    """L1's VTTBR_EL2 then."""
    source = scalar(u64)
    """A `trace.schema.Place`."""
    read = scalar(u64)
    """What the last trapped MRS read, whoever watches (`sysreg.set_target_register`): what is done
    ahead of the next trap may overwrite the register."""
    is_read = scalar(u64)
    """It is an MRS."""
    value = scalar(u64)
    """What an MSR or SYS carries."""
    flags = scalar(u64)
    """`trace.schema.Flag`."""


class Ring(Struct):
    """Where one vCPU's events go: one producer, its pcpu, and one consumer, the host.

    Neither waits for the other. The producer stores an event, then publishes it by `head`; when all
    slots hold events that the host has not taken, it counts the new one as lost and goes on. Events
    are numbered before that, so the numbers in the ring show each loss at its place.
    """

    base = scalar(u64)
    """Address of the first slot. The host writes it and `slots` before the machine starts."""
    slots = scalar(u64)
    """A power of two, or 0."""
    head = scalar(u64)
    """How many events have been published. L0 writes it."""
    tail = scalar(u64)
    """How many the host has taken. The host writes it."""
    numbered = scalar(u64)
    """How many there have been, with those that were lost."""
    lost = scalar(u64)

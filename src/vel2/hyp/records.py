"""What a trap is, and what may come of it, as records: made in one place, read in one place.

A trap is described once, where it enters (`trap.begin`), and no handler changes it. A handler that
wants an exception taken makes an `ExceptionRecord`, with one of the few functions of `answer`, and
returns an `Outcome`; an ERET makes a `ReturnRecord` in the same way. `trap.deliver` reads them.
"""

from vel2.lang import L1IPA, Struct, scalar, u8, u32, u64

__all__ = (
    "CHANGED",
    "FIQ",
    "IRQ",
    "NO_FAULT",
    "SERROR",
    "SYNC",
    "TO_RUNNING_EL1",
    "TO_VEL2",
    "ExceptionRecord",
    "ReturnRecord",
    "Trap",
    "Walk",
)

SYNC = 0x000
IRQ = 0x080
FIQ = 0x100
SERROR = 0x180
"""Kinds of exceptions, by what they add to the offset of a vector."""

TO_RUNNING_EL1 = 0
"""Hardware's EL1: vEL2 in the hyp context, else vEL1."""
TO_VEL2 = 1


class Trap(Struct):
    """An exception to EL2, as hardware reported it."""

    pc = scalar(u64)
    """ELR_EL2. The vectors store it, and `pstate`."""
    pstate = scalar(u64)
    """SPSR_EL2."""
    kind = scalar(u64)
    """`SYNC`, `IRQ`, `FIQ` or `SERROR`."""
    context = scalar(u64)
    """The context that trapped: `Vcpu.context` may have changed since."""
    esr = scalar(u64)
    """ESR_EL2; 0 of an interrupt."""
    far = scalar(u64)
    """FAR_EL2, UNKNOWN but for the classes that have it."""
    hpfar = scalar(u64)
    """HPFAR_EL2, of an abort (`abort` asks for it)."""


class ExceptionRecord(Struct):
    """An exception that the guest is to take: the pseudocode's ExceptionRecord."""

    target = scalar(u8)
    """`TO_VEL2` or `TO_RUNNING_EL1`."""
    has_syndrome = scalar(u8)
    has_vaddress = scalar(u8)
    """FAR_ELx is written."""
    has_ipaddress = scalar(u8)
    """HPFAR_EL2 is written."""
    kind = scalar(u32)
    """As `Trap.kind`."""
    syndrome = scalar(u64)
    """The ESR_ELx that it writes."""
    vaddress = scalar(u64)
    ipaddress = scalar(u64)


class ReturnRecord(Struct):
    """What an ERET of vEL2 returns to: the arguments of AArch64.ExceptionReturn, checked."""

    address = scalar(u64)
    spsr = scalar(u64)
    """PSTATE as hardware is to have it: vEL2 is EL1."""


NO_FAULT = 1 << 6
"""No fault status code: they have six bits, and 0 is an Address size fault at level 0."""
CHANGED = 1 << 7
"""No fault status code either: other CPUs changed L1's leaf under the walk, `walk.WALKS` times. The
guest's instruction is to be executed again."""


class Walk(Struct):
    """The result of a walk of L1's stage 2 (see `walk.guest_stage2`)."""

    fsc = scalar(u64)
    """`NO_FAULT`, or the fault status code to report, level included, or `CHANGED`."""
    output = scalar(L1IPA)
    entry = scalar(u64)
    """The descriptor read last (`fallible.try_load_entry`, `fallible.try_exchange`)."""
    level = scalar(u64)
    """Level of a leaf of hardware's tables (4 KiB granule) that fits into the leaf found."""
    guest_level = scalar(u64)
    """L1's own level of the leaf, by its granule."""
    shift = scalar(u64)
    """log2 of the size of the leaf found."""
    s2ap = scalar(u64)
    xn = scalar(u64)
    memattr = scalar(u64)
    sh = scalar(u64)

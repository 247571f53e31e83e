"""Hooks of the host's: a vCPU that trapped asks CPython what is to become of the trap.

Each pcpu has a `Mailbox`, in L0's memory, which the host has mapped and no guest can reach. When a
trap is one that a hook wants (`wants`), the pcpu counts the question, says `ASKED`, rings the
doorbell and waits. The doorbell is the machine's second UART, which is L0's alone: a byte that is
written there wakes the host, which otherwise sleeps. The pcpu polls `turn` meanwhile: it is at EL2
with interrupts masked and holds no lock, so other pcpus go on, and what is pending for this one
stays pending. Nothing of the guest's has been touched yet, so the host finds the vCPU as it
trapped: general registers, PC and PSTATE in the `Vcpu`, all else in hardware.

The host answers with an `Order` and says `ORDERED`. Orders that end the question are outcomes of
the trap, or `OWN`: L0 deals with the trap as if nobody had asked. The others are errands: the host
wants a look at hardware's registers (`SHOW`), a register written or memory. The pcpu runs the
errand, and asks again by the same way, without counting.

Who writes what: the pcpu `asked`, `result`, `hpfar`, `waited`, `polled` and `registers`, and `turn`
from FREE or ORDERED; the host the rest, and `turn` from ASKED. A store with release of `turn` comes
last, a load with acquire first. A guest makes no wait longer: only the host does, and the host says
so to its own watch for hangs (`control.watch`).

Under `-icount` guest time is what CPUs execute, and waiting would cost some, more on a slower host.
So the pcpu rings `rings` times. QEMU's UART takes a byte only when its socket does: the host leaves
what it does not need in the socket, and the CPU stands in the middle of a store, for which no time
passes, until the host has answered and takes the rest. When the pcpu looks at `turn` for the first
time the answer is there, and the instructions of a question are the same in each run.
"""

from enum import IntEnum

from vel2.hyp.layout import MAILBOX_IN_PCPU, VCPU_IN_PCPU, WANTED_IN_VM
from vel2.hyp.shown import SHOWN
from vel2.hyp.state import Vcpu
from vel2.lang import Struct, address_of, array, at, inline, scalar, u64

__all__ = (
    "ASKED",
    "FIRST_ERRAND",
    "FREE",
    "MAX_RANGES",
    "ORDERED",
    "Mailbox",
    "Order",
    "Wanted",
    "mailbox_of",
    "wanted_of",
)

FREE = 0
ASKED = 1
"""The pcpu waits for an order."""
ORDERED = 2
"""The host has given one."""


class Order(IntEnum):
    """What the host wants of a vCPU that waits."""

    OWN = 0
    """L0's own handler is to deal with the trap."""
    RESUME = 1
    """Run on at `Vcpu.pc`."""
    SKIP = 2
    """The instruction is done: run on behind it."""
    EXCEPTION = 3
    """Take the exception that the mailbox describes."""
    UNDO = 4
    """As EXCEPTION, of an instruction that hardware has already gone past."""

    SHOW = 8
    """Errand: copy hardware's registers to `Mailbox.registers`."""
    WRITE = 9
    """Errand: write `value` to the register with trap key `address`, as the level that trapped."""
    STORE = 10
    """Errand: store `width` bytes of `value` at physical address `address`."""


FIRST_ERRAND = 8

MAX_RANGES = 32


class Mailbox(Struct):
    """What one pcpu and the host say to each other."""

    turn = scalar(u64)
    """`FREE`, `ASKED` or `ORDERED`."""
    asked = scalar(u64)
    """How many questions there have been."""
    order = scalar(u64)
    """An `Order`."""
    address = scalar(u64)
    """Of an errand: a trap key or a physical address."""
    value = scalar(u64)
    width = scalar(u64)
    """In bytes."""
    result = scalar(u64)
    """Of an errand: 1 if it could be done."""
    hpfar = scalar(u64)
    """HPFAR_EL2 at the trap."""
    waited = scalar(u64)
    """How long the question before this one took, in ticks of CNTPCT_EL0."""
    polled = scalar(u64)
    """Not 0 once a ring has ended before the answer was there, so that the wait took guest time."""
    target = scalar(u64)
    """Of an exception, as in `ExceptionRecord`, like what follows."""
    kind = scalar(u64)
    has_vaddress = scalar(u64)
    has_ipaddress = scalar(u64)
    syndrome = scalar(u64)
    vaddress = scalar(u64)
    ipaddress = scalar(u64)
    doorbell = scalar(u64)
    """Address of the UART; 0 if nobody hears it."""
    rings = scalar(u64)
    """How many bytes a ring has."""
    shows = scalar(u64)
    """Not 0: show hardware's registers with each question, whatever the hook will look at."""
    summoned = scalar(u64)
    """Not 0: every trap of this vCPU asks."""
    registers = array(u64, len(SHOWN))
    """Hardware's registers (`SHOWN`) after `Order.SHOW`; what the machine has not stays 0."""


class Range(Struct):
    """A range of physical addresses as a level sees them, first and last."""

    first = scalar(u64)
    last = scalar(u64)


class Wanted(Struct):
    """Which traps hooks want; one for all vCPUs. The host writes it, live."""

    classes = array(u64, 2)
    """[context]: a bit for each EC of which every trap asks."""
    filtered = array(u64, 2)
    """[context]: a bit for each EC of which a trap asks if its register or address does."""
    interrupts = array(u64, 2)
    """[context]: a bit for each kind that is not SYNC, by `kind >> KINDS_SHIFT`."""
    range_count = scalar(u64)
    ranges = array(Range, MAX_RANGES)
    """Addresses whose accesses ask, where stage 2 translates nothing."""
    registers = array(u64, (1 << 16) // 64)
    """A bit for each trap key."""


@inline
def mailbox_of(vcpu: Vcpu) -> Mailbox:
    """Give the mailbox of a vCPU."""
    return at(Mailbox, u64(address_of(vcpu) - VCPU_IN_PCPU + MAILBOX_IN_PCPU))


@inline
def wanted_of(vcpu: Vcpu) -> Wanted:
    """Give what hooks want."""
    return at(Wanted, u64(vcpu.vm + WANTED_IN_VM))

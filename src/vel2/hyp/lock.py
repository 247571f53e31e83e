"""Locks between pcpus, and how long they are held.

A ticket lock: who comes takes the next number and waits until it is served, so nobody waits for
more than one turn of each other pcpu. L0 runs with interrupts masked, so the holder is never
interrupted by a guest; a guest can therefore make a hold no longer than L0's own code is, whose
loops have bounds. What a guest can make long is done in parts, with the lock given back in between
(docs/stage2.md, "How long a lock is held"). The longest hold and the sum of all are kept, in ticks
of CNTPCT_EL0, where the host can read them.

Order. `Vm.vncr_lock` comes before `Stage2Manager.lock`, and neither is ever held together with
`Gic.lock`. None is held across an ERET.

WFE would be the wait to choose on hardware, where a store to the lock wakes who watches it by an
exclusive load. YIELD is what a machine that runs its CPUs in turn understands: QEMU under `-icount`
goes on to the next CPU, and without it would let the waiting one use up its time.
"""

from vel2.arch import sysregs as sr
from vel2.hyp.state import Lock
from vel2.lang import (
    PA,
    address_of,
    fetch_add_u64,
    inline,
    load_acquire_u64,
    mrs,
    resident,
    store_release_u64,
    u64,
    yield_,
)

__all__ = ("acquire", "release")

NEXT = Lock.offset_of("next")
SERVED = Lock.offset_of("served")


@resident
def acquire(lock: Lock) -> None:
    """Wait until the lock is ours."""
    base = address_of(lock)
    ticket = fetch_add_u64(PA(base + NEXT), 1)
    while load_acquire_u64(PA(base + SERVED)) != ticket:
        yield_()
    lock.taken_at = mrs(sr.CNTPCT_EL0)


@inline
def release(lock: Lock) -> None:
    """Let the next one in."""
    held = u64(mrs(sr.CNTPCT_EL0) - lock.taken_at)
    lock.total = u64(lock.total + held)
    if held > lock.longest:
        lock.longest = held
    served = u64(lock.served + 1)
    store_release_u64(PA(address_of(lock) + SERVED), served)

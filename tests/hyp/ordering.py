"""What has to come before what: barriers in everything that a resident function does.

QEMU executes in order and invalidates at once, so no test on it can see a barrier that is missing.
`Rig` records each run in CPython (`Recorder`), and `check` holds the record to the Arm ARM's rules
for translation table walks and TLB maintenance (D8.16, D8.17, B2.6):

- a store to a table is visible to a walk, and to what a TLBI leaves to be walked again, after DSB;
- a table is filled before it is linked, and DSB comes between;
- an entry is replaced by break-before-make: it is taken out, TLBI, DSB, and only then another;
- a TLBI is complete after DSB, and this PE knows it after ISB;
- TLBI and AT see what MSR wrote to the registers that name their regime only after ISB;
- PAR_EL1 is AT's result only after ISB.

What a guest has to do itself, for its own TLBI in its own regime, is not asked of L0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from vel2.arch import sysregs as sr
from vel2.hyp import pool
from vel2.lang.types import PA

VALID = 1
HCR = sr.HCR_EL2
NOT_TRAPS = HCR.compose(VM=1, DC=1, E2H=1, TGE=1, NV=1)
"""Bits of HCR_EL2 that say which regime runs, and how; NV tells vEL2 from vEL1."""
REGIME = {sr.VTTBR_EL2: (1 << 64) - 1, sr.VTCR_EL2: (1 << 64) - 1, HCR: NOT_TRAPS}
"""What L0 writes that TLBI and AT depend on. What the guest writes needs the guest's own ISB."""
NAMES = {register.trap_key: register.name for register in REGIME}
PAR = sr.PAR_EL1.trap_key
MASKS = {register.trap_key: mask for register, mask in REGIME.items()}
OWN_FLUSH = "TLBI VMALLS12E1IS"
"""Only L0 itself uses this one: nobody else will wait for it."""


class Event(NamedTuple):
    """One thing that a resident function did.

    `kind` is `msr` (that changes a register of `REGIME`), `mrs` (of PAR_EL1), `do` (a system
    instruction or a barrier), `store` (to a table that hardware walks) or `fill` (of a whole page
    with zeroes).
    """

    kind: str
    what: str
    address: int = 0
    old: int = 0
    new: int = 0
    links: bool = False
    """The new entry leads to another table."""
    cached: bool = False
    """The table is one whose entries may be in a TLB."""


class OrderError(AssertionError):
    """Something comes too early or too late."""


class Order:
    """The state of a PE and of memory as far as it is not certain yet."""

    def __init__(self) -> None:
        self.unsynchronized: set[str] = set()
        """Registers written since the last ISB."""
        self.stored = False
        """A leaf was made or taken out since the last DSB."""
        self.filled: set[int] = set()
        """Pages filled since the last DSB."""
        self.running = ""
        """A TLBI without its DSB."""
        self.finished = ""
        """A TLBI with its DSB but without its ISB."""
        self.gone: dict[int, bool] = {}
        """Entries taken out: whether a TLBI has run since."""
        self.translated = False
        """AT has run, and no ISB since."""

    def take(self, event: Event) -> None:
        """Go on by one event.

        :raises OrderError: it comes too early.
        """
        if event.kind == "msr":
            if self.running:
                raise OrderError(f"{event.what} is written before {self.running} is complete")
            self.unsynchronized.add(event.what)
        elif event.kind == "mrs":
            if self.translated:
                raise OrderError("PAR_EL1 is read before AT has written it: no ISB")
        elif event.kind == "fill":
            self.filled.add(event.address)
        elif event.kind == "store":
            self.store(event)
        else:
            self.do(event.what)

    def do(self, what: str) -> None:
        """Execute a system instruction or a barrier."""
        if what.startswith("dsb"):
            self.stored = False
            self.filled.clear()
            if self.running:
                self.running, self.finished = "", self.running
                self.gone = {address: cut for address, cut in self.gone.items() if not cut}
        elif what == "isb":
            self.unsynchronized.clear()
            self.finished, self.translated = "", False
        elif what.startswith("TLBI "):
            if not what.startswith("TLBI ALLE"):
                self.require_synchronized(what)
            if self.stored:
                raise OrderError(f"{what} may come before the store to a table: no DSB")
            self.running = what
            if what == OWN_FLUSH:
                self.gone = dict.fromkeys(self.gone, True)
        elif what.startswith("AT "):
            self.require_synchronized(what)
            if self.stored:
                raise OrderError(f"{what} may walk a table before the store to it: no DSB")
            self.translated = True

    def require_synchronized(self, what: str) -> None:
        """Require that an instruction sees the regime that was written last."""
        if self.unsynchronized:
            late = ", ".join(sorted(self.unsynchronized))
            raise OrderError(f"{what} may not see {late}: no ISB")

    def store(self, event: Event) -> None:
        """Write an entry of a table."""
        where = f"the entry at {event.address:#x}"
        if event.new & VALID and event.cached:
            if event.old & VALID and event.old != event.new:
                raise OrderError(f"{where} is replaced while it is valid")
            if event.address in self.gone:
                raise OrderError(f"{where} is made again before what was there is out of the TLB")
        if event.links and event.new & ~0xFFF & (1 << 48) - 1 in self.filled:
            raise OrderError(f"{where} links a table before its zeroes are visible: no DSB")
        if event.old & VALID and not event.new & VALID and event.cached:
            self.gone[event.address] = False
        # A link to an empty table changes no translation: hardware faults either way.
        self.stored = self.stored or (event.cached and not event.links)

    def end(self) -> None:
        """Go back to the guest: ERET synchronizes, and waits for nothing.

        :raises OrderError: something was left undone.
        """
        if self.stored:
            raise OrderError("the guest runs before the store to a table is visible: no DSB")
        if self.gone:
            listed = ", ".join(f"{address:#x}" for address in sorted(self.gone))
            raise OrderError(f"the guest runs with these entries still in the TLB: {listed}")
        if OWN_FLUSH in (self.running, self.finished):
            raise OrderError(f"the guest runs before {OWN_FLUSH} is complete: no DSB and ISB")


def check(events: Iterable[Event], *, is_whole: bool = True) -> None:
    """Hold a record to the rules.

    :param is_whole: the guest may run next; false of a part that leaves the rest to its caller.
    :raises OrderError: the rule that is broken, and what breaks it.
    """
    order = Order()
    for event in events:
        order.take(event)
    if is_whole:
        order.end()


class Registers:
    """The register file with notes of what is read and written, as intrinsics see it."""

    def __init__(self, file: Any, events: list[Event], written: list[int] | None = None) -> None:
        self.file = file
        self.written = [] if written is None else written
        self.events = events
        self.obj = file.obj

    def __getitem__(self, key: int) -> int:
        if key == PAR:
            self.events.append(Event("mrs", "PAR_EL1"))
        value: int = self.file[key]
        return value

    def __setitem__(self, key: int, value: int) -> None:
        old = self.file[key]
        self.file[key] = value
        self.written.append(key)
        if (old ^ value) & MASKS.get(key, 0):
            self.events.append(Event("msr", NAMES[key], new=value))


@contextmanager
def noting_fills(events: list[Event]) -> Iterator[None]:
    """Note which pages are cleared: that is done by way of a structure, where nobody looks."""
    zero_page: Callable[[PA], None] = pool.zero_page

    def noting(page: PA) -> None:
        events.append(Event("fill", "zero_page", address=int(page)))
        zero_page(page)

    with patch.object(pool, "zero_page", noting):
        yield

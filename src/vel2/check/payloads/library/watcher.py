"""A guest on another CPU that looks at something all the time, and tells what it sees.

Its CPU has a page of its own: a record, and the stack behind it. The guest's instructions keep x2
and x3, and store at `VALUE` and `TURNS`.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h
from vel2.check.payloads.layout import PAGE_BYTES
from vel2.check.payloads.library.assembly import LOWER_AARCH64_SYNC
from vel2.lang import PA, SP, Assembler, load_acquire_u64, resident, store_u64, u64, yield_
from vel2.runtime.bare import vector_table

VALUE, TURNS = 0, 8
"""Where in its record the guest stores what it saw, and then how often it has looked."""
STALE, FRESH = 0xBAD0_0000, 0xF00D_0000
"""What is where it may look no more, and where it shall look: each with the number of the turn."""


def emit_start(a: Assembler, payload: str) -> None:
    """Emit `<payload>_start`, which CPU_ON takes: x0 is the page with the CPU's record and stack.

    It calls `<payload>_second` with that page, and enters the guest at `<payload>_guest` with the
    record in x2 and 0 in x3.
    """
    vector_table(a, f"{payload}_vectors", lambda number: _slot(a, number))
    a.label(f"{payload}_start")
    a.mov_imm(1, PAGE_BYTES)
    a.add(1, 0, rm=1)
    a.mov(SP, 1)
    a.mov(19, 0)
    a.adr_symbol(1, f"{payload}_vectors")
    a.msr(sr.VBAR_EL2, 1)
    a.isb()
    a.bl(f"{payload}_second")
    a.adr_symbol(1, f"{payload}_guest")
    a.msr(sr.ELR_EL2, 1)
    a.mov_imm(1, PSTATE_DAIF | M_EL1h)
    a.msr(sr.SPSR_EL2, 1)
    a.mov(2, 19)
    a.movz(3, 0)
    a.eret()


def _slot(a: Assembler, number: int) -> None:
    """Emit a vector: what the guest may not reach now is tried again, all else is the end."""
    if number == LOWER_AARCH64_SYNC:
        a.eret()
    else:
        a.b("power_off")


@resident
def clear(record: u64) -> None:
    """Begin a record anew."""
    for offset in range(0, PAGE_BYTES, 8):
        store_u64(PA(record + offset), 0)


@resident
def turns(record: u64) -> u64:
    """Give how often a guest has looked."""
    return load_acquire_u64(PA(record + TURNS))


@resident
def wait_for(record: u64, count: u64) -> None:
    """Wait until a guest has looked so often."""
    while turns(record) < count:
        yield_()

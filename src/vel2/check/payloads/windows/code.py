"""The instructions of payload `windows`: where the other CPUs start, and the guest they run."""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h
from vel2.check.payloads.layout import PAGE_BYTES
from vel2.check.payloads.library.assembly import LOWER_AARCH64_SYNC
from vel2.lang import SP, Assembler
from vel2.runtime.bare import vector_table

VALUE, TURNS = 0, 8
"""Where in its record the guest stores what it read, and then how often it has looked."""


def emit(a: Assembler) -> None:
    """Emit `windows_start`: x0 is the page with the CPU's record and stack.

    The guest reads one register of its virtual EL2 and writes another: both are in the page at
    VNCR_EL2.
    """
    vector_table(a, "windows_vectors", lambda number: _slot(a, number))
    a.label("windows_start")
    a.mov_imm(1, PAGE_BYTES)
    a.add(1, 0, rm=1)
    a.mov(SP, 1)
    a.mov(19, 0)
    a.adr_symbol(1, "windows_vectors")
    a.msr(sr.VBAR_EL2, 1)
    a.isb()
    a.bl("windows_second")
    a.adr_symbol(1, "l2_windows")
    a.msr(sr.ELR_EL2, 1)
    a.mov_imm(1, PSTATE_DAIF | M_EL1h)
    a.msr(sr.SPSR_EL2, 1)
    a.mov(2, 19)
    a.movz(3, 0)
    a.eret()
    a.label("l2_windows")
    a.mrs(1, sr.VTTBR_EL2)
    a.str(1, 2, VALUE)
    a.add(3, 3, 1)
    a.msr(sr.TPIDR_EL2, 3)
    a.str(3, 2, TURNS)
    a.b("l2_windows")


def _slot(a: Assembler, number: int) -> None:
    """Emit a vector: what the guest may not reach now is tried again, all else is the end."""
    if number == LOWER_AARCH64_SYNC:
        a.eret()
    else:
        a.b("power_off")

"""The payload's assembly: the vCPUs' vectors, with handlers of interrupts, and PSTATE.I.

Interrupts are served; every other exception ends the payload.
"""

from vel2.arch import sysregs as sr
from vel2.bench.layout import State
from vel2.guests.l2board import STACK_TOP, STATE
from vel2.lang import SP, Assembler
from vel2.runtime.bare import reporting_vectors

__all__ = ("interrupt_code", "other_interrupt_code")

CURRENT_SPX_IRQ = 5
PPI_VTIMER = 27
PPI_PTIMER = 30
IMASK = 2
SGI_CALL, SGI_WORK = 0, 1
"""To another vCPU: it answers, or only wakes up."""
TO_FIRST = 1
"""ICC_SGI1R_EL1: SGI 0 to the PE with affinity 0.0.0.0."""
PSTATE_I = 2
"""In the immediate of DAIFSet and DAIFClr."""


def irq(a: Assembler) -> None:
    """Emit the handler: acknowledge, silence a timer, count, end the interrupt."""
    a.label(".irq")
    a.stp(0, 1, SP, -32, pre=True)
    a.str(2, SP, 16)
    a.mrs(0, sr.ICC_IAR1_EL1)
    a.movz(1, IMASK)
    for intid, control in ((PPI_VTIMER, sr.CNTV_CTL_EL0), (PPI_PTIMER, sr.CNTP_CTL_EL0)):
        a.cmp(0, intid)
        a.b_cond("ne", f".not_{intid}")
        a.msr(control, 1)
        # The interrupt is level-sensitive: it must be gone before its end.
        a.isb()
        a.label(f".not_{intid}")
    a.mov_imm(1, STATE + State.offset_of("interrupts"))
    a.ldr(2, 1)
    a.add(2, 2, 1)
    a.str(2, 1)
    a.msr(sr.ICC_EOIR1_EL1, 0)
    a.ldr(2, SP, 16)
    a.ldp(0, 1, SP, 32, post=True)
    a.eret()


def other_irq(a: Assembler) -> None:
    """Emit the handler of the other vCPUs: end the interrupt, and answer a call by one."""
    a.label(".other_irq")
    a.stp(0, 1, SP, -16, pre=True)
    a.mrs(0, sr.ICC_IAR1_EL1)
    a.msr(sr.ICC_EOIR1_EL1, 0)
    a.cbnz(0, ".no_call")
    a.movz(1, TO_FIRST)
    a.msr(sr.ICC_SGI1R_EL1, 1)
    a.isb()
    a.label(".no_call")
    a.ldp(0, 1, SP, 16, post=True)
    a.eret()


def masks(a: Assembler) -> None:
    """Emit the functions that mask interrupts and let them come."""
    a.label("mask_interrupts")
    a.msr_immediate("daifset", PSTATE_I)
    a.ret()
    a.label("unmask_interrupts")
    a.msr_immediate("daifclr", PSTATE_I)
    a.isb()
    a.ret()


def interrupt_code() -> Assembler:
    """Give all of it."""
    a = Assembler("interrupts")
    reporting_vectors(a, "vectors", STACK_TOP, {CURRENT_SPX_IRQ: ".irq"})
    irq(a)
    masks(a)
    return a


def other_interrupt_code() -> Assembler:
    """Give the vectors of the other vCPUs."""
    a = Assembler("other interrupts")
    reporting_vectors(a, "other_vectors", STACK_TOP, {CURRENT_SPX_IRQ: ".other_irq"})
    other_irq(a)
    return a

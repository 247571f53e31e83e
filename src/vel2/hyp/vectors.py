"""The assembly around the resident code: vectors, saving guests, and entry.

Register use. While a guest runs, SP_EL2 is the address of the `Vcpu`, so the vectors store the GPRs
relative to it and need no free register; L0's stack lies right below. TPIDR_EL2 is that address
too, for an exception from EL2 itself, when SP_EL2 is somewhere in the stack. Synchronous exceptions
first try to be an ERET inside vEL2, which needs four GPRs; everything else saves all 31 and calls
`trap`. A synchronous exception of EL2 itself may be an abort that is expected (`fallible`).
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import PSTATE_MODE, M_EL2t
from vel2.hyp.exception import EL1_TO_EL2
from vel2.hyp.hcr import HCR_SLOT
from vel2.hyp.homes import slot
from vel2.hyp.layout import PCPU_OFFSET, VCPU_IN_PCPU, VM_OFFSET
from vel2.hyp.state import Vcpu
from vel2.hyp.stubs import STUB_BYTES, calls, fallible_calls
from vel2.hyp.watched import (
    ALL_BUT_LAST,
    FAST_ERET,
    PC,
    X,
    save_guest,
    save_pc,
    seen_eret,
    seen_sync,
    watched_eret,
    watched_interrupt,
    watched_sync,
)
from vel2.lang.asm import SP, Assembler

__all__ = ("assemble",)

VECTOR_BYTES = 0x80
SAME_EL_SYNC = 4
LOWER_AARCH64_SYNC, LOWER_AARCH64_IRQ, LOWER_AARCH64_FIQ, LOWER_AARCH64_SERROR = 8, 9, 10, 11
HANDLERS = {
    LOWER_AARCH64_IRQ: "handle_irq",
    LOWER_AARCH64_FIQ: "handle_fiq",
    LOWER_AARCH64_SERROR: "handle_serror",
}


def vectors(a: Assembler) -> None:
    """Emit the table VBAR_EL2 points at."""
    a.align(0x800)
    a.label("vectors")
    for number in range(16):
        a.org_from("vectors", VECTOR_BYTES * number)
        if number == LOWER_AARCH64_SYNC:
            fast_eret(a)
        elif number == SAME_EL_SYNC:
            a.b("to_same_el_sync")
        elif number in HANDLERS:
            a.b(f"to_{HANDLERS[number]}")
        else:
            a.movz(1, number)
            a.b("to_bad_vector")
    a.org_from("vectors", VECTOR_BYTES * 16)


def fast_eret(a: Assembler) -> None:
    """Emit the first part of the synchronous vector: pick out plain ERETs of vEL2."""
    a.stp(0, 1, SP, X)
    a.stp(2, 3, SP, X + 16)
    a.mrs(0, sr.ESR_EL2)
    a.lsr(1, 0, ESR_ELx.EC.lsb)
    a.cmp(1, EC.ERET)
    a.b_cond("eq", "plain_eret")
    a.b("to_handle_sync")


def plain_eret(a: Assembler) -> None:
    """Emit the ERET that stays in the hyp context: vEL2 to vEL2, or to the VHE host's EL0.

    While vEL1 runs `slow_eret` is not 0: an ERET that traps there is L1's to see. x0-x3 are
    saved; x0 = ESR_EL2.

    What comes to `eret_now` is a whole trap, which neither `trap.begin` nor `trap.deliver` sees. It
    is counted here, in the same `Counters`, and who watches it is asked here (`watched_eret`).
    """
    a.label("plain_eret")
    a.ldr(1, SP, Vcpu.offset_of("slow_eret"))
    a.tbnz(0, 1, "to_handle_sync")
    a.cbnz(1, "to_handle_sync")
    a.ldr(2, SP, Vcpu.offset_of("vel2.vncr_page"))
    a.ldr(1, SP, Vcpu.offset_of("pcpu.mdscr"))
    a.ldr(3, 2, 8 * slot(sr.MDSCR_EL1))
    a.cmp(1, rm=3)
    a.b_cond("ne", "to_handle_sync")
    a.mrs(0, sr.SPSR_EL1)
    a.and_(1, 0, PSTATE_MODE)
    a.cbz(1, "eret_to_el0")
    a.sub(1, 1, M_EL2t)
    a.cmp(1, 1)
    a.b_cond("hi", "eret_is_not_plain")
    a.eor(0, 0, EL1_TO_EL2)
    a.label("eret_now")
    a.ldr(1, SP, FAST_ERET)
    a.add(1, 1, 1)
    a.str(1, SP, FAST_ERET)
    watched_eret(a)
    a.msr(sr.SPSR_EL2, 0)
    a.mrs(1, sr.ELR_EL1)
    a.msr(sr.ELR_EL2, 1)
    a.ldp(2, 3, SP, X + 16)
    a.ldp(0, 1, SP, X)
    a.eret()
    a.label("eret_to_el0")
    a.ldr(1, 2, 8 * HCR_SLOT)
    a.tbnz(1, sr.HCR_EL2.TGE.lsb, "eret_now")
    a.label("eret_is_not_plain")
    a.mrs(0, sr.ESR_EL2)
    a.b("to_handle_sync")


def slow_paths(a: Assembler) -> None:
    """Emit the way through the resident code and back into the guest, for each exception."""
    a.label("to_handle_sync")
    for n in ALL_BUT_LAST[2:]:
        a.stp(n, n + 1, SP, X + 8 * n)
    a.mov(1, 0)
    save_pc(a)
    watched_sync(a)
    a.bl("handle_sync")
    a.label("resume")
    a.ldp(0, 1, SP, PC)
    a.msr(sr.ELR_EL2, 0)
    a.msr(sr.SPSR_EL2, 1)
    for n in ALL_BUT_LAST:
        a.ldp(n, n + 1, SP, X + 8 * n)
    a.ldr(30, SP, X + 8 * 30)
    a.eret()
    seen_sync(a)
    for number, handler in HANDLERS.items():
        a.label(f"to_{handler}")
        save_guest(a)
        watched_interrupt(a, handler, VECTOR_BYTES * (number - LOWER_AARCH64_SYNC))
        a.bl(handler)
        a.b("resume")
    same_el_sync(a)
    a.label("to_bad_vector")
    a.mrs(0, sr.TPIDR_EL2)
    a.add(SP, 0, 0)
    a.bl("handle_bad_vector")
    a.label("halt")
    a.wfi()
    a.b("halt")


def same_el_sync(a: Assembler) -> None:
    """Emit the look into the exception table: a Data Abort at the first instruction of a stub.

    No register is saved: the stubs are called, so their callers expect these to change, and
    everything else is FATAL, which needs none.
    """
    a.label("to_same_el_sync")
    a.movz(1, SAME_EL_SYNC)
    a.mrs(9, sr.ESR_EL2)
    a.lsr(9, 9, ESR_ELx.EC.lsb)
    a.cmp(9, EC.DABT_SAME)
    a.b_cond("ne", "to_bad_vector")
    a.mrs(9, sr.ELR_EL2)
    a.adr_symbol(10, "fallible_start")
    a.sub(9, 9, rm=10)
    a.tst(9, STUB_BYTES - 1)
    a.b_cond("ne", "to_bad_vector")
    a.adr_symbol(11, "fallible_end")
    a.sub(11, 11, rm=10)
    a.cmp(9, rm=11)
    a.b_cond("cs", "to_bad_vector")
    a.adr_symbol(9, "fallible_failed")
    a.msr(sr.ELR_EL2, 9)
    a.eret()


def entry(a: Assembler) -> None:
    """Emit the first instructions of a pcpu: stack, vectors, then `start`."""
    a.label("entry")
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    a.adr_symbol(19, "image_start")
    a.mov_imm(1, PCPU_OFFSET + VCPU_IN_PCPU)
    a.add(0, 19, rm=1)
    prepare(a)
    a.bl("start")
    a.b("resume")


def secondary_entry(a: Assembler) -> None:
    """Emit the first instructions of any other pcpu, whose `Vcpu` the firmware gives in x0."""
    a.label("secondary_entry")
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    a.adr_symbol(19, "image_start")
    prepare(a)
    a.bl("start_secondary")
    a.b("resume")


def prepare(a: Assembler) -> None:
    """Set up the stack and the vectors: x0 = the `Vcpu`, x19 = the image; x1 becomes the `Vm`.

    HCR_EL2 first: with E2H=1, which a life before may have left, EL1's names would mean EL2's.
    """
    a.mov_imm(2, sr.HCR_EL2.RW.mask)
    a.msr(sr.HCR_EL2, 2)
    a.isb()
    a.add(SP, 0, 0)
    a.msr(sr.TPIDR_EL2, 0)
    a.mov_imm(2, VM_OFFSET)
    a.add(1, 19, rm=2)
    a.adr_symbol(3, "vectors")
    a.msr(sr.VBAR_EL2, 3)
    a.isb()


def assemble() -> Assembler:
    """Give all of it; the image begins with `image_start`."""
    a = Assembler()
    a.label("image_start")
    a.b("entry")
    vectors(a)
    plain_eret(a)
    seen_eret(a)
    slow_paths(a)
    entry(a)
    secondary_entry(a)
    calls(a)
    fallible_calls(a)
    return a

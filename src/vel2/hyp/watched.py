"""The assembly's look whether anybody wants to see a trap (`watch`), and what it saves for that.

Each kind of trap has two instructions in the way of all, and the rest beside it. Whoever is not
wanted goes back to where it came from.
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.hyp.state import Vcpu
from vel2.hyp.watch import BY_PC, GROUP_BITS, HOOK, PLAIN_ERET, PROBE, PROBE_AT_END
from vel2.lang.asm import SP, Assembler

__all__ = (
    "ALL_BUT_LAST",
    "FAST_ERET",
    "PC",
    "X",
    "save_guest",
    "save_pc",
    "seen_eret",
    "seen_sync",
    "watched_eret",
    "watched_interrupt",
    "watched_sync",
)

X = Vcpu.offset_of("x")
PC = Vcpu.offset_of("pc")
TRAP_PC = Vcpu.offset_of("trap.pc")
FAST_ERET = Vcpu.offset_of("counters.fast_eret")
CONTEXT = Vcpu.offset_of("context")
OBSERVED = Vcpu.offset_of("observe.anybody")
GROUPS, CLASSES = Vcpu.offset_of("observe.groups"), Vcpu.offset_of("observe.classes")
ERET_CLASS = Vcpu.offset_of(f"observe.classes[{PLAIN_ERET}]")
PC_LOW, PC_SPAN = Vcpu.offset_of("observe.pc_low"), Vcpu.offset_of("observe.pc_span")
ALL_BUT_LAST = range(0, 30, 2)


def save_guest(a: Assembler) -> None:
    """Store the GPRs, PC and PSTATE of the guest; x0 becomes the `Vcpu`."""
    for n in ALL_BUT_LAST:
        a.stp(n, n + 1, SP, X + 8 * n)
    save_pc(a)


def save_pc(a: Assembler) -> None:
    """Store x30, PC and PSTATE: where the guest is, and in the record of the trap."""
    a.str(30, SP, X + 8 * 30)
    a.mrs(2, sr.ELR_EL2)
    a.mrs(3, sr.SPSR_EL2)
    a.stp(2, 3, SP, PC)
    a.stp(2, 3, SP, TRAP_PC)
    a.add(0, SP, 0)


def watched_sync(a: Assembler) -> None:
    """Emit the two instructions of a synchronous exception."""
    a.ldr(9, SP, OBSERVED)
    a.cbnz(9, "watched_sync")
    a.label("sync_unseen")


def seen_sync(a: Assembler) -> None:
    """Emit the look whether anybody may want it: x0 is the `Vcpu`, x1 ESR_EL2, x2 ELR_EL2.

    A class that nobody wants, and an access to a register that nobody wants, go on as if nobody
    watched: ten instructions at most. Between addresses are more of them.
    """
    a.label("watched_sync")
    a.lsr(9, 1, ESR_ELx.EC.lsb)
    a.cmp(9, EC.SYS64)
    a.b_cond("eq", "watched_access")
    a.ldr(10, SP, CONTEXT)
    a.add(10, 0, rm=10, lsl=9)
    a.add(9, 10, rm=9, lsl=3)
    a.ldr(9, 9, CLASSES)
    a.cbz(9, "sync_unseen")
    a.tbz(9, BY_PC.bit_length() - 1, "sync_seen")
    a.ldr(10, SP, PC_LOW)
    a.sub(2, 2, rm=10)
    a.ldr(10, SP, PC_SPAN)
    a.cmp(2, rm=10)
    a.b_cond("hi", "sync_unseen")
    a.label("sync_seen")
    a.bl("handle_watched_sync")
    a.b("resume")
    a.label("watched_access")
    a.ubfx(9, 1, ISS_SYS64.CRn.lsb, GROUP_BITS)
    a.add(9, 0, rm=9)
    a.ldrb(9, 9, GROUPS)
    a.cbnz(9, "sync_seen")
    a.b("sync_unseen")


def watched_interrupt(a: Assembler, handler: str, kind: int) -> None:
    """Emit both parts for an interrupt or SError, as the rarest: `kind` as in `records`."""
    a.ldr(9, SP, OBSERVED)
    a.cbz(9, f"unseen_{handler}")
    a.movz(1, kind)
    a.bl("handle_watched_interrupt")
    a.b("resume")
    a.label(f"unseen_{handler}")


def watched_eret(a: Assembler) -> None:
    """Emit the two instructions of an ERET that the vectors do: x0 = SPSR_EL2 for it."""
    a.ldr(1, SP, ERET_CLASS)
    a.cbnz(1, "watched_eret")
    a.label("eret_unseen")


def seen_eret(a: Assembler) -> None:
    """Emit what becomes of an ERET that somebody may want to see: x1 = who (`watch`).

    The tracer sees it done, and then it is done as all traps are. Probes and hooks see it at
    `trap.begin`, as a trap of class ERET: it has not been counted as this one then.
    """
    a.label("watched_eret")
    a.tst(1, PROBE | PROBE_AT_END | HOOK)
    a.b_cond("ne", "eret_for_probe")
    a.tbz(1, BY_PC.bit_length() - 1, "eret_seen")
    a.mrs(2, sr.ELR_EL2)
    a.ldr(3, SP, PC_LOW)
    a.sub(2, 2, rm=3)
    a.ldr(3, SP, PC_SPAN)
    a.cmp(2, rm=3)
    a.b_cond("hi", "eret_unseen")
    a.label("eret_seen")
    for n in ALL_BUT_LAST[2:]:
        a.stp(n, n + 1, SP, X + 8 * n)
    a.str(30, SP, X + 8 * 30)
    a.mrs(2, sr.ELR_EL2)
    a.mrs(3, sr.SPSR_EL2)
    a.stp(2, 3, SP, TRAP_PC)
    a.mrs(2, sr.ELR_EL1)
    a.stp(2, 0, SP, PC)
    a.add(0, SP, 0)
    a.bl("returned")
    a.b("resume")
    a.label("eret_for_probe")
    a.ldr(1, SP, FAST_ERET)
    a.sub(1, 1, 1)
    a.str(1, SP, FAST_ERET)
    a.b("eret_is_not_plain")

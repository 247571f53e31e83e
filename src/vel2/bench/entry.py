"""The payload's assembly: Image header, entry, vectors, and what the subset cannot say."""

from vel2.arch import sysregs as sr
from vel2.bench.layout import (
    IMAGE_BASE,
    STACK_TOP,
    STATE,
    Parameters,
    State,
)
from vel2.lang import SP, XZR, Assembler

VECTORS = 16
VECTOR_BYTES = 0x80
CURRENT_SPX_IRQ = 5
PPI_VTIMER = 27
PPI_PTIMER = 30
IMASK = 2
UNMASK_I = 2
PSCI_SYSTEM_OFF = 0x8400_0008
HLT_SEMIHOSTING = 0xD45E_0000
"""HLT #0xF000."""
ARM64_MAGIC = b"ARM\x64"
LITTLE_ENDIAN_4K_ANYWHERE = 0b1010


def header(a: Assembler) -> None:
    """Emit the arm64 Image header (booting.rst), then the parameters."""
    a.label("image_start")
    a.b("entry")
    a.word(0)
    for value in (0, STACK_TOP - IMAGE_BASE, LITTLE_ENDIAN_4K_ANYWHERE, 0, 0, 0):
        a.quad(value)
    a.bytes(ARM64_MAGIC)
    a.word(0)
    a.label("parameters")
    a.space(Parameters.size)


def entry(a: Assembler) -> None:
    """Emit the start: EL1 with the MMU off, as booting.rst has it, then `bench_main`."""
    a.align(16)
    a.label("entry")
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    a.adr_symbol(0, "vectors")
    a.msr(sr.VBAR_EL1, 0)
    a.isb()
    a.mov_imm(0, STACK_TOP)
    a.mov(SP, 0)
    a.mov_imm(0, STATE)
    a.mov_imm(1, STATE + State.size)
    a.label(".clear")
    a.str(XZR, 0, 0)
    a.add(0, 0, 8)
    a.cmp(0, rm=1)
    a.b_cond("ne", ".clear")
    a.mov_imm(0, STATE)
    a.adr_symbol(1, "parameters")
    a.bl("bench_main")
    a.label("power_off")
    a.mov_imm(0, PSCI_SYSTEM_OFF)
    a.hvc(0)
    a.label(".halt")
    a.wfi()
    a.b(".halt")


def vectors(a: Assembler) -> None:
    """Emit the vectors of EL1: IRQs are served, everything else ends the payload."""
    a.align(0x800)
    a.label("vectors")
    for number in range(VECTORS):
        a.org_from("vectors", VECTOR_BYTES * number)
        if number == CURRENT_SPX_IRQ:
            a.b(".irq")
        else:
            a.movz(0, number)
            a.b(".unexpected")
    a.org_from("vectors", VECTOR_BYTES * VECTORS)
    a.label(".unexpected")
    a.mov_imm(1, STACK_TOP)
    a.mov(SP, 1)
    a.bl("unexpected_exception")
    a.b("power_off")
    irq(a)


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


def calls(a: Assembler) -> None:
    """Emit the functions that the subset calls."""
    a.label("hypercall")
    a.hvc(0)
    a.ret()
    a.label("semihosting_call")
    a.word(HLT_SEMIHOSTING)
    a.ret()
    a.label("mask_interrupts")
    a.msr_immediate("daifset", UNMASK_I)
    a.ret()
    a.label("unmask_interrupts")
    a.msr_immediate("daifclr", UNMASK_I)
    a.isb()
    a.ret()


def assemble() -> Assembler:
    """Give all of it; the image begins with its header."""
    a = Assembler("entry")
    header(a)
    entry(a)
    vectors(a)
    calls(a)
    return a

"""The assembly of every payload: EL2's first controls and its vectors, probes, and L2's code.

Nothing resumes after an exception. `probe` and `run_guest` record their caller. The next exception
to EL2, from whatever level, saves everything into the `State` and returns from them with the number
of its vector. If nobody waits for an exception, `unexpected_exception` reports it and the payload
ends.

L2's code runs at EL1 or EL0 with stage 1 off, at the addresses of the image. Each vector of its EL1
tells EL2 its number by HVC; ESR_EL1, FAR_EL1, ELR_EL1 and SPSR_EL1 then still have what EL1 saw.
"""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.insn import AT, DC
from vel2.check.payloads.layout import STATE, Parameters, State
from vel2.lang import SP, XZR, Assembler
from vel2.runtime.bare import vector_table

OTHER_VECTORS = 0x20
"""Added to the number of a vector of the second table, `other_vectors`."""
NO_EXCEPTION = 0x100
"""What `probe` returns when there was none."""
CURRENT_SPX_SYNC, CURRENT_SPX_IRQ = 4, 5
LOWER_AARCH64_SYNC, LOWER_AARCH64_IRQ = 8, 9
HVC_DONE = 1
"""Immediate of the HVC with which L2 says that an access went through."""
HVC_EL1_VECTOR = 0x80
"""Added to the number of the EL1 vector that L2 took."""

CALLEE_SAVED = ((29, 30), (27, 28), (25, 26), (23, 24), (21, 22), (19, 20))
ALL_BUT_LAST = range(0, 30, 2)
PROBED_INSTRUCTIONS = (
    ("zero", DC.ZVA),
    ("dc_cvac", DC.CVAC),
    ("dc_cvap", DC.CVAP),
    ("dc_civac", DC.CIVAC),
    ("at_s1e2r", AT.S1E2R),
    ("at_s1e2w", AT.S1E2W),
    ("at_s1e1r", AT.S1E1R),
    ("at_s1e0r", AT.S1E0R),
    ("at_s12e1r", AT.S12E1R),
    ("at_s12e1w", AT.S12E1W),
    ("at_s12e0r", AT.S12E0R),
)
LDXR_X1_X0 = 0xC85F_7C01
LDADD_X1_X1_X0 = 0xF821_0001


GUEST_INSTRUCTIONS = (
    ("ldrb", 0x3940_0001),  # ldrb w1, [x0]
    ("ldrsh", 0x7980_0001),  # ldrsh x1, [x0]
    ("ldrsb_w", 0x39C0_0001),  # ldrsb w1, [x0]
    ("ldrsw", 0xB980_0001),  # ldrsw x1, [x0]
    ("strh", 0x7900_0001),  # strh w1, [x0]
    ("str_wzr", 0xB900_001F),  # str wzr, [x0]
    ("ldr_x17", 0xF940_0011),  # ldr x17, [x0]
    ("ldr_post", 0xF840_8401),  # ldr x1, [x0], #8
    ("ldar", 0xC8DF_FC01),  # ldar x1, [x0]
    ("ldp", 0xA940_0801),  # ldp x1, x2, [x0]
    ("stp", 0xA900_0801),  # stp x1, x2, [x0]
    ("ldxr", LDXR_X1_X0),
    ("ldadd", LDADD_X1_X1_X0),
    ("dc_zva", 0xD50B_7420),  # dc zva, x0
    ("dc_cvac", 0xD50B_7A20),  # dc cvac, x0
    ("dc_cvap", 0xD50B_7C20),  # dc cvap, x0
    ("dc_civac", 0xD50B_7E20),  # dc civac, x0
)
"""One instruction each; x0 is the address."""


class Unnamed:
    """A register by its encoding alone, as an Assembler takes it."""

    def __init__(self, *encoding: int) -> None:
        self.encoding = Encoding(*encoding)


PSTATE_PARTS = (
    Unnamed(3, 3, 4, 2, 1),  # DAIF
    Unnamed(3, 0, 4, 2, 2),  # CurrentEL
    Unnamed(3, 0, 4, 2, 0),  # SPSel
    Unnamed(3, 0, 4, 2, 3),  # PAN
    Unnamed(3, 3, 4, 2, 6),  # SSBS
    Unnamed(3, 0, 4, 2, 4),  # UAO
)
"""Each reads as its bits in SPSR_ELx's places. NZCV and DIT, which should be as they were, are left
out: QEMU clears them."""


def _offset(name: str) -> int:
    return State.offset_of(name)


SCTLR_OFF = sr.SCTLR_EL1.compose(EOS=1, EIS=1, SPAN=1, nTLSMD=1, LSMAOE=1)
"""MMU and caches off; what is RES1 without the features that define it."""


def el2_controls(a: Assembler) -> None:
    """Emit the first writes of EL2's controls; x1 is the address of the parameters."""
    a.ldr(0, 1, Parameters.offset_of("hcr"))
    a.msr(sr.HCR_EL2, 0)
    a.isb()
    a.mov_imm(0, SCTLR_OFF)
    a.msr(sr.SCTLR_EL2, 0)
    a.ldr(0, 1, Parameters.offset_of("cptr"))
    a.msr(sr.CPTR_EL2, 0)


def el2_vectors(a: Assembler) -> None:
    """Emit the vectors of EL2: save everything, and return from `probe` or `run_guest`."""
    for table, first in (("el2_vectors", 0), ("other_vectors", OTHER_VECTORS)):

        def slot(number: int, table: str = table, first: int = first) -> None:
            a.label(f"{table}_{number}")
            a.stp(0, 1, SP, -16, pre=True)
            a.movz(0, first + number)
            a.b(".save")

        vector_table(a, table, slot)
    a.label(".save")
    a.mov_imm(1, STATE)
    for n in ALL_BUT_LAST[1:]:
        a.stp(n, n + 1, 1, 8 * n)
    a.str(30, 1, 8 * 30)
    a.movz(4, 0)
    for part in PSTATE_PARTS:
        a.mrs(2, part)
        a.orr(4, 4, rm=2)
    a.ldp(2, 3, SP, 16, post=True)
    a.stp(2, 3, 1, 0)
    a.str(4, 1, _offset("pstate"))
    a.str(0, 1, _offset("vector"))
    for register, name in (
        (sr.ESR_EL2, "esr"),
        (sr.ELR_EL2, "elr"),
        (sr.SPSR_EL2, "spsr"),
        (sr.FAR_EL2, "far"),
    ):
        a.mrs(2, register)
        a.str(2, 1, _offset(name))
    a.ldr(2, 1, _offset("frame"))
    a.cbz(2, ".nobody_waits")
    a.str(XZR, 1, _offset("frame"))
    a.mov(SP, 2)
    a.b(".return_to_caller")
    a.label(".nobody_waits")
    a.mov(0, 1)
    a.bl("unexpected_exception")
    a.b("power_off")


def _note_caller(a: Assembler) -> None:
    """Emit the saving of the caller; x9 becomes the `State`, x10 is used."""
    for first, second in CALLEE_SAVED:
        a.stp(first, second, SP, -16, pre=True)
    a.mov_imm(9, STATE)
    a.mov(10, SP)
    a.str(10, 9, _offset("frame"))


def probes(a: Assembler) -> None:
    """Emit `probe(code, a, b)`, `run_guest()`, and the code to probe."""
    a.label("probe")
    _note_caller(a)
    a.mov(9, 0)
    a.mov(0, 1)
    a.mov(1, 2)
    a.blr(9)
    a.mov_imm(9, STATE)
    a.str(0, 9, 0)
    a.str(XZR, 9, _offset("frame"))
    a.movz(0, NO_EXCEPTION)
    a.label(".return_to_caller")
    for first, second in reversed(CALLEE_SAVED):
        a.ldp(first, second, SP, 16, post=True)
    a.ret()
    a.label("run_guest")
    _note_caller(a)
    a.ldr(0, 9, _offset("guest_pc"))
    a.msr(sr.ELR_EL2, 0)
    a.ldr(0, 9, _offset("guest_pstate"))
    a.msr(sr.SPSR_EL2, 0)
    a.add(30, 9, _offset("guest_x"))
    for n in ALL_BUT_LAST:
        a.ldp(n, n + 1, 30, 8 * n)
    a.ldr(30, 30, 8 * 30)
    a.eret()
    _accesses(a)


def _accesses(a: Assembler) -> None:
    """Emit what EL2 probes: x0 is the address, x1 a value, the result is in x0."""
    a.label("do_read")
    a.ldr(0, 0)
    a.ret()
    a.label("do_write")
    a.str(1, 0)
    a.ret()
    a.label("do_read_byte")
    a.ldrb(0, 0)
    a.ret()
    a.label("do_read_pair")
    a.ldp(0, 1, 0)
    a.ret()
    a.label("do_exclusive")
    a.word(LDXR_X1_X0)
    a.mov(0, 1)
    a.ret()
    a.label("do_atomic")
    a.word(LDADD_X1_X1_X0)
    a.mov(0, 1)
    a.ret()
    a.label("do_execute")
    a.br(0)
    _without_tables(a)
    for name, instruction in PROBED_INSTRUCTIONS:
        a.label(f"do_{name}")
        a.sys(instruction, 0)
        a.isb()
        a.ret()


def _without_tables(a: Assembler) -> None:
    """Emit code that EL2 runs from its TLB, while TTBR0_EL2 is x0; x1 is an address it may use."""
    a.label("do_without_tables")
    a.ldr(3, 1)
    a.str(3, 1)
    a.mrs(2, sr.TTBR0_EL2)
    a.msr(sr.TTBR0_EL2, 0)
    a.isb()
    a.mrs(3, sr.ICH_VTR_EL2)
    a.str(3, 1)
    a.mrs(3, sr.ICH_VTR_EL2)
    a.ldr(3, 1)
    a.mrs(3, sr.ICH_VTR_EL2)
    a.msr(sr.TTBR0_EL2, 2)
    a.isb()
    a.ret()


def guest(a: Assembler) -> None:
    """Emit L2: three accesses (x0 is the address, x1 the value) and the vectors of its EL1."""
    vector_table(a, "el1_vectors", lambda number: a.hvc(HVC_EL1_VECTOR + number))
    a.label("guest_read")
    a.ldr(1, 0)
    a.hvc(HVC_DONE)
    a.label("guest_write")
    a.str(1, 0)
    a.hvc(HVC_DONE)
    a.label("guest_execute")
    a.br(0)
    a.label("guest_hvc")
    a.hvc(HVC_DONE)
    for name, word in GUEST_INSTRUCTIONS:
        a.label(f"guest_{name}")
        a.word(word)
        a.hvc(HVC_DONE)


def assemble() -> Assembler:
    """Give all of it, for a payload to add its own code to."""
    a = Assembler("payload")
    el2_vectors(a)
    probes(a)
    guest(a)
    return a

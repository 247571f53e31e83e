"""The instructions that payload `debug` runs at EL2, and in L2 at EL1 and EL0."""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, SPSR_ELx
from vel2.check.payloads.library.accesses import emit_accesses, register_accesses
from vel2.check.payloads.library.assembly import HVC_DONE
from vel2.lang import Assembler

UNMASK_D = 8
NOP = 0xD503_201F
SVC_0 = 0xD400_0001
BRK_7 = 0xD420_00E0

REGISTERS: tuple[type[Register], ...] = (
    sr.MDSCR_EL1,
    sr.DBGBVR0_EL1,
    sr.DBGBCR0_EL1,
    sr.DBGWVR1_EL1,
    sr.DBGWCR1_EL1,
    sr.DBGCLAIMSET_EL1,
    sr.DBGCLAIMCLR_EL1,
    sr.MDCCINT_EL1,
    sr.OSECCR_EL1,
    sr.OSDLR_EL1,
    sr.DBGPRCR_EL1,
)
READ_ONLY: tuple[type[Register], ...] = (
    sr.MDRAR_EL1,
    sr.OSLSR_EL1,
    sr.DBGAUTHSTATUS_EL1,
    sr.MDCCSR_EL0,
    sr.DBGBCR15_EL1,
    sr.DBGWCR15_EL1,
)
WRITE_ONLY: tuple[type[Register], ...] = (sr.OSLAR_EL1,)
ACCESSES = register_accesses(
    "l2_debug",
    (
        *((register, "rw") for register in REGISTERS),
        *((register, "r") for register in READ_ONLY),
        *((register, "w") for register in WRITE_ONLY),
    ),
)
"""What L2 reads and writes."""


def emit(a: Assembler) -> None:
    """Emit the code. The places that breakpoints are set on are called `*_target`."""
    a.align(16)
    _at_el2(a)
    _in_l2(a)
    _in_l2_at_el0(a)
    _steps(a)
    emit_accesses(a, ACCESSES)


def _unmasked(a: Assembler, name: str) -> None:
    """Begin a piece of code that debug exceptions may interrupt."""
    a.label(name)
    a.msr_immediate("daifclr", UNMASK_D)
    a.isb()


def _masked(a: Assembler) -> None:
    """End one of EL2's."""
    a.msr_immediate("daifset", UNMASK_D)
    a.ret()


def _at_el2(a: Assembler) -> None:
    """Emit what EL2 runs itself."""
    _unmasked(a, "el2_unmasked")
    a.label("el2_target")
    a.word(NOP)
    _masked(a)
    # Two accesses that may trap at virtual EL2, one right after the other.
    _unmasked(a, "el2_accesses")
    a.mrs(1, sr.MDCR_EL2)
    a.label("el2_second_target")
    a.mrs(1, sr.VTTBR_EL2)
    a.mrs(1, sr.MDCR_EL2)
    _masked(a)
    _unmasked(a, "el2_load")
    a.ldr(1, 0)
    _masked(a)
    _unmasked(a, "el2_store")
    a.str(1, 0)
    _masked(a)
    # Debug is enabled last, by x1; nothing on the way need trap at virtual EL2.
    a.label("el2_enabled_last")
    a.msr(sr.MDSCR_EL1, 1)
    a.isb()
    a.msr_immediate("daifclr", UNMASK_D)
    a.isb()
    a.label("el2_last_target")
    a.word(NOP)
    a.ldr(2, 0)
    _masked(a)


def _in_l2(a: Assembler) -> None:
    """Emit what L2 runs at EL1."""
    _unmasked(a, "l2_unmasked")
    a.label("l2_target")
    a.word(NOP)
    a.hvc(HVC_DONE)
    _unmasked(a, "l2_load")
    a.ldr(1, 0)
    a.hvc(HVC_DONE)
    _unmasked(a, "l2_store")
    a.str(1, 0)
    a.hvc(HVC_DONE)


def _in_l2_at_el0(a: Assembler) -> None:
    """Emit what L2 runs at EL0."""
    a.label("l0_target")
    a.word(NOP)
    a.word(SVC_0)
    a.label("l0_load")
    a.ldr(1, 0)
    a.word(SVC_0)
    a.label("l0_store")
    a.str(1, 0)
    a.word(SVC_0)
    a.label("l0_brk")
    a.word(BRK_7)


def _steps(a: Assembler) -> None:
    """Emit what is executed step by step."""
    a.label("l2_step_nops")
    a.word(NOP)
    a.word(NOP)
    a.hvc(HVC_DONE)
    a.label("l2_step_read_id")
    a.mrs(1, sr.ID_AA64PFR0_EL1)
    a.word(NOP)
    a.hvc(HVC_DONE)
    a.label("l2_step_read_bcr")
    a.mrs(1, sr.DBGBCR0_EL1)
    a.word(NOP)
    a.hvc(HVC_DONE)
    a.label("l2_step_svc")
    a.word(SVC_0)
    a.label("l2_step_hvc")
    a.hvc(HVC_DONE)
    a.label("l2_step_load")
    a.ldr(1, 0)
    a.hvc(HVC_DONE)
    a.label("l2_step_el0")
    a.mov_imm(1, SPSR_ELx.compose(SS=1) | PSTATE_DAIF | M_EL0t)
    a.msr(sr.SPSR_EL1, 1)
    a.msr(sr.ELR_EL1, 0)
    a.eret()
    a.label("el2_step_read_mdcr")
    a.mrs(1, sr.MDCR_EL2)
    a.word(NOP)
    a.hvc(HVC_DONE)

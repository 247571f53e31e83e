"""The instructions that payload `interrupts` runs at EL2 and in L2."""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.check.payloads.library.assembly import HVC_DONE
from vel2.lang import Assembler

UNMASK_I = 2
PATIENCE = 0x400
"""Turns of the loop that waits for an interrupt, in units of 65536; then the payload goes on."""


def wait(a: Assembler, label: str) -> None:
    """Emit a loop that ends long after any expected interrupt."""
    a.movz(9, PATIENCE, 16)
    a.label(label)
    a.sub(9, 9, 1)
    a.cbnz(9, label)


def emit(a: Assembler) -> None:
    """Emit the code; L2's parts take an argument in x0 and give a result in x1."""
    a.label("el2_wait")
    a.msr_immediate("daifclr", UNMASK_I)
    wait(a, ".wait")
    a.ret()
    a.label("el2_pass")
    a.isb()
    a.ret()
    a.label("l2_loop")
    wait(a, ".loop")
    a.label("l2_loop_end")
    a.hvc(HVC_DONE)
    a.label("l2_ack")
    a.mrs(1, sr.ICC_IAR1_EL1)
    a.hvc(HVC_DONE)
    a.label("l2_eoi")
    a.msr(sr.ICC_EOIR1_EL1, 0)
    a.isb()
    a.hvc(HVC_DONE)
    a.label("l2_virtual_count")
    a.isb()
    a.mrs(1, sr.CNTVCT_EL0)
    a.hvc(HVC_DONE)
    _timer(a, "vtimer", sr.CNTV_CVAL_EL0, sr.CNTV_CTL_EL0)
    _timer(a, "ptimer", sr.CNTP_CVAL_EL0, sr.CNTP_CTL_EL0)
    a.label("l2_enable_group1")
    a.msr(sr.ICC_PMR_EL1, 0)
    a.movz(1, 1)
    a.msr(sr.ICC_IGRPEN1_EL1, 1)
    a.isb()
    a.mrs(1, sr.ICC_PMR_EL1)
    a.hvc(HVC_DONE)


def _timer(a: Assembler, name: str, cval: type[Register], control: type[Register]) -> None:
    """Emit what L2 does with one timer."""
    a.label(f"l2_start_{name}")
    a.msr(cval, 0)
    a.movz(1, 1)
    a.msr(control, 1)
    a.isb()
    a.b("l2_loop")
    a.label(f"l2_set_{name}")
    a.msr(cval, 0)
    a.movz(1, 1)
    a.msr(control, 1)
    a.isb()
    a.hvc(HVC_DONE)
    a.label(f"l2_control_of_{name}")
    a.mrs(1, control)
    a.hvc(HVC_DONE)

"""The instructions of payload `psci`: calls with arguments, and where another CPU starts."""

from vel2.arch import sysregs as sr
from vel2.check.payloads.layout import PAGE_BYTES
from vel2.lang import SP, Assembler

KEPT = range(4, 18)
"""Registers that a call preserves besides the callee-saved ones (SMCCC 1.1)."""


def emit(a: Assembler) -> None:
    """Emit the calls, and `psci_second`: x0 is the page with the CPU's record and stack."""
    a.label("psci_call")
    a.smc(0)
    a.ret()
    a.label("psci_call_with_immediate")
    a.smc(1)
    a.ret()
    a.label("psci_kept")
    for n in KEPT:
        a.movz(n, 0x100 + n)
    a.smc(0)
    a.movz(0, 0)
    for n in KEPT:
        a.movz(1, 0x100 + n)
        a.eor(1, 1, rm=n)
        a.orr(0, 0, rm=1)
    a.ret()
    a.label("psci_second")
    a.mov_imm(1, PAGE_BYTES)
    a.add(1, 0, rm=1)
    a.mov(SP, 1)
    a.adr_symbol(1, "el2_vectors")
    a.msr(sr.VBAR_EL2, 1)
    a.isb()
    a.bl("second_main")
    a.label(".off")
    a.wfi()
    a.b(".off")

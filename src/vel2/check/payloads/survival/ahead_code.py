"""The instructions that `survival` runs where L0 might execute some of them itself (`hyp.ahead`).

Each begins with an access that traps at virtual EL2. What follows must be what hardware does there.
They are copied to pages of their own, so they name no address.
"""

from vel2.arch import sysregs as sr
from vel2.lang import Assembler

UNMASK_I = 2
SVC_7 = 7
OLD, NEW = 1, 2
"""What X0 says about the page that was executed."""
WORDS = 8
"""The longest piece of code."""


def emit(a: Assembler) -> None:
    """Emit the code."""
    a.align(16)
    _at_el0(a)
    _in_pages(a)
    # No way out but an interrupt.
    a.label("ahead_loop")
    a.msr_immediate("daifclr", UNMASK_I)
    a.label(".ahead_again")
    a.mrs(0, sr.ICH_VTR_EL2)
    a.b(".ahead_again")
    a.space(32)


def _at_el0(a: Assembler) -> None:
    """Emit what EL0 of a host runs: an access it may make, then one that it may not."""
    a.label("ahead_el0_timer")
    a.mrs(0, sr.CNTP_CTL_EL0)
    a.msr(sr.VBAR_EL2, 1)
    a.svc(SVC_7)
    a.space(32)
    a.label("ahead_el0_pmu")
    a.mrs(0, sr.PMCCFILTR_EL0)
    a.msr(sr.VBAR_EL2, 1)
    a.svc(SVC_7)
    a.space(32)


def _in_pages(a: Assembler) -> None:
    """Emit what depends on the page that it is in."""
    # The end of a page, and the beginning of one that is execute-never.
    a.label("ahead_page_end")
    a.mrs(1, sr.CNTHCTL_EL2)
    a.label("ahead_never")
    a.movz(0, NEW)
    a.mrs(1, sr.CNTHCTL_EL2)
    a.ret()
    a.space(32)
    # Other tables, and the ISB behind which they are in effect; then the same place in two pages.
    a.label("ahead_switch")
    a.mrs(2, sr.CNTHCTL_EL2)
    a.msr(sr.TTBR0_EL2, 1)
    a.isb()
    a.movz(0, OLD)
    a.mrs(2, sr.CNTHCTL_EL2)
    a.ret()
    a.space(32)
    a.label("ahead_switched")
    for _ in range(3):
        a.nop()
    a.movz(0, NEW)
    a.mrs(2, sr.CNTHCTL_EL2)
    a.ret()
    a.space(32)

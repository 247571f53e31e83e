"""Which of hardware's registers a waiting vCPU shows, in which order, and which it writes."""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp.homes import ALWAYS
from vel2.hyp.optional import ROWS

__all__ = ("FINE", "LISTS", "OPTIONAL", "PLAIN", "SHOWN", "WRITABLE")

SYSTEM: tuple[type[Register], ...] = (
    *(row.hardware for row in ALWAYS),
    *(sr.SP_EL0, sr.TPIDR_EL0, sr.TPIDRRO_EL0, sr.TPIDR_EL1, sr.PAR_EL1, sr.CSSELR_EL1),
    *(sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0, sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0),
)
"""Registers of hardware that belong to the level that runs."""
OF_L0: tuple[type[Register], ...] = (
    *(sr.ACTLR_EL1, sr.MDSCR_EL1, sr.MIDR_EL1, sr.MPIDR_EL1),
    *(sr.CNTFRQ_EL0, sr.CNTPCT_EL0, sr.CNTVCT_EL0, sr.CNTHCTL_EL2, sr.CNTVOFF_EL2),
    *(sr.HCR_EL2, sr.VTTBR_EL2, sr.VTCR_EL2, sr.VPIDR_EL2, sr.VMPIDR_EL2, sr.VNCR_EL2),
    *(sr.CPTR_EL2, sr.MDCR_EL2, sr.HSTR_EL2, sr.VDISR_EL2, sr.VSESR_EL2),
    *(sr.ESR_EL2, sr.FAR_EL2, sr.HPFAR_EL2, sr.ELR_EL2, sr.SPSR_EL2),
    *(sr.ICH_HCR_EL2, sr.ICH_VMCR_EL2, sr.ICH_VTR_EL2, sr.ICH_MISR_EL2),
    *(sr.ICH_EISR_EL2, sr.ICH_ELRSR_EL2, sr.ICH_AP0R0_EL2, sr.ICH_AP1R0_EL2),
)
"""Registers that L0 has in its hand, or that only change by themselves."""
FINE_GRAINED: tuple[type[Register], ...] = (
    *(sr.HFGRTR_EL2, sr.HFGWTR_EL2, sr.HFGITR_EL2, sr.HDFGRTR_EL2, sr.HDFGWTR_EL2),
)
LIST_REGISTERS = tuple(sr.by_name(f"ICH_LR{n}_EL2") for n in range(16))


WRITABLE = SYSTEM
"""What `Order.WRITE` may write to as it is, in either context."""
PLAIN = tuple(enumerate((*SYSTEM, *OF_L0)))
OPTIONAL_AT = len(PLAIN)
OPTIONAL = tuple((OPTIONAL_AT + number, bit, row) for number, (bit, row) in enumerate(ROWS))
FINE_AT = OPTIONAL_AT + len(OPTIONAL)
FINE = tuple(enumerate(FINE_GRAINED, FINE_AT))
LISTS_AT = FINE_AT + len(FINE)
LISTS = tuple((LISTS_AT + n, n, register) for n, register in enumerate(LIST_REGISTERS))
SHOWN: tuple[type[Register], ...] = (
    *(*SYSTEM, *OF_L0),
    *(row.hardware for _, row in ROWS),
    *FINE_GRAINED,
    *LIST_REGISTERS,
)
"""What `Order.SHOW` shows, in the order of `Mailbox.registers`."""

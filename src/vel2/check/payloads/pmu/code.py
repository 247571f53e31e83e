"""The instructions that payload `pmu` runs at EL2, and in L2 at EL1 and EL0."""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.check.payloads.library.accesses import emit_accesses, register_accesses
from vel2.check.payloads.library.assembly import HVC_DONE
from vel2.lang import Assembler

SVC_0 = 0xD400_0001
TURNS = 200
"""Of the loop whose cycles are counted."""

REGISTERS: tuple[tuple[type[Register], str], ...] = (
    (sr.PMCR_EL0, "rw"),
    (sr.PMCNTENSET_EL0, "rw"),
    (sr.PMCNTENCLR_EL0, "rw"),
    (sr.PMOVSCLR_EL0, "rw"),
    (sr.PMOVSSET_EL0, "rw"),
    (sr.PMINTENSET_EL1, "rw"),
    (sr.PMINTENCLR_EL1, "rw"),
    (sr.PMSWINC_EL0, "w"),
    (sr.PMSELR_EL0, "rw"),
    (sr.PMCEID0_EL0, "r"),
    (sr.PMCEID1_EL0, "r"),
    (sr.PMMIR_EL1, "r"),
    (sr.PMCCNTR_EL0, "w"),
    (sr.PMXEVTYPER_EL0, "rw"),
    (sr.PMXEVCNTR_EL0, "rw"),
    (sr.PMUSERENR_EL0, "rw"),
    (sr.PMCCFILTR_EL0, "rw"),
    (sr.PMEVCNTR0_EL0, "rw"),
    (sr.PMEVCNTR1_EL0, "rw"),
    (sr.PMEVTYPER0_EL0, "rw"),
    (sr.PMEVTYPER1_EL0, "rw"),
    (sr.PMEVTYPER30_EL0, "r"),
)
"""What is read and written in L2. The cycle counter's value is not the same twice."""
ACCESSES = register_accesses("l2_pmu", REGISTERS)


def count_cycles(a: Assembler, loop: str) -> None:
    """Emit a loop; x1 becomes what the cycle counter has counted in it."""
    a.isb()
    a.mrs(2, sr.PMCCNTR_EL0)
    a.movz(9, TURNS)
    a.label(loop)
    a.sub(9, 9, 1)
    a.cbnz(9, loop)
    a.isb()
    a.mrs(1, sr.PMCCNTR_EL0)
    a.sub(1, 1, rm=2)


def emit(a: Assembler) -> None:
    """Emit the code; L2's at EL0 ends in an SVC."""
    a.align(16)
    a.label("el2_swinc")
    a.msr(sr.PMSWINC_EL0, 0)
    a.isb()
    a.ret()
    a.label("l2_swinc")
    a.msr(sr.PMSWINC_EL0, 0)
    a.isb()
    a.hvc(HVC_DONE)
    a.label("l0_swinc")
    a.msr(sr.PMSWINC_EL0, 0)
    a.isb()
    a.word(SVC_0)
    a.label("l0_read_cycles")
    a.mrs(1, sr.PMCCNTR_EL0)
    a.word(SVC_0)
    a.label("l0_read_type")
    a.mrs(1, sr.PMEVTYPER0_EL0)
    a.word(SVC_0)
    a.label("el2_cycles")
    count_cycles(a, ".el2_cycles")
    a.mov(0, 1)
    a.ret()
    a.label("l2_cycles")
    count_cycles(a, ".l2_cycles")
    a.hvc(HVC_DONE)
    emit_accesses(a, ACCESSES)

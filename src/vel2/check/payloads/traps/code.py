"""The assembly of payload `traps`: each access as a stub, and L2's loop that runs them.

The loop, its stubs and both sets of vectors share registers of L2 that no stub changes (`R`). A
stub that takes an exception is not resumed: the handler records the exception in `R.outcome` and
continues after the stub, where x30 points.

EL1's handler needs registers that EL2 may have trapped itself (ESR_EL1 by TRVM, ERET by
HFGITR_EL2). It says so in `R.doing`, and EL2 then acts for EL1. The loop ends with an exception to
EL2 that no control can suppress: a stage-2 fault, or an SVC where EL0 is directly below EL2.
"""

from enum import IntEnum

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.check.payloads.library.assembly import LOWER_AARCH64_SYNC
from vel2.check.payloads.traps.table import ACCESSES, EL0_ACCESSES
from vel2.lang import Assembler
from vel2.runtime.bare import vector_table

STUB_BYTES = 16
NOTHING_HERE = 0x3F00_0000
"""An address that no payload's stage 2 maps."""
TAKEN_BY_EL2 = 1 << 63
TAKEN_BY_EL1 = 1 << 62
VECTOR_LSB = 56


class R(IntEnum):
    """General registers of L2."""

    OPERAND = 1
    LIST = 19
    """Where the next access is found in the list: the address of its stub, then x1."""
    COUNT = 20
    RESULTS = 21
    OUTCOME = 22
    """0 for none: else ESR_ELx, who took it, and its vector."""
    DOING = 23
    SCRATCH = 24


class Doing(IntEnum):
    """What the next exception to EL2 means."""

    ACCESS = 0
    HANDLER = 1
    FINISH = 2


def _loop(a: Assembler, label: str, *, by_svc: bool) -> None:
    a.label(label)
    a.mov_imm(R.DOING, Doing.ACCESS)
    a.mov_imm(R.OUTCOME, 0)
    a.ldp(R.SCRATCH, R.OPERAND, R.LIST, 16, post=True)
    a.movz(0, 0)
    a.blr(R.SCRATCH)
    a.str(R.OUTCOME, R.RESULTS, 0)
    a.add(R.RESULTS, R.RESULTS, 8)
    a.sub(R.COUNT, R.COUNT, 1)
    a.cbnz(R.COUNT, label)
    a.mov_imm(R.DOING, Doing.FINISH)
    a.mov_imm(R.SCRATCH, NOTHING_HERE)
    if by_svc:
        a.svc(0)
    else:
        a.ldr(R.SCRATCH, R.SCRATCH)


def _el1_vectors(a: Assembler) -> None:
    def slot(number: int) -> None:
        a.mov_imm(R.DOING, Doing.HANDLER)
        a.mrs(R.SCRATCH, sr.ESR_EL1)
        a.mov_imm(R.OUTCOME, TAKEN_BY_EL1 | number << VECTOR_LSB)
        a.orr(R.OUTCOME, R.OUTCOME, rm=R.SCRATCH)
        if number < LOWER_AARCH64_SYNC:
            a.ret()
        else:
            a.msr(sr.ELR_EL1, 30)
            a.eret()

    vector_table(a, "traps_el1_vectors", slot)


def _el2_vectors(a: Assembler) -> None:
    def slot(number: int) -> None:
        if number == LOWER_AARCH64_SYNC:
            a.cbnz(R.DOING, "traps_not_an_access")
            a.mrs(R.OUTCOME, sr.ESR_EL2)
            a.mov_imm(R.SCRATCH, TAKEN_BY_EL2 | number << VECTOR_LSB)
            a.orr(R.OUTCOME, R.OUTCOME, rm=R.SCRATCH)
            a.msr(sr.ELR_EL2, 30)
            a.eret()
        else:
            a.b(f"el2_vectors_{number}")

    vector_table(a, "traps_el2_vectors", slot)
    a.label("traps_not_an_access")
    a.sub(R.SCRATCH, R.DOING, Doing.FINISH)
    a.cbz(R.SCRATCH, f"el2_vectors_{LOWER_AARCH64_SYNC}")
    a.mrs(R.SCRATCH, sr.ESR_EL2)
    a.lsr(R.SCRATCH, R.SCRATCH, ESR_ELx.EC.lsb)
    a.cmp(R.SCRATCH, EC.ERET)
    a.b_cond("eq", "traps_eret_for_el1")
    a.mrs(R.SCRATCH, sr.ELR_EL2)
    a.add(R.SCRATCH, R.SCRATCH, 4)
    a.msr(sr.ELR_EL2, R.SCRATCH)
    a.mrs(R.SCRATCH, sr.ESR_EL12)
    a.eret()
    a.label("traps_eret_for_el1")
    a.mrs(R.SCRATCH, sr.SPSR_EL12)
    a.msr(sr.SPSR_EL2, R.SCRATCH)
    a.msr(sr.ELR_EL2, 30)
    a.eret()


def _stubs(a: Assembler) -> None:
    a.align(STUB_BYTES)
    a.label("verbatim_start")
    a.label("traps_stubs")
    for index, access in enumerate(ACCESSES):
        a.org_from("traps_stubs", STUB_BYTES * index)
        a.label(f"traps_stub_{index}")
        for word in access.words:
            a.word(word)
        a.ret()
    a.align(STUB_BYTES)
    a.label("verbatim_end")


def _list(a: Assembler, label: str, indices: tuple[int, ...]) -> None:
    a.align(8)
    a.label(label)
    for index in indices:
        a.quad(f"traps_stub_{index}")
        a.quad(ACCESSES[index].value)


def emit(a: Assembler) -> None:
    """Emit all of it."""
    _loop(a, "traps_loop", by_svc=False)
    _loop(a, "traps_loop_host", by_svc=True)
    _el1_vectors(a)
    _el2_vectors(a)
    _stubs(a)
    _list(a, "traps_all", tuple(range(len(ACCESSES))))
    _list(a, "traps_el0", EL0_ACCESSES)

"""A probe is called at the traps that it names, and at no others."""

from __future__ import annotations

from typing import Any

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.arch.insn import TLBI
from vel2.errors import UserError
from vel2.hyp.records import FIQ, IRQ, SYNC, Trap
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.lang import Jit, Simulation
from vel2.probes.build import around
from vel2.probes.counting import Counters
from vel2.probes.place import BEGIN, END, Place, marked_place, place_of, probe

BASE = 0x4000_0000
VCPU, MAP = 0x1_0000, 0x8_0000
hits = Counters(1)


def hit(trap: Trap) -> None:
    hits.add(0)


def access(register: Any, *, is_read: bool, rt: int = 7) -> int:
    """Give ESR_EL2 of a trapped MRS, MSR or SYS."""
    op0, op1, crn, crm, op2 = register.encoding[:]
    iss = ISS_SYS64.compose(
        Op0=op0, Op1=op1, CRn=crn, CRm=crm, Op2=op2, Rt=rt, Direction=int(is_read)
    )
    return ESR_ELx.compose(EC=EC.SYS64, IL=1) | iss


def of_class(ec: int, iss: int = 0x55) -> int:
    return ESR_ELx.compose(EC=ec, IL=1) | iss


# A trap: what hardware says, and how it is told apart.
TRAPS = {
    "eret": (of_class(EC.ERET), SYNC, CONTEXT_VEL2, 0x1000),
    "hvc of l2": (of_class(EC.HVC64), SYNC, CONTEXT_VEL1, 0x2000),
    "hvc of l1": (of_class(EC.HVC64), SYNC, CONTEXT_VEL2, 0x2004),
    "read of hcr": (access(sr.HCR_EL2, is_read=True), SYNC, CONTEXT_VEL2, 0x3000),
    "write of hcr": (access(sr.HCR_EL2, is_read=False, rt=31), SYNC, CONTEXT_VEL2, 0x3004),
    "write of hacr": (access(sr.HACR_EL2, is_read=False), SYNC, CONTEXT_VEL2, 0x3008),
    "tlbi": (access(TLBI.VAE1IS, is_read=False), SYNC, CONTEXT_VEL2, 0x4000),
    "unknown": (of_class(EC.UNKNOWN, 0), SYNC, CONTEXT_VEL1, 0x5000),
    "irq": (0, IRQ, CONTEXT_VEL1, 0x6000),
    "fiq": (0, FIQ, CONTEXT_VEL1, 0x6000),
}
PLACES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "every trap": ({}, set(TRAPS)),
    "a class by name": ({"trap": "eret"}, {"eret"}),
    "a class by number": ({"trap": 0x16}, {"hvc of l2", "hvc of l1"}),
    "a class as text": ({"trap": "0x16"}, {"hvc of l2", "hvc of l1"}),
    "class 0, which interrupts look like": ({"trap": "UNKNOWN"}, {"unknown"}),
    "interrupts": ({"trap": "IRQ"}, {"irq"}),
    "a level": ({"level": "l2"}, {"hvc of l2", "unknown", "irq", "fiq"}),
    "class and level": ({"trap": "HVC64", "level": "vel2"}, {"hvc of l1"}),
    "a register": ({"sysreg": "HCR_EL2"}, {"read of hcr", "write of hcr"}),
    "a register written": ({"sysreg": "HCR_EL2", "access": "write"}, {"write of hcr"}),
    "a register read": ({"sysreg": "HCR_EL2", "access": "read"}, {"read of hcr"}),
    "any register read": ({"trap": "SYS64", "access": "read"}, {"read of hcr"}),
    "an instruction": ({"sysreg": "TLBI VAE1IS"}, {"tlbi"}),
    "an address": ({"pc": 0x3004}, {"write of hcr"}),
    "addresses": ({"pc": (0x2004, 0x3008)}, {"hvc of l1", "read of hcr", "write of hcr"}),
}


@pytest.mark.parametrize("what", list(PLACES))
def test_a_place_is_where_it_says(what: str) -> None:
    where, expected = PLACES[what]
    called = around(hit, place_of(**where))  # type: ignore[arg-type]
    assert matching(called, native=False) == expected
    assert matching(called, native=True) == expected


def matching(called: Any, *, native: bool) -> set[str]:
    """Name the traps that a probe is called at."""
    machine = Simulation(BASE, 1 << 20, {hits.symbol: BASE + MAP})
    vcpu = machine.at(Vcpu, BASE + VCPU)
    jit = Jit(called) if native else None
    found, before = set(), 0
    with machine:
        for name, (esr, kind, context, pc) in TRAPS.items():
            trap = vcpu.trap
            trap.esr, trap.kind, trap.context, trap.pc = esr, kind, context, pc
            if jit is None:
                called(vcpu, 0)
            else:
                jit.call(called, vcpu, 0)
            now = machine.load(8, BASE + MAP + hits.struct.offset_of("counts"))
            if now != before:
                found.add(name)
            before = now
    return found


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"trap": "HVC65"}, "'HVC65' is no exception class; give one such as ERET, HVC64 or 0x16,"),
        ({"trap": 64}, "0x40 is no exception class; give 0 to 0x3f."),
        ({"sysreg": "HCR_EL2", "trap": "ERET"}, "HCR_EL2 traps as SYS64 and not as ERET;"),
        ({"level": "l3"}, "level cannot be 'l3'; give one of vel2, l1, vel1, l2."),
        ({"access": "execute"}, "access cannot be 'execute'; give one of read, write."),
        ({"at": "middle"}, "at cannot be 'middle'; give one of begin, end."),
    ],
)
def test_places_that_are_none(where: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        place_of(**where)
    assert str(caught.value).startswith(sentence)


def test_a_mark_says_where() -> None:
    @probe(trap="ERET", at=END)
    def marked(trap: Trap) -> None:
        """Do nothing."""

    assert marked_place(marked) == Place(ec=EC.ERET, kind=SYNC, site=END)
    assert marked_place(hit) is None
    assert str(marked_place(marked)).startswith("end of ERET")
    assert str(Place()) == f"{BEGIN} of every trap"

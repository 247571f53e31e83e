"""Machine code of a probe is looked at once more: what must not be in it is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vel2.arch.insn import TLBI
from vel2.arch.sysregs import CNTPCT_EL0, HCR_EL2
from vel2.lang import SP, Assembler
from vel2.lang.confined.code import CodeError, check_code
from vel2.lang.elf import ObjectCode, Section

Emit = Callable[[Assembler], None]


def made(emit: Emit, *, is_writable: bool = False) -> ObjectCode:
    """Make an object of assembly."""
    a = Assembler()
    emit(a)
    a.ret()
    data = bytes(a.data)
    return ObjectCode(b"", [Section(".text", 4, len(data), data, is_writable)], [])


HARMFUL: dict[str, Emit] = {
    "msr": lambda a: a.msr(HCR_EL2, 0),
    "msr immediate": lambda a: a.msr_immediate("daifset", 15),
    "tlbi": lambda a: a.sys(TLBI.ALLE1),
    "smc": lambda a: a.smc(0),
    "hvc": lambda a: a.hvc(0),
    "brk": lambda a: a.brk(0),
    "eret": lambda a: a.eret(),
    "br": lambda a: a.br(3),
    "blr": lambda a: a.blr(3),
    "ret by another register": lambda a: a.ret(3),
    "wfi": lambda a: a.wfi(),
    "isb": lambda a: a.isb(),
    "dsb": lambda a: a.dsb("ish"),
}


@pytest.mark.parametrize("what", list(HARMFUL))
def test_a_harmful_instruction_is_seen(what: str) -> None:
    with pytest.raises(CodeError, match=r"\.text\+0x0: 0x[0-9a-f]{8} is not allowed"):
        check_code(made(HARMFUL[what]))


def test_harmless_ones_pass_and_frames_are_counted() -> None:
    def emit(a: Assembler) -> None:
        a.sub(SP, SP, 0x90)
        a.word(0xA9BD7BFD)  # stp x29, x30, [sp, #-0x30]!
        a.word(0xF81F0FFE)  # str x30, [sp, #-0x10]!
        a.mrs(0, CNTPCT_EL0)
        a.dmb("ish")
        a.word(0xA8C37BFD)  # ldp x29, x30, [sp], #0x30
        a.add(SP, SP, 0x90)

    assert check_code(made(emit)) == 0x90 + 0x30 + 0x10


def test_writable_code_is_refused() -> None:
    with pytest.raises(CodeError, match=r"\.text is writable"):
        check_code(made(lambda a: None, is_writable=True))

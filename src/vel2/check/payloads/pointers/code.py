"""The instructions that payload `pointers` runs at EL2: x0 is the pointer, x1 the modifier."""

from vel2.arch import sysregs as sr
from vel2.lang import SP, Assembler

PACIA_X0_X1 = 0xDAC1_0020
AUTIA_X0_X1 = 0xDAC1_1020
PACIB_X0_X3 = 0xDAC1_0460
PACIA_X0_X3 = 0xDAC1_0060
XPACI_X0 = 0xDAC1_43E0
ERETAA, ERETAB = 0xD69F_0BFF, 0xD69F_0FFF
DAMAGE = 50
"""A bit that is part of every PAC of an address of 48 bits or fewer."""


def emit(a: Assembler) -> None:
    """Emit the code; what returns gives its result in x0."""
    a.align(16)
    for name, words in (
        ("sign", (PACIA_X0_X1,)),
        ("sign_and_check", (PACIA_X0_X1, AUTIA_X0_X1)),
        ("strip", (XPACI_X0,)),
    ):
        a.label(f"pointer_{name}")
        for word in words:
            a.word(word)
        a.ret()
    for key, sign, leave in (("a", PACIA_X0_X3, ERETAA), ("b", PACIB_X0_X3, ERETAB)):
        for name in ("good", "bad"):
            # Returns to x0 with SPSR_EL2 = x1.
            a.label(f"pointer_return_{key}_{name}")
            a.add(3, SP, 0)
            a.word(sign)
            if name == "bad":
                a.eor(0, 0, 1 << DAMAGE)
            a.msr(sr.ELR_EL2, 0)
            a.msr(sr.SPSR_EL2, 1)
            a.isb()
            a.word(leave)

"""What payload `regime` runs at EL2, to see what a bit of SCTLR_EL2 or TCR_EL2 does."""

from vel2.lang import Assembler

BTI_C = 0xD503_245F
BR_X0 = 0xD61F_0000
PACIASP = 0xD503_233F
RET = 0xD65F_03C0
GUARDED = (BTI_C, BR_X0)
"""Calls x0, with PSTATE.BTYPE 3 if it lies in a guarded page."""

CODES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("ldar", (0xC8DF_FC00,)),
    ("stack", (0xD500_40BF, 0x9100_001F, 0xF940_03E0, 0xD500_41BF)),
    ("ldtr", (0xF840_0800,)),
    ("clear_pan", (0xD500_409F,)),
    ("pacia", (0xDAC1_0020,)),
    ("pacib", (0xDAC1_0420,)),
    ("pacda", (0xDAC1_0820,)),
    ("pacdb", (0xDAC1_0C20,)),
)
"""Each with x0 and x1. `stack` loads from SP_EL0 at EL2t."""


def emit(a: Assembler) -> None:
    """Emit `regime_NAME`."""
    a.align(16)
    for name, words in CODES:
        a.label(f"regime_{name}")
        for word in words:
            a.word(word)
        a.ret()

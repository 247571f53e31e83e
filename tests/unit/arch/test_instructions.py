"""Instruction classes: what tells each from the others, by encodings that an assembler has made."""

from __future__ import annotations

import pytest

from vel2.arch import a64
from vel2.arch.insn import DC

CLASSES = (
    a64.PCRelative,
    a64.AddSubtractImmediate,
    a64.LogicalImmediate,
    a64.MoveWide,
    a64.LogicalRegister,
    a64.AddSubtractRegister,
    a64.BranchConditional,
    a64.SystemRegisterMove,
    a64.SystemInstruction,
)


@pytest.mark.parametrize(
    ("insn", "kind", "described"),
    [
        (0x9000_0021, a64.PCRelative, "op|immhi=0x1|Rd=0x1"),  # adrp x1, . + 0x4000
        (0xF140_0483, a64.AddSubtractImmediate, "sf|op|S|sh|imm12=0x1|Rn=0x4|Rd=0x3"),
        (0x9240_1C41, a64.LogicalImmediate, "sf|N|imms=0x7|Rn=0x2|Rd=0x1"),  # and x1, x2, #0xff
        (0xF2A0_0025, a64.MoveWide, "sf|opc=0x3|hw=0x1|imm16=0x1|Rd=0x5"),  # movk x5, #1, lsl #16
        (0x8A22_0C20, a64.LogicalRegister, "sf|N|Rm=0x2|imm6=0x3|Rn=0x1"),  # bic x0, x1, x2, lsl #3
        (0x4B02_0020, a64.AddSubtractRegister, "op|Rm=0x2|Rn=0x1"),  # sub w0, w1, w2
        (0x5400_0041, a64.BranchConditional, "imm19=0x2|cond=0x1"),  # b.ne . + 8
        (0xD53C_1100, a64.SystemRegisterMove, "L|o0|op1=0x4|CRn=0x1|CRm=0x1"),  # mrs x0, hcr_el2
        (0xD508_8320, a64.SystemInstruction, "CRn=0x8|CRm=0x3|op2=0x1"),  # tlbi vae1is, x0
    ],
)
def test_an_instruction_is_of_one_class(
    insn: int, kind: type[a64.Instruction], described: str
) -> None:
    assert [each for each in CLASSES if insn & each.fixed == each.match] == [kind]
    assert kind.describe(insn & ~kind.fixed) == described


def test_a_system_instruction_is_found_by_its_encoding() -> None:
    assert a64.system_instruction(DC.CVAP.encoding) == 0xD50B_7C20  # dc cvap, x0

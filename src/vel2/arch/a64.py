"""A few classes of A64 instructions, as the decode tables of the Arm ARM draw them (C4.1).

`match` holds the bits that make an instruction one of the class, and `fixed` masks them; the named
fields are what the class leaves open.
"""

from __future__ import annotations

from typing import ClassVar

from vel2.arch.bits import Encoding, Field, Layout, Reserved

NOP = 0xD503_201F
BYTES = 4
"""Of one instruction."""
LOG2_BYTES = 2
ZR = 31
"""Register 31 where it is the zero register, not SP."""


class Fixed(Reserved):
    """Bits that have one value in every instruction of the class."""

    def __init__(self, msb: int, lsb: int, value: int) -> None:
        super().__init__(msb, lsb)
        self.value = value


class Instruction(Layout):
    """The bits of one class of instructions."""

    fixed: ClassVar[int]
    match: ClassVar[int]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__(width=32)
        fixed = [field for field in cls.fields if isinstance(field, Fixed)]
        cls.fixed = sum(field.mask for field in fixed)
        cls.match = sum(field.put(field.value) for field in fixed)


class Anything(Instruction):
    """Every instruction: op0 says which table of the encoding it is in."""

    _31 = Reserved(31, 29)
    op0 = Field(28, 25)
    _24 = Reserved(24, 0)


class PCRelative(Instruction):
    """ADR and ADRP (op=1)."""

    op = Field(31)
    immlo = Field(30, 29)
    _28 = Fixed(28, 24, 0b10000)
    immhi = Field(23, 5)
    Rd = Field(4, 0)


class AddSubtractImmediate(Instruction):
    """ADD, ADDS, SUB and SUBS (immediate); sh shifts imm12 by 12."""

    sf = Field(31)
    op = Field(30)
    S = Field(29)
    _28 = Fixed(28, 23, 0b100010)
    sh = Field(22)
    imm12 = Field(21, 10)
    Rn = Field(9, 5)
    Rd = Field(4, 0)


class LogicalImmediate(Instruction):
    """AND, ORR, EOR and ANDS (immediate)."""

    sf = Field(31)
    opc = Field(30, 29)
    _28 = Fixed(28, 23, 0b100100)
    N = Field(22)
    immr = Field(21, 16)
    imms = Field(15, 10)
    Rn = Field(9, 5)
    Rd = Field(4, 0)


class MoveWide(Instruction):
    """MOVN, MOVZ and MOVK."""

    sf = Field(31)
    opc = Field(30, 29)
    _28 = Fixed(28, 23, 0b100101)
    hw = Field(22, 21)
    imm16 = Field(20, 5)
    Rd = Field(4, 0)


class LogicalRegister(Instruction):
    """AND, ORR, EOR, ANDS and, with N=1, the same of an inverted Rm (shifted register)."""

    sf = Field(31)
    opc = Field(30, 29)
    _28 = Fixed(28, 24, 0b01010)
    shift = Field(23, 22)
    N = Field(21)
    Rm = Field(20, 16)
    imm6 = Field(15, 10)
    Rn = Field(9, 5)
    Rd = Field(4, 0)


class AddSubtractRegister(Instruction):
    """ADD, ADDS, SUB and SUBS (shifted register)."""

    sf = Field(31)
    op = Field(30)
    S = Field(29)
    _28 = Fixed(28, 24, 0b01011)
    shift = Field(23, 22)
    _21 = Fixed(21, 21, 0)
    Rm = Field(20, 16)
    imm6 = Field(15, 10)
    Rn = Field(9, 5)
    Rd = Field(4, 0)


class BranchConditional(Instruction):
    """B.cond; its offset counts instructions."""

    _31 = Fixed(31, 24, 0b0101_0100)
    imm19 = Field(23, 5)
    _4 = Fixed(4, 4, 0)
    cond = Field(3, 0)


class SystemRegisterMove(Instruction):
    """MSR (register) and, with L=1, MRS; op0 is 0b1:o0."""

    _31 = Fixed(31, 22, 0b11_0101_0100)
    L = Field(21)
    _20 = Fixed(20, 20, 1)
    o0 = Field(19)
    op1 = Field(18, 16)
    CRn = Field(15, 12)
    CRm = Field(11, 8)
    op2 = Field(7, 5)
    Rt = Field(4, 0)


class SystemInstruction(Instruction):
    """SYS, which AT, DC, IC and TLBI are names of."""

    _31 = Fixed(31, 19, 0b1_1010_1010_0001)
    op1 = Field(18, 16)
    CRn = Field(15, 12)
    CRm = Field(11, 8)
    op2 = Field(7, 5)
    Rt = Field(4, 0)


def system_instruction(encoding: Encoding) -> int:
    """Give the instruction with an encoding of op0 = 1, and register 0."""
    return SystemInstruction.match | SystemInstruction.compose(
        op1=encoding.op1, CRn=encoding.CRn, CRm=encoding.CRm, op2=encoding.op2
    )


def system_move(encoding: Encoding, *, is_read: bool, rt: int = 0) -> int:
    """Give the MRS or MSR (register) of an encoding of op0 = 2 or 3."""
    return SystemRegisterMove.match | SystemRegisterMove.compose(
        L=int(is_read),
        o0=encoding.op0 & 1,
        op1=encoding.op1,
        CRn=encoding.CRn,
        CRm=encoding.CRm,
        op2=encoding.op2,
        Rt=rt,
    )

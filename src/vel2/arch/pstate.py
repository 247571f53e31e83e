"""PSTATE as SPSR_ELx holds it, and the AArch64 modes."""

from __future__ import annotations

from enum import IntEnum

from vel2.arch.bits import Field, Layout, Res0


class Mode(IntEnum):
    """SPSR_ELx.M[3:0] with M[4] = 0 (AArch64)."""

    EL0t = 0x0
    EL1t = 0x4
    EL1h = 0x5
    EL2t = 0x8
    EL2h = 0x9
    EL3t = 0xC
    EL3h = 0xD


M_EL0t = int(Mode.EL0t)
M_EL1t = int(Mode.EL1t)
M_EL1h = int(Mode.EL1h)
M_EL2t = int(Mode.EL2t)
M_EL2h = int(Mode.EL2h)
M_EL3t = int(Mode.EL3t)
M_EL3h = int(Mode.EL3h)


class SPSR_ELx(Layout):
    """Saved PSTATE of an AArch64 context; nRW is M[4] and is 0 for it."""

    _63 = Res0(63, 37)
    UINJ = Field(36)
    PACM = Field(35)
    EXLOCK = Field(34)
    PPEND = Field(33)
    PM = Field(32)
    N = Field(31)
    Z = Field(30)
    C = Field(29)
    V = Field(28)
    _27 = Res0(27, 26)
    TCO = Field(25)
    DIT = Field(24)
    UAO = Field(23)
    PAN = Field(22)
    SS = Field(21)
    IL = Field(20)
    _19 = Res0(19, 14)
    ALLINT = Field(13)
    SSBS = Field(12)
    BTYPE = Field(11, 10)
    D = Field(9)
    A = Field(8)
    I = Field(7)  # noqa: E741  (Arm's name)
    F = Field(6)
    _5 = Res0(5)
    nRW = Field(4)
    M = Field(3, 0, Mode)


class SPSR_A32(Layout):
    """Saved PSTATE of an AArch32 context (M[4] = 1), as SPSR_EL2 holds it."""

    _63 = Res0(63, 34)
    PPEND = Field(33)
    _32 = Res0(32)
    N = Field(31)
    Z = Field(30)
    C = Field(29)
    V = Field(28)
    Q = Field(27)
    IT_1_0 = Field(26, 25)
    DIT = Field(24)
    SSBS = Field(23)
    PAN = Field(22)
    SS = Field(21)
    IL = Field(20)
    GE = Field(19, 16)
    IT_7_2 = Field(15, 10)
    E = Field(9)
    A = Field(8)
    I = Field(7)  # noqa: E741  (Arm's name)
    F = Field(6)
    T = Field(5)
    nRW = Field(4)
    M = Field(3, 0)


PSTATE_NZCV = SPSR_ELx.compose(N=1, Z=1, C=1, V=1)
PSTATE_DAIF = SPSR_ELx.compose(D=1, A=1, I=1, F=1)
PSTATE_PAN = SPSR_ELx.PAN.mask
PSTATE_MODE = SPSR_ELx.nRW.mask | SPSR_ELx.M.mask
PSTATE_EL = 0b11 << 2
"""M[3:2]: the exception level."""
PSTATE_SP = 0b1
"""M[0]: SP_ELx (h) rather than SP_EL0 (t)."""

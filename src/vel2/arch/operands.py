"""What the register operand of a system instruction holds: TLBI by address, prediction restriction.

`insn` has the instructions themselves. Address fields count in pages of 4 KiB, or of the granule
in TG for a range, whatever the tables use.
"""

from __future__ import annotations

from enum import IntEnum

from vel2.arch.bits import Field, Layout, Res0


class TLBI_IPA(Layout):
    """TLBI IPAS2E1 and its kin; TTL is a hint of the granule (TTL[3:2]) and level of the leaf."""

    NS = Field(63)
    _62 = Res0(62, 48)
    TTL_3_2 = Field(47, 46)
    TTL_1_0 = Field(45, 44)
    _43 = Res0(43, 40)
    IPA_HIGH = Field(39, 36)
    """IPA[51:48], RES0 without FEAT_LPA."""
    IPA = Field(35, 0)
    """IPA[47:12]."""


class TLBI_RANGE(Layout):
    """TLBI RVAE1, RIPAS2E1 and their kin; a range of IPAs has no ASID."""

    ASID = Field(63, 48)
    TG = Field(47, 46)
    SCALE = Field(45, 44)
    NUM = Field(43, 39)
    TTL = Field(38, 37)
    BaseADDR = Field(36, 0)


class RestrictedEL(IntEnum):
    """The Exception level that a prediction restriction is for."""

    EL0 = 0
    EL1 = 1
    EL2 = 2
    EL3 = 3


class RCTX(Layout):
    """CFP RCTX, CPP RCTX and DVP RCTX; GVMID and GASID mean all of them."""

    _63 = Res0(63, 49)
    GVMID = Field(48)
    VMID = Field(47, 32)
    _31 = Res0(31, 28)
    NSE = Field(27)
    NS = Field(26)
    EL = Field(25, 24, RestrictedEL)
    _23 = Res0(23, 17)
    GASID = Field(16)
    ASID = Field(15, 0)

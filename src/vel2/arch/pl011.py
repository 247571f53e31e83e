"""The registers of a PL011 that L0 uses, as in the PrimeCell UART (PL011) manual, DDI 0183."""

from __future__ import annotations

from vel2.arch.bits import Field, Res0
from vel2.arch.gicv3 import Mapped

__all__ = ("UARTCR", "UARTDR")


class UARTDR(Mapped, offset=0x000, width=32):
    """Data Register."""

    _31 = Res0(31, 12)
    OE = Field(11)
    BE = Field(10)
    PE = Field(9)
    FE = Field(8)
    DATA = Field(7, 0)


class UARTCR(Mapped, offset=0x030, width=32):
    """Control Register."""

    _31 = Res0(31, 16)
    CTSEn = Field(15)
    RTSEn = Field(14)
    Out2 = Field(13)
    Out1 = Field(12)
    RTS = Field(11)
    DTR = Field(10)
    RXE = Field(9)
    TXE = Field(8)
    LBE = Field(7)
    _6 = Res0(6, 3)
    SIRLP = Field(2)
    SIREN = Field(1)
    UARTEN = Field(0)

"""Print text and numbers through any device that can send a byte.

`console` builds the functions of a console from one that sends a byte. A program chooses its device
once and unpacks them:

    put_byte, put, put_hex, put_decimal = pl011(UART_BASE)

Numbers are printed digit by digit, because the subset has no local arrays to build them in.
"""

from collections.abc import Callable
from typing import NamedTuple

from vel2.lang import PA, bytes_address, load_u8, resident, u64

__all__ = ("NEWLINE", "SPACE", "Console", "console")

NEWLINE = ord("\n")
SPACE = ord(" ")
ZERO = ord("0")
LETTER_A = ord("a")


class Console(NamedTuple):
    """The functions of a console, for resident code to call."""

    put_byte: Callable[[u64], None]
    """Print one byte."""
    put: Callable[[u64], None]
    """Print a NUL-terminated string, given by its address."""
    put_hex: Callable[[u64], None]
    """Print a number as 0x..., without leading zeros."""
    put_decimal: Callable[[u64], None]
    """Print a number in decimal, without leading zeros."""


def console(put_byte: Callable[[u64], None]) -> Console:
    """Make a console of the resident function that sends a byte."""

    @resident
    def put(text: u64) -> None:
        here = text
        while True:
            byte = load_u8(PA(here))
            if byte == 0:
                return
            put_byte(byte)
            here = u64(here + 1)

    @resident
    def put_hex(value: u64) -> None:
        put(bytes_address(b"0x\0"))
        shift = u64(60)
        while shift > 0 and value >> shift == 0:
            shift = u64(shift - 4)
        while True:
            digit = value >> shift & 15
            if digit < 10:
                put_byte(u64(ZERO + digit))
            else:
                put_byte(u64(LETTER_A + digit - 10))
            if shift == 0:
                return
            shift = u64(shift - 4)

    @resident
    def put_decimal(value: u64) -> None:
        divisor = u64(1)
        while value // divisor >= 10:
            divisor = u64(divisor * 10)
        while divisor != 0:
            put_byte(u64(ZERO + value // divisor % 10))
            divisor = divisor // 10

    return Console(put_byte, put, put_hex, put_decimal)

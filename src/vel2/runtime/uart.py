"""Consoles on UARTs that are already set up: Arm's PL011, and the 8250.

Registers are named as in the PrimeCell UART (PL011) manual and the 16550's data sheet.
"""

from vel2.lang import PA, load_u32, resident, store_u8, u8, u64
from vel2.runtime.console import Console, console

__all__ = ("UARTDR", "UARTFR", "UARTFR_TXFF", "pl011", "uart8250")

UARTDR = 0x00
UARTFR = 0x18
UARTFR_TXFF = 1 << 5
"""The transmit FIFO is full."""
THR = 0
"""The 8250's transmit holding register."""


def pl011(base: int) -> Console:
    """Make a console of the PL011 at an address."""

    @resident
    def send_pl011(byte: u64) -> None:
        while load_u32(PA(base + UARTFR)) & UARTFR_TXFF:
            pass
        store_u8(PA(base + UARTDR), u8(byte))

    return console(send_pl011)


def uart8250(base: int) -> Console:
    """Make a console of the 8250 at an address. It must always be ready, as our VMM's is."""

    @resident
    def send_8250(byte: u64) -> None:
        store_u8(PA(base + THR), u8(byte))

    return console(send_8250)

"""What the bare-metal programs of L2 share: console, GICv3, and the report of an exception."""

from vel2.arch import sysregs as sr
from vel2.bench.layout import IMAGE_BASE, STACK_TOP, STATE
from vel2.guests.l2tree import L2_GICD_BASE, L2_GICR_BASE, L2_UART_BASE
from vel2.lang import bytes_address, isb, mrs, msr, resident, u64
from vel2.runtime.bare import Memory
from vel2.runtime.console import NEWLINE, SPACE
from vel2.runtime.gic import open_cpu_interface, start_gic
from vel2.runtime.uart import uart8250

__all__ = ("L2_MEMORY", "gic_init", "put", "put_byte", "put_number", "unexpected_exception")

L2_MEMORY = Memory(IMAGE_BASE, STATE, STACK_TOP, STACK_TOP)
ENABLED_INTIDS = 1 << 30 | 1 << 27 | 0xFFFF
"""The two timers, and the SGIs."""

put_byte, put, _, put_decimal = uart8250(L2_UART_BASE)


@resident
def put_number(value: u64) -> None:
    """Print a space and a number in decimal."""
    put_byte(SPACE)
    put_decimal(value)


@resident
def gic_init() -> None:
    """Enable the SGIs and the timers' PPIs as Group 1 interrupts."""
    msr(sr.ICC_SRE_EL1, sr.ICC_SRE_EL1.compose(SRE=1, DFB=1, DIB=1))
    isb()
    start_gic(L2_GICD_BASE, L2_GICR_BASE, ENABLED_INTIDS)
    open_cpu_interface()


@resident
def unexpected_exception(vector: u64) -> None:
    """Report an exception; the program then ends."""
    put(bytes_address(b"error vector\0"))
    put_number(vector)
    put(bytes_address(b" ESR_EL1\0"))
    put_number(mrs(sr.ESR_EL1))
    put(bytes_address(b" ELR_EL1\0"))
    put_number(mrs(sr.ELR_EL1))
    put(bytes_address(b" FAR_EL1\0"))
    put_number(mrs(sr.FAR_EL1))
    put_byte(NEWLINE)

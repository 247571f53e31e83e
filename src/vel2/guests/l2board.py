"""What the bare-metal programs of L2 share: memory, console, GICv3, CPUs, exceptions reported.

The VMM loads the image 2 MiB above the start of RAM. State and stack lie above it.
"""

from vel2.arch import sysregs as sr
from vel2.arch.psci import CPU_ON_64, SUCCESS
from vel2.guests.l2tree import (
    DTB_BYTES,
    L2_GICD_BASE,
    L2_GICR_BASE,
    L2_GICR_BYTES,
    L2_RAM_BASE,
    L2_UART_BASE,
)
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64
from vel2.runtime.bare import Memory
from vel2.runtime.console import NEWLINE, SPACE
from vel2.runtime.gic import open_cpu_interface, start_gic
from vel2.runtime.psci import firmware_call_3
from vel2.runtime.uart import uart8250

__all__ = (
    "IMAGE_BASE",
    "L2_MEMORY",
    "STACK_TOP",
    "STATE",
    "gic_init",
    "put",
    "put_byte",
    "put_number",
    "turn_on",
    "unexpected_exception",
)

IMAGE_BASE = L2_RAM_BASE + DTB_BYTES
STATE = L2_RAM_BASE + 0x80_0000
STACK_TOP = L2_RAM_BASE + 0xA0_0000
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
def gic_init(number: u64) -> None:
    """Enable the SGIs and the timers' PPIs as Group 1 interrupts of the CPU with this number."""
    msr(sr.ICC_SRE_EL1, sr.ICC_SRE_EL1.compose(SRE=1, DFB=1, DIB=1))
    isb()
    start_gic(L2_GICD_BASE, u64(L2_GICR_BASE + number * L2_GICR_BYTES), ENABLED_INTIDS)
    open_cpu_interface()


@resident
def turn_on(number: u64) -> bool:
    """Turn the CPU with this number on; it runs the program's `secondary`."""
    entry = symbol_address("secondary_start")
    return firmware_call_3(CPU_ON_64, number, entry, number) == SUCCESS


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

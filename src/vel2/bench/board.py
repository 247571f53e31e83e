"""What the bare-metal programs of L2 share: console, GICv3, and the report of an exception."""

from vel2.arch import sysregs as sr
from vel2.bench.layout import IMAGE_BASE, STACK_TOP, STATE
from vel2.guests.l2tree import L2_GICD_BASE, L2_GICR_BASE, L2_UART_BASE
from vel2.lang import PA, bytes_address, isb, load_u32, mrs, msr, resident, store_u32, u32, u64
from vel2.runtime.bare import Memory
from vel2.runtime.console import NEWLINE, SPACE
from vel2.runtime.uart import uart8250

__all__ = ("L2_MEMORY", "gic_init", "put", "put_byte", "put_number", "unexpected_exception")

L2_MEMORY = Memory(IMAGE_BASE, STATE, STACK_TOP, STACK_TOP)
GICD_CTLR = L2_GICD_BASE
GICR_WAKER = L2_GICR_BASE + 0x14
GICR_IGROUPR0 = L2_GICR_BASE + 0x1_0080
GICR_ISENABLER0 = L2_GICR_BASE + 0x1_0100
ENABLE_GROUP1_ARE = 1 << 4 | 1 << 1
PROCESSOR_SLEEP = 1 << 1
CHILDREN_ASLEEP = 1 << 2
ALL_PRIORITIES = 0xFF
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
    store_u32(PA(GICD_CTLR), ENABLE_GROUP1_ARE)
    store_u32(PA(GICR_WAKER), u32(load_u32(PA(GICR_WAKER)) & ~PROCESSOR_SLEEP))
    while load_u32(PA(GICR_WAKER)) & CHILDREN_ASLEEP:
        pass
    store_u32(PA(GICR_IGROUPR0), 0xFFFF_FFFF)
    store_u32(PA(GICR_ISENABLER0), ENABLED_INTIDS)
    msr(sr.ICC_SRE_EL1, sr.ICC_SRE_EL1.compose(SRE=1, DFB=1, DIB=1))
    isb()
    msr(sr.ICC_PMR_EL1, ALL_PRIORITIES)
    msr(sr.ICC_IGRPEN1_EL1, 1)
    isb()


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

"""An 8250 UART. It sends a byte at once, and receives the keys of standard input."""

from vel2.guests.vmm import keys
from vel2.guests.vmm.kvm import IRQ_LINE, IRQ_TYPE_SPI
from vel2.guests.vmm.state import State
from vel2.lang import address_of, resident, u8, u32, u64
from vel2.runtime.console import NEWLINE
from vel2.runtime.linux import STDOUT, ioctl
from vel2.runtime.streams import stream

THR = 0
IER = 1
IIR_FCR = 2
LCR = 3
MCR = 4
LSR = 5
MSR = 6
LCR_DLAB = 0x80
IER_WRITABLE = 0x0F
IER_RDI = 0x01
IER_THRI = 0x02
IIR_NONE = 0x01
IIR_THRI = 0x02
IIR_RDI = 0x04
IIR_FIFO = 0xC0
FCR_ENABLE = 0x01
LSR_IDLE = 0x60
LSR_DR = 0x01
MSR_CONNECTED = 0xB0
CARRIAGE_RETURN = 13
GUEST_LINE = "guest_line"
GUEST, flush = stream(STDOUT, GUEST_LINE)
"""The guest's output has a line of its own, which the VMM's messages do not cut."""


@resident
def send(state: State, byte: u64) -> None:
    """Send one byte of the guest."""
    if state.options.takes_keys != 0:
        GUEST.put_byte(byte)
        flush()
        return
    if state.at_line_start != 0 and byte != CARRIAGE_RETURN:
        GUEST.put(state.options.label)
        state.at_line_start = 0
    GUEST.put_byte(byte)
    if byte == NEWLINE:
        state.at_line_start = 1


@resident
def has_key(state: State) -> bool:
    """Whether a byte waits to be received."""
    return state.keys_first != state.keys_end


@resident
def pending(state: State) -> u64:
    """Give the pending interrupt, as in IIR; of two, the one with priority."""
    if state.registers[IER] & IER_RDI != 0 and has_key(state):
        return IIR_RDI
    if state.registers[IER] & IER_THRI:
        return IIR_THRI
    return IIR_NONE


@resident
def read(state: State, register: u64) -> u64:
    """Read a register."""
    if register <= IER and state.registers[LCR] & LCR_DLAB:
        return state.divisor[register]
    if register == THR:
        key = keys.next_key(state)
        update_interrupt(state)
        return key
    if register == IIR_FCR:
        value = pending(state)
        if state.registers[IIR_FCR] & FCR_ENABLE:
            value = value | IIR_FIFO
        return value
    if register == LSR:
        if has_key(state):
            return LSR_IDLE | LSR_DR
        return LSR_IDLE
    if register == MSR:
        return MSR_CONNECTED
    return state.registers[register]


@resident
def write(state: State, register: u64, value: u64) -> None:
    """Write a register."""
    if register <= IER and state.registers[LCR] & LCR_DLAB:
        state.divisor[register] = u8(value)
    elif register == THR:
        send(state, value)
    elif register == IER:
        state.registers[IER] = u8(value & IER_WRITABLE)
    elif register != LSR and register != MSR:
        state.registers[register] = u8(value)
    update_interrupt(state)


@resident
def update_interrupt(state: State) -> None:
    """Bring the interrupt line to what is pending."""
    level = u64(0)
    if pending(state) != IIR_NONE:
        level = 1
    if level != state.irq_level:
        state.irq_level = level
        state.irq.irq = u32(IRQ_TYPE_SPI | state.uart_intid)
        state.irq.level = u32(level)
        ioctl(state.vm, IRQ_LINE, address_of(state.irq))

"""Small programs that stand on `vel2.runtime`, one for each way to run."""

from __future__ import annotations

from vel2.lang import (
    Assembler,
    Struct,
    address_of,
    array,
    bytes_address,
    extern,
    resident,
    scalar,
    u64,
)
from vel2.runtime.bare import Bare, Memory, reporting_vectors
from vel2.runtime.gic import start_gic
from vel2.runtime.linux import argument, argument_count
from vel2.runtime.streams import ERR, OUT
from vel2.runtime.text import equal, parse_hex, parse_size
from vel2.runtime.uart import pl011, uart8250

UART_BASE = 0x0900_0000
GICD, GICR = 0x0800_0000, 0x080A_0000
BASE = 0x4020_0000
MEMORY = Memory(BASE, BASE + 0x1_0000, BASE + 0x3_0000, BASE + 0x4_0000)
BIG = 18446744073709551615
LINES = ("numbers 0 7 18446744073709551615", "hex 0x0 0xabc 0xffffffffffffffff")


class Variables(Struct):
    """What a bare program finds cleared."""

    words = array(u64, 40)


class Parameters(Struct):
    """What the test patches in."""

    greeting = scalar(u64)


@extern("bad_instruction")
def bad_instruction() -> None:
    """Execute what is UNDEFINED."""
    raise NotImplementedError("an exception needs a machine")


def vectors(name: str) -> Assembler:
    """Give vectors that report every exception, and what raises one."""
    a = Assembler("vectors")
    reporting_vectors(a, name, MEMORY.stack_top)
    a.label("bad_instruction")
    a.word(0)
    a.ret()
    return a


put_byte, put, put_hex, put_decimal = pl011(UART_BASE)
put_byte_8250, put_8250, put_hex_8250, put_decimal_8250 = uart8250(UART_BASE)


@resident
def pl011_main(variables: Variables, parameters: Parameters) -> None:
    """Print numbers, the parameter, what is not clear, and where variables are; then fall."""
    put(bytes_address(b"numbers \0"))
    put_decimal(0)
    put_byte(32)
    put_decimal(7)
    put_byte(32)
    put_decimal(BIG)
    put(bytes_address(b"\nhex \0"))
    put_hex(0)
    put_byte(32)
    put_hex(0xABC)
    put_byte(32)
    put_hex(BIG)
    put(bytes_address(b"\ngreeting \0"))
    put_hex(parameters.greeting)
    dirty = u64(0)
    for n in range(40):
        dirty = dirty | variables.words[n]
    put(bytes_address(b" dirty \0"))
    put_hex(dirty)
    put(bytes_address(b" at \0"))
    put_hex(address_of(variables))
    put_byte(10)
    bad_instruction()
    put(bytes_address(b"nobody gets here\n\0"))


@resident
def uart8250_main(variables: Variables) -> None:
    """Print numbers on the other UART, and come to an end."""
    put_8250(bytes_address(b"numbers \0"))
    put_decimal_8250(0)
    put_byte_8250(32)
    put_decimal_8250(7)
    put_byte_8250(32)
    put_decimal_8250(BIG)
    put_8250(bytes_address(b"\nhex \0"))
    put_hex_8250(variables.words[39])
    put_byte_8250(32)
    put_hex_8250(0xABC)
    put_byte_8250(32)
    put_hex_8250(BIG)
    put_byte_8250(10)


@resident
def unexpected_exception(vector: u64) -> None:
    """Print the vector."""
    put(bytes_address(b"vector \0"))
    put_decimal(vector)
    put_byte(10)


AT_EL2 = Bare(
    "the program",
    2,
    MEMORY,
    pl011_main,
    Variables,
    "vectors",
    Parameters,
    calls=(unexpected_exception,),
)
AT_EL1 = Bare(
    "the program", 1, MEMORY, uart8250_main, Variables, "vectors", calls=(unexpected_exception,)
)


@resident
def gic_main(variables: Variables) -> None:
    """Bring up the GIC with two interrupts."""
    start_gic(GICD, GICR, 1 << 27 | 1 << 3)


WITH_GIC = Bare("the program", 1, MEMORY, gic_main, Variables, "vectors", calls=AT_EL1.calls)


@resident
def process_main(stack: u64) -> u64:
    """Print numbers, then do what the first argument says with the second; give a status."""
    OUT.put(bytes_address(b"numbers \0"))
    OUT.put_decimal(0)
    OUT.put_byte(32)
    OUT.put_decimal(7)
    OUT.put_byte(32)
    OUT.put_decimal(BIG)
    OUT.put(bytes_address(b"\nhex \0"))
    OUT.put_hex(0)
    OUT.put_byte(32)
    OUT.put_hex(0xABC)
    OUT.put_byte(32)
    OUT.put_hex(BIG)
    OUT.put_byte(10)
    if argument_count(stack) != 3:
        ERR.put(bytes_address(b"usage\n\0"))
        return 2
    if equal(argument(stack, 1), bytes_address(b"repeat\0")):
        for _ in range(parse_size(argument(stack, 2))):
            OUT.put_byte(46)
        OUT.put_byte(10)
        return 0
    return parse_hex(argument(stack, 2))

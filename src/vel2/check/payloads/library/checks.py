"""Checks and what they print: `begin`, any number of `expect`, `end`.

A check prints one line, with the first value that was wrong.
"""

from vel2.check.payloads.layout import State
from vel2.lang import bytes_address, resident, u64
from vel2.runtime.console import NEWLINE, SPACE
from vel2.runtime.uart import pl011

UART_BASE = 0x0900_0000
put_byte, put, put_hex, _ = pl011(UART_BASE)
EQUALS = ord("=")
NO_SUBJECT = (1 << 64) - 1


@resident
def put_field(name: u64, value: u64) -> None:
    """Write ` name=0x...`."""
    put_byte(SPACE)
    put(name)
    put_byte(EQUALS)
    put_hex(value)


@resident
def put_name(name: u64, subject: u64) -> None:
    """Write a name, and what it is about: an address or number, or NO_SUBJECT."""
    put(name)
    if subject != NO_SUBJECT:
        put_byte(SPACE)
        put_hex(subject)


@resident
def begin(state: State, name: u64, subject: u64) -> None:
    """Begin a check; see `put_name` for the subject."""
    state.name = name
    state.subject = subject
    state.wrong = 0


@resident
def expect(state: State, field: u64, got: u64, want: u64) -> None:
    """Require one value; the first wrong one is kept."""
    if got != want and state.wrong == 0:
        state.wrong = field
        state.got = got
        state.want = want


@resident
def end(state: State) -> None:
    """End a check: print its line."""
    state.checks = u64(state.checks + 1)
    if state.wrong != 0:
        state.failures = u64(state.failures + 1)
        put(bytes_address(b"not \0"))
    put(bytes_address(b"ok \0"))
    put_name(state.name, state.subject)
    if state.wrong != 0:
        put_byte(SPACE)
        put(state.wrong)
        put_field(bytes_address(b"got\0"), state.got)
        put_field(bytes_address(b"want\0"), state.want)
    put_byte(NEWLINE)


@resident
def finish(state: State) -> None:
    """Print the last line."""
    put(bytes_address(b"done \0"))
    put_hex(state.checks)
    put(bytes_address(b" failed \0"))
    put_hex(state.failures)
    put_byte(NEWLINE)


@resident
def unexpected_exception(state: State) -> None:
    """Report an exception that nobody waited for; the payload then ends."""
    put(bytes_address(b"not ok unexpected-exception\0"))
    put_field(bytes_address(b"vector\0"), state.vector)
    put_field(bytes_address(b"esr\0"), state.esr)
    put_field(bytes_address(b"elr\0"), state.elr)
    put_field(bytes_address(b"far\0"), state.far)
    put_field(bytes_address(b"spsr\0"), state.spsr)
    put_byte(NEWLINE)

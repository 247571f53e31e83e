"""End the VMM when Linux does not do what it asks for."""

from vel2.lang import bytes_address, resident, u64
from vel2.runtime.linux import exit_with, failed
from vel2.runtime.streams import ERR

__all__ = ("check", "die")


@resident
def die(what: u64, result: u64) -> None:
    """Say what could not be done and why, and end with status 1."""
    ERR.put(bytes_address(b"vmm: cannot \0"))
    ERR.put(what)
    ERR.put(bytes_address(b" (errno \0"))
    ERR.put_decimal(u64(0 - result))
    ERR.put(bytes_address(b")\n\0"))
    exit_with(1)


@resident
def check(result: u64, what: u64) -> u64:
    """Give the result of a system call, or end the program if it is an error."""
    if failed(result):
        die(what, result)
    return result

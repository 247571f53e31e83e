"""L0's own accesses to the machine's devices: EL2 maps them as Device memory, one access each."""

from vel2.lang import (
    PA,
    U32_MAX,
    inline,
    load_u32,
    load_u64,
    resident,
    store_u32,
    store_u64,
    u32,
    u64,
)

__all__ = (
    "LONG_BYTES",
    "long_register_of",
    "part",
    "read_long_register",
    "read_register",
    "with_part",
    "write_long_register",
    "write_register",
)


@resident
def read_register(address: u64) -> u64:
    """Read a register of four bytes."""
    return u64(load_u32(PA(address)))


@resident
def read_long_register(address: u64) -> u64:
    """Read a register of eight bytes."""
    return load_u64(PA(address))


@resident
def write_register(address: u64, value: u64) -> None:
    """Write a register of four bytes."""
    store_u32(PA(address), u32(value & U32_MAX))


@resident
def write_long_register(address: u64, value: u64) -> None:
    """Write a register of eight bytes."""
    store_u64(PA(address), value)


HALF_BYTES, LONG_BYTES, HALF_BITS = 4, 8, 32


@inline
def long_register_of(offset: u64) -> u64:
    """Give the offset of the register of eight bytes that an offset lies in."""
    return offset & ~u64(LONG_BYTES - 1)


@resident
def part(register: u64, offset: u64, size: u64) -> u64:
    """Give what an access of four or eight bytes reads of a register of eight."""
    if size == LONG_BYTES:
        return register
    if offset & HALF_BYTES:
        return register >> HALF_BITS
    return register & U32_MAX


@resident
def with_part(register: u64, offset: u64, size: u64, value: u64) -> u64:
    """Give a register of eight bytes after a write of four or eight."""
    if size == LONG_BYTES:
        return value
    if offset & HALF_BYTES:
        return register & U32_MAX | u64(value << HALF_BITS)
    return register & ~U32_MAX | value & U32_MAX

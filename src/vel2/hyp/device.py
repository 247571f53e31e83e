"""L0's own accesses to the machine's devices: EL2 maps them as Device memory, one access each."""

from vel2.lang import PA, load_u32, load_u64, resident, store_u32, store_u64, u32, u64


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
    store_u32(PA(address), u32(value & 0xFFFF_FFFF))


@resident
def write_long_register(address: u64, value: u64) -> None:
    """Write a register of eight bytes."""
    store_u64(PA(address), value)


LOWER_HALF = 0xFFFF_FFFF


@resident
def part(register: u64, offset: u64, size: u64) -> u64:
    """Give what an access of four or eight bytes reads of a register of eight."""
    if size == 8:
        return register
    if offset & 4:
        return register >> 32
    return register & LOWER_HALF


@resident
def with_part(register: u64, offset: u64, size: u64, value: u64) -> u64:
    """Give a register of eight bytes after a write of four or eight."""
    if size == 8:
        return value
    if offset & 4:
        return register & LOWER_HALF | u64(value << 32)
    return register & ~LOWER_HALF | value & LOWER_HALF

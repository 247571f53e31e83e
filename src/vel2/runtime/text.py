"""NUL-terminated strings, and numbers in them."""

from vel2.lang import PA, load_u8, resident, u64

__all__ = ("equal", "length", "parse_hex", "parse_size")

ZERO, NINE = ord("0"), ord("9")
LETTER_A, LETTER_F = ord("a"), ord("f")
KIBI, MEBI, GIBI = ord("K"), ord("M"), ord("G")


@resident
def length(text: u64) -> u64:
    """Give the length of a string, without its NUL."""
    n = u64(0)
    while load_u8(PA(text + n)) != 0:
        n = u64(n + 1)
    return n


@resident
def equal(left: u64, right: u64) -> bool:
    """Whether two strings are the same."""
    n = u64(0)
    while True:
        byte = load_u8(PA(left + n))
        if byte != load_u8(PA(right + n)):
            return False
        if byte == 0:
            return True
        n = u64(n + 1)
    return False


@resident
def parse_size(text: u64) -> u64:
    """Read a decimal number, possibly followed by K, M or G; 0 if it is not one."""
    value = u64(0)
    n = u64(0)
    while True:
        byte = load_u8(PA(text + n))
        if byte < ZERO or byte > NINE:
            break
        value = u64(value * 10 + (byte - ZERO))
        n = u64(n + 1)
    if byte == KIBI:
        return u64(value << 10)
    if byte == MEBI:
        return u64(value << 20)
    if byte == GIBI:
        return u64(value << 30)
    if byte != 0:
        return 0
    return value


@resident
def parse_hex(text: u64) -> u64:
    """Read a hexadecimal number, up to the first byte that is not a digit."""
    value = u64(0)
    here = text
    while True:
        byte = load_u8(PA(here))
        if ZERO <= byte <= NINE:
            value = u64(value << 4) | u64(byte - ZERO)
        elif LETTER_A <= byte <= LETTER_F:
            value = u64(value << 4) | u64(byte - LETTER_A + 10)
        else:
            return value
        here = u64(here + 1)
    return value

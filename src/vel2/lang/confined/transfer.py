"""What an operation that only computes makes of what is known of its operands.

Each function holds for all values that its arguments stand for (`ir`: operations are total, modulo
2**64; a division by 0 gives 0 and leaves the dividend).
"""

from __future__ import annotations

from collections.abc import Callable

from vel2.lang.confined.values import (
    ANYTHING,
    OFFSET_MAX,
    STEP_MAX,
    TRUTH,
    Known,
    between,
    number,
)
from vel2.lang.types import WORD_BITS, WORD_MASK

SIGN = 1 << WORD_BITS - 1


def moved(place: Known, low: int, high: int, step: int) -> Known:
    """Give a place some bytes further on; a number, if that is beyond any region."""
    low, high = place.low + low, place.high + high
    if low < -OFFSET_MAX or high > OFFSET_MAX:
        return ANYTHING
    return Known(low, high, place.region, min(place.step, step))


def add(a: Known, b: Known) -> Known:
    """Add two numbers, or a number to a place."""
    if a.region is not None and b.region is not None:
        return ANYTHING
    if b.region is not None:
        a, b = b, a
    if a.region is not None:
        if b.low >= SIGN:  # a negative number, as -8 is written
            return moved(a, b.low - (1 << WORD_BITS), b.high - (1 << WORD_BITS), b.step)
        return moved(a, b.low, b.high, b.step)
    low, high, step = a.low + b.low, a.high + b.high, min(a.step, b.step)
    if low > WORD_MASK:
        low, high = low - WORD_MASK - 1, high - WORD_MASK - 1
    return between(low, high, step)


def sub(a: Known, b: Known) -> Known:
    """Subtract a number; the distance of two places of a region is a number."""
    if b.region is not None:
        return ANYTHING
    if a.region is not None:
        return moved(a, -b.high, -b.low, b.step)
    low, high, step = a.low - b.high, a.high - b.low, min(a.step, b.step)
    if high < 0:
        low, high = low + WORD_MASK + 1, high + WORD_MASK + 1
    return between(low, high, step)


def mul(a: Known, b: Known) -> Known:
    """Multiply."""
    return between(a.low * b.low, a.high * b.high, min(a.step * b.step, STEP_MAX))


def div(a: Known, b: Known) -> Known:
    """Divide."""
    low = a.low // b.high if b.low > 0 else 0
    return between(low, a.high // max(b.low, 1))


def mod(a: Known, b: Known) -> Known:
    """Take the remainder."""
    return between(0, min(a.high, b.high - 1) if b.low > 0 else a.high)


def and_(a: Known, b: Known) -> Known:
    """Mask: a mask that is a constant gives its own step."""
    return between(0, min(a.high, b.high), max(a.step, b.step))


def or_(a: Known, b: Known) -> Known:
    """Join bits."""
    bits = max(a.high.bit_length(), b.high.bit_length())
    return between(max(a.low, b.low), (1 << bits) - 1, min(a.step, b.step))


def xor(a: Known, b: Known) -> Known:
    """Change bits."""
    bits = max(a.high.bit_length(), b.high.bit_length())
    return between(0, (1 << bits) - 1, min(a.step, b.step))


def shl(a: Known, b: Known) -> Known:
    """Shift to the left; by 64 or more gives 0."""
    if b.high >= WORD_BITS:
        return ANYTHING
    step = min(a.step << b.low, STEP_MAX)
    found = between(a.low << b.low, a.high << b.high, step)
    return found if found is not ANYTHING else Known(0, WORD_MASK, None, step)


def shr(a: Known, b: Known) -> Known:
    """Shift to the right; by 64 or more gives 0."""
    return between(a.low >> min(b.high, WORD_BITS), a.high >> min(b.low, WORD_BITS))


def compared(op: str, a: Known, b: Known) -> Known:
    """Compare two numbers: decided where the intervals are apart."""
    if a.region is not None or b.region is not None:
        return TRUTH
    always, never = {
        "lt": (a.high < b.low, a.low >= b.high),
        "le": (a.high <= b.low, a.low > b.high),
        "gt": (a.low > b.high, a.high <= b.low),
        "ge": (a.low >= b.high, a.high < b.low),
        "eq": (a.constant is not None and a == b, a.high < b.low or b.high < a.low),
        "ne": (a.high < b.low or b.high < a.low, a.constant is not None and a == b),
    }[op]
    return number(1) if always else number(0) if never else TRUTH


def bits_counted(value: Known) -> Known:
    """Count bits: CLZ and CTZ give 0 to 64."""
    return between(0, WORD_BITS)


ARITHMETIC: dict[str, Callable[[Known, Known], Known]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "mod": mod,
    "and": and_,
    "or": or_,
    "xor": xor,
    "shl": shl,
    "shr": shr,
}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
NEGATED = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
SWAPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


def computed(op: str, operands: list[Known]) -> Known | None:
    """Say what is known of the result of an operation that only computes; None of any other."""
    if op in ARITHMETIC:
        a, b = operands
        if op not in ("add", "sub"):
            a, b = (ANYTHING if each.region is not None else each for each in (a, b))
        return ARITHMETIC[op](a, b)
    if op in COMPARISONS:
        return compared(op, *operands)
    if op in ("band", "bor", "bxor", "beq", "not"):
        return TRUTH
    if op == "int":
        return operands[0]
    if op in ("clz", "ctz"):
        return bits_counted(operands[0])
    return ANYTHING if op == "rbit" else None


def kept(op: str, value: Known, other: Known) -> Known | None:
    """Say what is known of a number of which `value op other` holds; None if it cannot."""
    if value.region is not None or other.region is not None:
        return value
    match op:
        case "lt":
            return value.clip(0, other.high - 1) if other.high > 0 else None
        case "le":
            return value.clip(0, other.high)
        case "gt":
            return value.clip(other.low + 1, WORD_MASK)
        case "ge":
            return value.clip(other.low, WORD_MASK)
        case "eq":
            return value.clip(other.low, other.high)
    only = other.constant
    if only is not None and only == value.low == value.high:
        return None
    if only is not None and only == value.low:
        return value.clip(value.low + 1, WORD_MASK)
    if only is not None and only == value.high:
        return value.clip(0, value.high - 1)
    return value

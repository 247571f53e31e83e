"""A second look, at machine code: what a confined function has become has no means to do more.

The rules are shown of the IR. LLVM stands between that and what runs, so each instruction word is
looked at again: none changes the system's state or the Exception level, and none branches to where
a register says but RET. How much stack it takes is seen here, too.
"""

from __future__ import annotations

from vel2.lang.elf import ObjectCode

WORD = 4
RET = 0xD65F03C0
SYSTEM = (0xFFC00000, 0xD5000000)
"""MSR, MRS, SYS, hints and barriers."""
MRS = (0xFFF00000, 0xD5300000)
DMB = (0xFFFFF0FF, 0xD50330BF)
EXCEPTIONS = (0xFF000000, 0xD4000000)
"""SVC, HVC, SMC, BRK, HLT, DCPS."""
TO_REGISTER = (0xFE000000, 0xD6000000)
"""BR, BLR, RET, ERET and their kin with pointer authentication."""
SUB_SP = (0xFF8003FF, 0xD10003FF)
STP_SP_PRE = (0xFFC003E0, 0xA98003E0)
STR_SP_PRE = (0xFFE00FE0, 0xF8000FE0)


class CodeError(Exception):
    """LLVM made an instruction of confined code that it may not have: a mistake of ours."""


def check_code(code: ObjectCode) -> int:
    """Require machine code of an object to be harmless.

    :return: bytes of stack that all its functions take together: none calls itself, so no more is
        ever in use.
    :raises CodeError: names the section, the offset and the word.
    """
    frames = 0
    for section in code.sections:
        if section.is_writable:
            raise CodeError(f"{section.name} is writable: confined code has its maps only")
        if not section.name.startswith(".text"):
            continue
        for offset in range(0, len(section.data), WORD):
            word = int.from_bytes(section.data[offset : offset + WORD], "little")
            if not _is_harmless(word):
                raise CodeError(f"{section.name}+{offset:#x}: {word:#010x} is not allowed")
            frames += frame_bytes(word)
    return frames


def _is(word: int, pattern: tuple[int, int]) -> bool:
    mask, match = pattern
    return word & mask == match


def _is_harmless(word: int) -> bool:
    if _is(word, EXCEPTIONS):
        return False
    if _is(word, TO_REGISTER):
        return word == RET
    return not _is(word, SYSTEM) or _is(word, MRS) or _is(word, DMB)


def frame_bytes(word: int) -> int:
    """Give the bytes of stack that an instruction takes: of a function's first ones."""
    if _is(word, SUB_SP):
        return (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
    if _is(word, STP_SP_PRE):
        return 8 * _negative(word >> 15 & 0x7F, 7)
    if _is(word, STR_SP_PRE):
        return _negative(word >> 12 & 0x1FF, 9)
    return 0


def _negative(value: int, bits: int) -> int:
    """Give how far below 0 a signed number is."""
    return max(0, (1 << bits) - value) if value >> bits - 1 else 0

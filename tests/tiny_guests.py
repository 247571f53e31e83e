"""Guests of a few instructions, for tests of what is around a guest."""

from __future__ import annotations

import struct
from pathlib import Path

POWER_OFF = (0xD2B08000, 0xF2800100, 0xD4000003)  # x0 = PSCI SYSTEM_OFF; smc #0
RESET = (0xD2B08000, 0xF2800120, 0xD4000003)  # x0 = PSCI SYSTEM_RESET; smc #0
HANG = (0xD503207F, 0x17FFFFFF)  # wfi; b .-4
SPIN = (0x14000000,)  # b .
WAIT_FOR_KEY = (
    0xB9401843,  # ldr  w3, [x2, #0x18]   ; UARTFR
    0x3727FFE3,  # tbnz w3, #4, .-4       ; RXFE
)
ECHO_UNTIL_CTRL_D = (
    *WAIT_FOR_KEY,
    0xB9400044,  # ldr  w4, [x2]          ; UARTDR
    0x7100109F,  # cmp  w4, #4
    0x54000060,  # b.eq .+12
    0x39000044,  # strb w4, [x2]
    0x17FFFFFA,  # b    .-24
)


def say(text: str) -> tuple[int, ...]:
    """Give the code that writes to the UART, and leaves its address in x2."""
    words = [0xD2A12002]  # movz x2, #0x0900, lsl #16
    for byte in text.encode():
        words += [0x52800001 | byte << 5, 0x39000041]  # movz w1, #byte; strb w1, [x2]
    return tuple(words)


def branch(words: int) -> int:
    """Give the branch that goes so many instructions on, or back."""
    return 0x14000000 | words & 0x3FFFFFF


def write_image(path: Path, *parts: tuple[int, ...]) -> None:
    """Write an arm64 Image: the 64-byte header begins with a branch to the code after it."""
    code = [word for part in parts for word in part]
    header = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, 0x10000, 0b1010, 0, 0, 0, b"ARM\x64", 0)
    path.write_bytes(header + struct.pack(f"<{len(code)}I", *code))

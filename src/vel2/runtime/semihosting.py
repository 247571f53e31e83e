"""Semihosting calls, which QEMU itself answers, at any Exception level and as one instruction.

The calls are those of Arm's "Semihosting for AArch32 and AArch64".
"""

from vel2.lang import Assembler, extern, u64

__all__ = (
    "MODE_RB",
    "MODE_WB",
    "SYS_GET_CMDLINE",
    "SYS_OPEN",
    "SYS_READ",
    "SYS_WRITE",
    "semihosting_call",
    "semihosting_stub",
)

SYS_OPEN, SYS_WRITE, SYS_READ, SYS_GET_CMDLINE = 0x01, 0x05, 0x06, 0x15
MODE_RB, MODE_WB = 1, 5
HLT_SEMIHOSTING = 0xD45E_0000
"""HLT #0xF000."""


@extern("semihosting_call")
def semihosting_call(operation: u64, block: u64) -> u64:
    """Make a semihosting call with the address of its arguments."""
    raise NotImplementedError("semihosting needs QEMU")


def semihosting_stub() -> Assembler:
    """Give the machine code of `semihosting_call`."""
    a = Assembler("semihosting")
    a.label("semihosting_call")
    a.word(HLT_SEMIHOSTING)
    a.ret()
    return a

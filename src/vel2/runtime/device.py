"""Accesses to devices: one load or store of one register, without writeback, as drivers make them.

A hypervisor below may emulate a device, and can only emulate what ESR_ELx describes. A compiler
may choose instructions that it does not.
"""

from vel2.lang import Assembler, extern, u64

__all__ = (
    "device_stubs",
    "read_byte",
    "read_long",
    "read_word",
    "write_byte",
    "write_long",
    "write_word",
)


@extern("read_byte")
def read_byte(address: u64) -> u64:
    """Load one byte."""
    raise NotImplementedError("a device needs a machine")


@extern("read_word")
def read_word(address: u64) -> u64:
    """Load four bytes."""
    raise NotImplementedError("a device needs a machine")


@extern("read_long")
def read_long(address: u64) -> u64:
    """Load eight bytes."""
    raise NotImplementedError("a device needs a machine")


@extern("write_byte")
def write_byte(address: u64, value: u64) -> None:
    """Store one byte."""
    raise NotImplementedError("a device needs a machine")


@extern("write_word")
def write_word(address: u64, value: u64) -> None:
    """Store four bytes."""
    raise NotImplementedError("a device needs a machine")


@extern("write_long")
def write_long(address: u64, value: u64) -> None:
    """Store eight bytes."""
    raise NotImplementedError("a device needs a machine")


def device_stubs(a: Assembler) -> None:
    """Emit these functions."""
    for name, load, store in (
        ("byte", a.ldrb, a.strb),
        ("word", a.ldr_w, a.str_w),
        ("long", a.ldr, a.str),
    ):
        a.label(f"read_{name}")
        load(0, 0)
        a.ret()
        a.label(f"write_{name}")
        store(1, 0)
        a.ret()

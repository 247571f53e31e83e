"""Shared objects and programs that do nothing, for trees of packages."""

from __future__ import annotations

import struct

EM_AARCH64 = 183
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ = 0, 1, 5, 10
INTERPRETER = "lib/ld-linux-aarch64.so.1"


def elf(*needed: str, interpreter: str = "") -> bytes:
    """Make a shared object of three segments that names what it needs and does nothing."""
    strings = b"\0"
    tags = []
    for name in needed:
        tags.append((DT_NEEDED, len(strings)))
        strings += name.encode() + b"\0"
    interp = interpreter.encode() + b"\0" if interpreter else b""
    at_strings = 64 + 3 * 56
    at_interp = at_strings + len(strings)
    at_dynamic = (at_interp + len(interp) + 7) & -8
    tags += [(DT_STRTAB, at_strings), (DT_STRSZ, len(strings)), (DT_NULL, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    total = at_dynamic + len(dynamic)

    def segment(kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 8)

    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    counts = (64, 56, 3, 64, 0, 0)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, EM_AARCH64, 1, 0, 64, 0, 0, *counts)
    # PT_NULL (0) where there is no interpreter, as in a library.
    segments = segment(PT_INTERP if interp else 0, at_interp, len(interp))
    segments += segment(PT_DYNAMIC, at_dynamic, len(dynamic)) + segment(PT_LOAD, 0, total)
    return (header + segments + strings + interp).ljust(at_dynamic, b"\0") + dynamic

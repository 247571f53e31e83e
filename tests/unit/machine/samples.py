"""Kernel files made to measure: every field of every header can be set, and so be wrong."""

from __future__ import annotations

import struct

BANNER = b"Linux version 6.12.0-test (builder@host) #1\0"


def pe_image(body: bytes = BANNER + bytes(4000), **fields: int) -> bytes:
    """Build an arm64 `Image` with an EFI stub: boot header, PE header with one section, body."""
    pe, optional = 0x40, 0x10
    start = 0x100
    section = bytearray(40)
    section[:6] = b".text\0"
    struct.pack_into("<II", section, 16, fields.get("raw_size", len(body)), start)
    fields.setdefault("image_size", start + len(body))
    header = image_header(pe=pe, **fields)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0xAA64, 1, 0, 0, 0, optional, 0)
    return (header + coff + bytes(optional) + bytes(section)).ljust(start, b"\0") + body


def image_header(
    text_offset: int = 0,
    image_size: int = 0x10000,
    flags: int = 0b1010,
    pe: int = 0,
    **_: int,
) -> bytes:
    """Build the 64 bytes that booting.rst describes; 4 KiB pages, placed anywhere, unless told."""
    fields = (b"MZ\0\x91", 0x14000000, text_offset, image_size, flags, 0, 0, 0, b"ARM\x64", pe)
    return struct.pack("<4sIQQQQQQ4sI", *fields)


def plain_image(body: bytes = BANNER + bytes(4000), **fields: int) -> bytes:
    """Build an arm64 `Image` without an EFI stub."""
    fields.setdefault("image_size", 64 + len(body))
    return b"\x14\0\0\x14" + image_header(**fields)[4:] + body


def zboot(payload: bytes, algorithm: bytes, size: int | None = None) -> bytes:
    """Build an EFI zboot file around a compressed kernel."""
    offset = 0x80
    header = struct.pack(
        "<4s4sII8x32s4sI",
        b"MZ\0\0",
        b"zimg",
        offset,
        len(payload) if size is None else size,
        algorithm,
        b"ARM\x64",
        0x40,
    )
    return header.ljust(offset, b"\0") + payload


def elf64(
    segments: list[tuple[int, int, bytes, int]],
    entry: int,
    machine: int = 183,
    big_endian: bool = False,
) -> bytes:
    """Build an ELF64 file out of (vaddr, paddr, contents, size in memory) segments."""
    order = ">" if big_endian else "<"
    ident = b"\x7fELF" + bytes([2, 2 if big_endian else 1, 1]) + bytes(9)
    header = struct.pack(
        f"{order}HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    offset = 64 + 56 * len(segments)
    programs, contents = b"", b""
    for vaddr, paddr, data, memory in segments:
        at = offset + len(contents)
        programs += struct.pack(
            f"{order}IIQQQQQQ", 1, 7, at, vaddr, paddr, len(data), memory, 0x1000
        )
        contents += data
    return ident + header + programs + contents

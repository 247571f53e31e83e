"""Static ELF programs for arm64 Linux, from the same objects and assemblers as images."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from vel2.lang.asm import Assembler
from vel2.lang.elf import ObjectCode
from vel2.lang.link import Layout, LinkError

MAX_PAGE = 0x1_0000
"""Linux on arm64 has pages of up to 64 KiB: segments with different rights share none."""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_EXECUTABLE, _MACHINE_AARCH64, _LITTLE_ENDIAN_64 = 2, 183, b"\x7fELF\2\1\1".ljust(16, b"\0")
_LOAD, _STACK = 1, 0x6474_E551
_READ, _WRITE, _EXECUTE = 4, 2, 1


def link_elf(
    code: ObjectCode,
    assemblers: Sequence[Assembler],
    base: int = 0x40_0000,
    entry: str = "_start",
) -> bytes:
    """Link a static program: a segment of code and constants, one of data, no executable stack.

    :param base: address of the first segment; a multiple of 64 KiB.
    :param entry: the label where the kernel starts the program.
    :raises LinkError: an undefined or doubly defined name, or a bad base.
    """
    if base % MAX_PAGE or not 0 <= base < 1 << 47:
        raise LinkError(f"a program cannot start at {base:#x}: give a multiple of {MAX_PAGE:#x}")
    headers = _HEADER.size + 3 * _SEGMENT.size
    layout = Layout(base + headers)
    places: dict[int, int] = {}
    for is_writable in (False, True):
        if is_writable:
            text_end = layout.here
            layout.align(MAX_PAGE)
            data_start = layout.here
        for assembler in assemblers:
            if assembler.writable is is_writable:
                layout.add_assembler(assembler)
        indices = [i for i, s in enumerate(code.sections) if s.is_writable is is_writable]
        layout.add_object(code, indices, places)
    layout.define_object(code, places)
    layout.patch(places)
    if entry not in layout.symbols:
        raise LinkError(f"nothing defines the entry {entry}: give it a label")
    memory = layout.flat(base)
    text, data = memory[: text_end - base], memory[data_start - base :]
    return _file(text, data, base, data_start - base, layout.symbols[entry])


def _file(text: bytes, data: bytes, base: int, data_offset: int, entry: int) -> bytes:
    """Write the headers and the two segments.

    :param text: begins with room for the headers, which are loaded with it.
    :param data_offset: of the data from the base, and in the file.
    """
    stored = data.rstrip(b"\0")
    segments = [
        (_LOAD, _READ | _EXECUTE, 0, base, len(text), len(text), MAX_PAGE),
        (_STACK, _READ | _WRITE, 0, 0, 0, 0, 16),
    ]
    if data:
        sizes = len(stored), len(data)
        place = data_offset, base + data_offset
        segments.append((_LOAD, _READ | _WRITE, *place, *sizes, MAX_PAGE))
    head = _HEADER.pack(
        _LITTLE_ENDIAN_64,
        *(_EXECUTABLE, _MACHINE_AARCH64, 1, entry, _HEADER.size, 0, 0),
        *(_HEADER.size, _SEGMENT.size, len(segments), 0, 0, 0),
    )
    for type_, flags, offset, address, file_size, memory_size, alignment in segments:
        head += _SEGMENT.pack(
            type_, flags, offset, address, address, file_size, memory_size, alignment
        )
    image = head + text[len(head) :]
    return image.ljust(data_offset, b"\0") + stored if stored else image

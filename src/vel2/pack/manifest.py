"""The format of a packed file, to the host that writes it and to the loader that reads it.

    0              Image header, manifest, the loader's code and its stack
    LOADER_BYTES   the pieces, by rising address of where they belong

A piece is a part of RAM as it must be when L0 is entered. L0's own part of RAM is zero where no
piece lies; the rest of RAM is the guest's, which expects nothing of it.
"""

from vel2.lang import Struct, array, nested, scalar, u64

__all__ = ("ALIGNMENT", "LOADER_BYTES", "MAX_PIECES", "Findings", "Manifest", "Piece", "Wanted")

LOADER_BYTES = 0x8000
"""For the loader and all it uses. It ends up in the last of L0's memory, where the pool of tables
is, and is overwritten with time."""
ALIGNMENT = 64
"""Of a piece, in RAM and in the file, and of its length."""
MAX_PIECES = 64


class Piece(Struct):
    """A part of RAM, and where it is in the file."""

    address = scalar(u64)
    offset = scalar(u64)
    length = scalar(u64)


class Wanted(Struct):
    """The machine that the file was made for."""

    ram_base = scalar(u64)
    ram_bytes = scalar(u64)
    cpus = scalar(u64)
    distributor = scalar(u64)
    """Of the GICv3."""
    uart = scalar(u64)
    """A PL011, for what the loader has to say."""


class Manifest(Struct):
    """What the loader has to do."""

    wanted = nested(Wanted)
    l0_base = scalar(u64)
    l0_bytes = scalar(u64)
    entry = scalar(u64)
    """L0's first instruction."""
    file_bytes = scalar(u64)
    piece_count = scalar(u64)
    pieces = array(Piece, MAX_PIECES)


class Findings(Struct):
    """What the device tree that the loader was given says of the machine."""

    ram_bytes = scalar(u64)
    """Of the RAM that begins where it is wanted."""
    cpus = scalar(u64)
    has_distributor = scalar(u64)

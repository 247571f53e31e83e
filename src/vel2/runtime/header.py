"""The header of an arm64 Image, as Linux's `Documentation/arch/arm64/booting.rst` describes it."""

from vel2.lang import Assembler, Struct, scalar, u32, u64

__all__ = ("MAGIC", "ImageHeader", "image_header")

MAGIC = int.from_bytes(b"ARM\x64", "little")
LITTLE_ENDIAN_4K_ANYWHERE = 0b1010
"""Bit 0: big-endian; bits 2-1: the page size; bit 3: any place in memory will do."""


class ImageHeader(Struct):
    """The first 64 bytes of an Image."""

    code0 = scalar(u32)
    """Where the boot loader jumps to."""
    code1 = scalar(u32)
    text_offset = scalar(u64)
    """Distance of the Image from a multiple of 2 MiB."""
    image_size = scalar(u64)
    """The memory that the Image occupies, from its start; 0 in kernels before Linux 3.17."""
    flags = scalar(u64)
    res2 = scalar(u64)
    res3 = scalar(u64)
    res4 = scalar(u64)
    magic = scalar(u32)
    res5 = scalar(u32)


def image_header(a: Assembler, start: str, size: int) -> None:
    """Emit the header of an Image that starts at a label and owns so many bytes."""
    header = ImageHeader(bytearray(ImageHeader.size))
    header.image_size = size
    header.flags = LITTLE_ENDIAN_4K_ANYWHERE
    header.magic = MAGIC
    a.b(start)
    a.bytes(header.to_bytes()[ImageHeader.offset_of("code1") :])

"""A guest without a header: files as they are, each at an address of its own, and where to start.

What other people's hypervisors and bare-metal programs are built as. Nothing is known of them, so
all is checked that can be: files must lie in the guest's RAM and not on each other, and the entry
must be in one of them. The guest is entered as booting.rst says of a kernel: x0 is the address of
the device tree, x1 to x3 are 0, the MMU is off. The tree is at the start of RAM, where QEMU's
`virt` board has it for a guest without a header, or else as high as there is room for it.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vel2.errors import UserError
from vel2.machine.loader import read_file
from vel2.machine.memory import QEMU_TREE_BYTES, RAM_BASE, format_bytes

__all__ = ("LoadedFile", "RawImage", "parse_address")

INSTRUCTION_BYTES = 4
PAGE = 4096


@dataclass(frozen=True)
class LoadedFile:
    """A file, and the physical address of its first byte."""

    name: str
    address: int
    data: bytes

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.address + len(self.data)

    @classmethod
    def read(cls, text: str) -> "LoadedFile":
        """Read what `FILE@ADDRESS` names.

        :raises UserError: when it has not that form, or the file cannot be read.
        """
        name, at, address = text.rpartition("@")
        if not at or not name:
            raise UserError(f"{text!r} has no address; give FILE@ADDRESS, as in a.bin@0x40080000.")
        place = parse_address(address)
        return cls(name, place, read_file(Path(name), "the file"))

    def __str__(self) -> str:
        return f"{self.name} ({self.address:#x} to {self.end:#x})"


@dataclass(frozen=True)
class RawImage:
    """Files in memory, and the address to start at.

    :raises UserError: when files lie on each other, or the entry is in none.
    """

    files: tuple[LoadedFile, ...]
    entry: int

    def __post_init__(self) -> None:
        for one, other in pairwise(sorted(self.files, key=lambda file: file.address)):
            if one.end > other.address:
                raise UserError(f"{one} and {other} overlap; load one of them elsewhere.")
        if self.entry % INSTRUCTION_BYTES:
            raise UserError(
                f"the entry {self.entry:#x} is no address of an instruction; give a multiple of 4."
            )
        if not any(file.address <= self.entry < file.end for file in self.files):
            there = ", ".join(map(str, self.files))
            raise UserError(f"the entry {self.entry:#x} is in no file that is loaded: {there}.")

    def check(self, memory_bytes: int) -> None:
        """Refuse what lies outside the guest's RAM; L0's own memory is right above it.

        :raises UserError: naming the file and the bounds.
        """
        end = RAM_BASE + memory_bytes
        for file in self.files:
            if file.address < RAM_BASE or file.end > end:
                raise UserError(
                    f"{file} is not within the guest's RAM, which is {RAM_BASE:#x} to {end:#x}"
                    f" ({format_bytes(memory_bytes)}); load it elsewhere, or give more --memory."
                )

    def room_for(self, size: int, memory_bytes: int, first: int) -> int:
        """Find a place that no file takes: `first`, or else as high as possible.

        It is not where QEMU writes at reset, unless `first` is.

        :raises UserError: when there is none.
        """
        end = RAM_BASE + memory_bytes
        below = sorted([end, *(file.address for file in self.files)], reverse=True)
        lowest = min(first, RAM_BASE + QEMU_TREE_BYTES)
        for place in (first, *((at - size) & -PAGE for at in below)):
            if lowest <= place <= end - size and not any(
                place < file.end and file.address < place + size for file in self.files
            ):
                return place
        raise UserError(
            f"there is no room for the device tree beside what is loaded, {format_bytes(size)};"
            " give more --memory."
        )


def parse_address(text: str) -> int:
    """Read an address: decimal, or hexadecimal with 0x.

    :raises UserError: when it is none.
    """
    try:
        address = int(text, 16 if text[:2] in ("0x", "0X") else 10)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << 64:
        raise UserError(f"{text!r} is no address; give one such as 0x40080000.")
    return address

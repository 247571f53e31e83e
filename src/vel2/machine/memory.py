"""The machine's RAM as host memory.

RAM is an anonymous file (memfd) that both sides map shared. It has no name in any file system, so
the kernel frees it with the last process that holds it, however that process ends. It is sparse: a
page costs memory only once somebody writes it (or reads it through the mapping).

QEMU opens the file again through `/proc/self/fd/N`, where N is a descriptor it inherits.
"""

import contextlib
import mmap
import os
import re
from pathlib import Path
from types import TracebackType

from vel2.errors import UserError

__all__ = (
    "MEMFD_NAME",
    "QEMU_TREE_BYTES",
    "RAM_BASE",
    "GuestMemory",
    "format_bytes",
    "format_size",
    "parse_size",
)

RAM_BASE = 0x4000_0000
"""Physical address of RAM on QEMU's `virt` board."""

MEMFD_NAME = "vel2-guest-ram"
"""By which /proc shows it."""

QEMU_TREE_BYTES = 1 << 20
"""The size of QEMU's device tree, mostly empty, which it writes to the start of RAM at reset."""

PAGE_BYTES = 4096
MIB = 1 << 20
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SIZE_FORM = re.compile(r"([0-9]+)([KMGT]?)(?:i?B)?", re.IGNORECASE)


def format_bytes(count: int) -> str:
    """Format a byte count as people write it: `512 MiB`, `2 GiB`, `1.5 MiB`, `300 bytes`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count // unit} {name}" if count % unit == 0 else f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def format_size(count: int) -> str:
    """Format a size that somebody chose, without rounding it: `1.5 MiB`, `1048577 bytes`."""
    return f"{count} bytes" if count % 1024 else format_bytes(count)


def parse_size(text: str) -> int:
    """Read a size such as `2G`, `512M` or `1536MiB`; units are powers of 1024.

    :raises UserError: when it is not a size.
    """
    found = SIZE_FORM.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise UserError(f"{text!r} is not a size: give a number and K, M or G, such as 512M or 2G.")
    return int(found[1]) * UNITS[found[2].upper()]


class GuestMemory:
    """RAM of one machine, addressed by physical address.

    Use it as a context manager, or call `close`. A view taken from it keeps the mapping alive, so
    views may outlive `close`; reads and writes by address may not.

    :param size: bytes, a whole number of MiB.
    :raises UserError: when the size is not allowed or the host cannot give it.
    """

    def __init__(self, size: int) -> None:
        if size <= 0 or size % MIB:
            raise UserError(
                f"a machine cannot have {format_size(size)} of memory; give a whole number of MiB."
            )
        fd = os.memfd_create(MEMFD_NAME, os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            self._take(fd, size)
        except (OSError, OverflowError) as error:
            os.close(fd)
            raise UserError(
                f"the host could not map {format_bytes(size)} of guest memory ({error}); "
                "use a smaller --memory."
            ) from error

    @classmethod
    def attach(cls, path: Path) -> "GuestMemory":
        """Map another process's machine, to look at and not to change.

        :param path: its descriptor of the file, below /proc.
        :raises OSError: when it is not there any more, or not ours to look at.
        """
        memory = cls.__new__(cls)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            memory._take(fd, os.fstat(fd).st_size, mmap.PROT_READ)
        except BaseException:
            os.close(fd)
            raise
        return memory

    def _take(self, fd: int, size: int, access: int = mmap.PROT_READ | mmap.PROT_WRITE) -> None:
        self._map = mmap.mmap(fd, size, prot=access)
        self.fd = fd
        self.size = size
        self.base = RAM_BASE
        self.view = memoryview(self._map)
        self._closed = False

    @property
    def end(self) -> int:
        """First physical address after RAM."""
        return self.base + self.size

    def _offset(self, pa: int, length: int) -> int:
        if self._closed:
            raise ValueError("this guest memory is closed")
        if length < 0 or not self.base <= pa <= self.end - length:
            raise ValueError(
                f"pa={pa:#x} length={length:#x} is outside RAM [{self.base:#x}, {self.end:#x})"
            )
        return pa - self.base

    def window(self, pa: int, length: int) -> memoryview:
        """Return a writable view of `length` bytes at `pa`."""
        offset = self._offset(pa, length)
        return self.view[offset : offset + length]

    def read(self, pa: int, length: int) -> bytes:
        """Return a copy of `length` bytes at `pa`."""
        offset = self._offset(pa, length)
        return self._map[offset : offset + length]

    def write(self, pa: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at `pa`.

        Code that already ran stays in QEMU's translation cache, and a store by the host does not
        evict it: replace running code through a resident copy, not through this.
        """
        offset = self._offset(pa, len(data))
        self._map[offset : offset + len(data)] = data

    @property
    def used_bytes(self) -> int:
        """Host memory that the sparse file occupies now."""
        return os.fstat(self.fd).st_blocks * 512

    def close(self) -> None:
        """Close the descriptor, and unmap the memory once no view of it is left."""
        if self._closed:
            return
        self._closed = True
        # Somebody's view is still alive: the mapping goes with it.
        with contextlib.suppress(BufferError):
            self.view.release()
        with contextlib.suppress(BufferError):
            self._map.close()
        os.close(self.fd)

    def __enter__(self) -> "GuestMemory":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

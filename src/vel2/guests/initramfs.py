"""Write initramfs images: cpio archives in the `newc` format.

The kernel's `Documentation/driver-api/early-userspace/buffer-format.rst` describes the format: per
file a 110-byte header of ASCII hex fields, the name and the data, both padded to 4 bytes, and a
file named `TRAILER!!!` at the end. The same tree gives the same bytes on every host: entries are
sorted, owned by root, and dated 1970.
"""

import gzip
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vel2.errors import UserError

__all__ = ("Entry", "Initramfs", "read_cpio")

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
HEADER_FIELDS = 13
HEADER_BYTES = len(MAGIC) + 8 * HEADER_FIELDS
FILE_LIMIT = 1 << 32  # the size field has 8 hex digits


@dataclass(frozen=True)
class Entry:
    """One file of any type.

    :ivar mode: type and permissions, as `st_mode`.
    :ivar data: contents of a regular file, or target of a symbolic link.
    :ivar device: major and minor number of a device node.
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


class Initramfs:
    """A file tree to pack. Paths may begin with `/` or not; parents are made as needed."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return _normal(path) in self._entries

    def __getitem__(self, path: str) -> Entry:
        return self._entries[_normal(path)]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def _add(self, path: str, entry: Entry) -> None:
        name = _normal(path)
        for parent in PurePosixPath(name).parents:
            above = str(parent)
            if above != ".":
                self._entries.setdefault(above, Entry(stat.S_IFDIR | 0o755))
        self._entries[name] = entry

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._add(path, Entry(stat.S_IFDIR | mode))

    def file(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Add a regular file, or replace it."""
        encoded = data.encode() if isinstance(data, str) else data
        if len(encoded) >= FILE_LIMIT:
            raise UserError(f"{path} has 4 GiB or more, which an initramfs cannot hold.")
        self._add(path, Entry(stat.S_IFREG | mode, encoded))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device node."""
        self._add(path, Entry(stat.S_IFCHR | mode, device=(major, minor)))

    def folder(self, source: Path, below: str = "") -> None:
        """Add a folder of the host with its contents, except sockets, pipes and devices.

        :param below: where it goes in the tree.
        """
        for base, folders, files in os.walk(source):
            for name in folders + files:
                self._add_from_host(Path(base) / name, source, below)

    def _add_from_host(self, path: Path, source: Path, below: str) -> None:
        target = f"{below}/{path.relative_to(source)}"
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            self.link(target, os.readlink(path))
        elif stat.S_ISDIR(status.st_mode):
            self.directory(target, stat.S_IMODE(status.st_mode))
        elif stat.S_ISREG(status.st_mode):
            self.file(target, path.read_bytes(), stat.S_IMODE(status.st_mode))

    def pack(self, compress: bool = False) -> bytes:
        """Return the archive.

        :param compress: by gzip, which saves host memory traffic and costs the guest time.
        """
        out = bytearray()
        for number, name in enumerate(self, start=1):
            _append(out, number, name, self._entries[name])
        _append(out, 0, TRAILER, Entry(0))
        archive = bytes(out)
        return gzip.compress(archive, mtime=0) if compress else archive


def _normal(path: str) -> str:
    name = path.strip("/")
    if not name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{path!r} is no path for a file in an initramfs")
    return name


def _append(out: bytearray, number: int, name: str, entry: Entry) -> None:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(number, entry.mode, 0, 0, links, 0),  # inode, mode, uid, gid, nlink, mtime
        *(len(entry.data), 0, 0, *entry.device),  # size, device of the file, device it is
        *(len(encoded), 0),  # name size, checksum (unused in 070701)
    )
    out += MAGIC + b"".join(b"%08X" % field for field in fields) + encoded
    out += bytes(-len(out) % 4)
    out += entry.data
    out += bytes(-len(out) % 4)


def read_cpio(archive: bytes) -> dict[str, Entry]:
    """Read a `newc` archive back (not compressed).

    :raises UserError: when it is not one, or is damaged.
    """
    entries: dict[str, Entry] = {}
    position = 0
    while True:
        header = archive[position : position + HEADER_BYTES]
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise UserError(f"no newc cpio header at offset {position:#x} of this archive.")
        try:
            fields = [int(header[6 + 8 * i : 14 + 8 * i], 16) for i in range(HEADER_FIELDS)]
        except ValueError:
            raise UserError(f"the cpio header at offset {position:#x} is damaged.") from None
        mode, size, name_size = fields[1], fields[6], fields[11]
        start = position + HEADER_BYTES
        data_at = (start + name_size + 3) & -4
        if data_at + size > len(archive):
            raise UserError(f"the cpio archive ends inside the file at offset {position:#x}.")
        name = archive[start : start + name_size - 1].decode()
        if name == TRAILER:
            return entries
        data = archive[data_at : data_at + size]
        entries[name] = Entry(mode, data, (fields[9], fields[10]))
        position = (data_at + size + 3) & -4

"""Undo the compression that kernel files come in.

Every function takes bytes and gives bytes; a stream that ends early or does not check is refused.
Trailing bytes after the stream are allowed: kernel builds append padding and sizes.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from vel2.errors import UserError

__all__ = ("ALGORITHMS", "algorithm_of", "decompress")

EXPANDED_LIMIT = 1 << 30
"""Longest image we expand; no kernel is near, a damaged or hostile file may be."""


class _Zlib:
    """Give zlib's decompressor the interface of `bz2` and `lzma`: a limit and `eof`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._inner.decompress(data, limit)

    @property
    def eof(self) -> bool:
        return self._inner.eof


class _Zstd:
    """Give zstandard's stream reader the same interface."""

    def __init__(self) -> None:
        self.eof = False

    def decompress(self, data: bytes, limit: int) -> bytes:
        inner = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        expanded = inner.decompress(data)
        self.eof = bool(inner.eof)
        return expanded[:limit]


ALGORITHMS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    "gzip": (b"\x1f\x8b\x08", _Zlib),
    "xz": (b"\xfd7zXZ\0", lzma.LZMADecompressor),
    "lzma": (b"\x5d\0\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE)),
    "bzip2": (b"BZh", bz2.BZ2Decompressor),
    "zstd": (b"\x28\xb5\x2f\xfd", _Zstd),
}
"""Name to (magic at offset 0, constructor of a decompressor)."""

FAILURES = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)


def algorithm_of(data: bytes) -> str | None:
    """Name the compression of a file by its first bytes; None when it has none we know."""
    for name, (magic, _) in ALGORITHMS.items():
        if data.startswith(magic):
            return name
    return None


def decompress(data: bytes, algorithm: str, origin: str) -> bytes:
    """Expand one stream.

    :param algorithm: a key of `ALGORITHMS`.
    :param origin: how to name the file in an error.
    :raises UserError: when the stream is damaged, cut short or absurdly long.
    """
    try:
        decompressor = ALGORITHMS[algorithm][1]()
        expanded: bytes = decompressor.decompress(data, EXPANDED_LIMIT + 1)
    except FAILURES as error:
        raise UserError(
            f"{origin} is damaged: its {algorithm} data cannot be expanded ({error}); "
            "fetch or build it again."
        ) from error
    if len(expanded) > EXPANDED_LIMIT:
        raise UserError(
            f"{origin} expands to more than {EXPANDED_LIMIT >> 20} MiB, which no kernel does; "
            "check that it is a kernel."
        )
    if not decompressor.eof:
        raise UserError(
            f"{origin} is cut short: its {algorithm} data ends early; fetch or build it again."
        )
    return expanded

"""Undo the compression that kernel files come in.

Every function takes bytes and gives bytes. A stream that ends early or fails its check is refused.
Bytes after the stream are allowed, because kernel builds append padding and sizes.
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
"""The longest image that is expanded. No kernel comes near; a damaged or hostile file may."""
RATIO_LIMIT = 64
RATIO_FROM = 64 << 20
"""A kernel shrinks to a fifth. After this many bytes, what shrank more than 64 times is refused."""
WINDOW_LIMIT = 128 << 20
"""Most memory that a decompressor may ask for: what `zstd --ultra -22` and `xz -9e` need."""
STEP = 1 << 20


class _Zlib:
    """Give zlib's decompressor the interface of `bz2` and `lzma`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, limit)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail


class _Zstd:
    """Give zstandard's decompressor the same interface, by small pieces: it knows no limit."""

    PIECE = 256

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).decompressobj()
        self._waiting = memoryview(b"")
        self.eof = False

    def decompress(self, data: bytes, limit: int) -> bytes:
        # There is more only when what waited has been used up: `needs_input`.
        self._waiting = self._waiting if self._waiting else memoryview(data)
        expanded = bytearray()
        while self._waiting and not self.eof and len(expanded) < limit:
            expanded += self._inner.decompress(self._waiting[: self.PIECE])
            self._waiting = self._waiting[self.PIECE :]
            self.eof = bool(self._inner.eof)
        return bytes(expanded)

    @property
    def needs_input(self) -> bool:
        return not self._waiting


ALGORITHMS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    "gzip": (b"\x1f\x8b\x08", _Zlib),
    "xz": (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(memlimit=WINDOW_LIMIT)),
    "lzma": (b"\x5d\0\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, WINDOW_LIMIT)),
    "bzip2": (b"BZh", bz2.BZ2Decompressor),
    "zstd": (b"\x28\xb5\x2f\xfd", _Zstd),
}
"""Name to (magic at offset 0, constructor of a decompressor)."""

FAILURES = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)


def algorithm_of(data: bytes) -> str | None:
    """Name the compression of a file by its first bytes; None when it has no known one."""
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
        expanded, ended = _expand(ALGORITHMS[algorithm][1](), data, origin)
    except FAILURES as error:
        raise UserError(
            f"{origin} is damaged: its {algorithm} data cannot be expanded ({error}); "
            "fetch or build it again."
        ) from error
    if not ended:
        raise UserError(
            f"{origin} is cut short: its {algorithm} data ends early; fetch or build it again."
        )
    return expanded


def _expand(decompressor: Any, data: bytes, origin: str) -> tuple[bytes, bool]:
    """Expand a stream step by step, so that no more memory is taken than a kernel needs.

    :return: what came out, and whether the stream came to its end.
    :raises UserError: when it is absurdly long.
    """
    expanded = bytearray()
    most = min(EXPANDED_LIMIT, max(RATIO_FROM, RATIO_LIMIT * len(data)))
    waiting = data
    while not decompressor.eof:
        piece = decompressor.decompress(waiting, STEP)
        waiting = b""
        expanded += piece
        if len(expanded) > most:
            raise UserError(
                f"{origin} expands to more than {most >> 20} MiB, which no kernel does; "
                "check that it is a kernel."
            )
        if not piece and decompressor.needs_input:
            break
    return bytes(expanded), bool(decompressor.eof)

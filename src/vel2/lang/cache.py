"""Compiled objects, kept by what they were made from.

An entry's name is a hash of everything that can change the object: the sources of the rooms that
the roots can reach by imports, the roots' names, the options, and the versions of Python and LLVM's
binding. So an entry never goes stale; it is only ever missing or damaged, and then made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

MAGIC = b"vel2 object 1\n"
ENTRIES_MAX = 64
_IMPORT = re.compile(rb"^\s*(?:from|import)\s+vel2\.(\w+)", re.MULTILINE)
_FROM_ROOT = re.compile(rb"^\s*from\s+vel2\s+import\s+\(?([\w, \n]+)", re.MULTILINE)
_ALWAYS = ("arch", "lang")


def directory() -> Path:
    """Give the folder of the cache: `$XDG_CACHE_HOME/vel2/images`, by default in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "vel2" / "images"


def key_of(roots: Sequence[Callable[..., Any]], options: str) -> str | None:
    """Name the object that `roots` compile to; None when their sources cannot all be known.

    That is so outside this package, and for functions that close over variables.
    """
    package = Path(__file__).resolve().parents[1]
    names = []
    for root in roots:
        module = sys.modules.get(root.__module__)
        file = getattr(module, "__file__", None)
        parts = root.__module__.split(".")
        if file is None or parts[0] != "vel2" or len(parts) < 2 or root.__code__.co_freevars:
            return None
        names.append(f"{root.__module__}.{root.__qualname__}")
    digest = hashlib.sha256(MAGIC)
    for text in (options, sys.version, version("llvmlite"), *names):
        digest.update(text.encode() + b"\0")
    _add_rooms(digest, package, {name.split(".")[1] for name in names} | set(_ALWAYS))
    return digest.hexdigest()


def _add_rooms(digest: Any, package: Path, rooms: set[str]) -> None:
    """Hash the sources of rooms and of all that they import."""
    seen: set[str] = set()
    found: dict[str, bytes] = {}
    while rooms - seen:
        room = (rooms - seen).pop()
        seen.add(room)
        folder = package / room
        for path in folder.rglob("*.py") if folder.is_dir() else [package / f"{room}.py"]:
            with contextlib.suppress(FileNotFoundError):
                text = path.read_bytes()
                found[str(path.relative_to(package))] = text
                rooms |= {name.decode() for name in _IMPORT.findall(text)}
                for names in _FROM_ROOT.findall(text):
                    rooms |= set(re.findall(r"\w+", names.decode()))
    for name, text in sorted(found.items()):
        digest.update(name.encode() + b"\0" + str(len(text)).encode() + b"\0" + text)


def load(key: str) -> bytes | None:
    """Give the object of a key; None when it is missing or damaged."""
    path = directory() / key
    try:
        entry = path.read_bytes()
    except OSError:
        return None
    magic, check, data = entry[: len(MAGIC)], entry[len(MAGIC) :][:32], entry[len(MAGIC) + 32 :]
    if magic != MAGIC or hashlib.sha256(data).digest() != check:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return data


def save(key: str, data: bytes) -> None:
    """Keep an object; a folder that cannot be written only costs time."""
    folder = directory()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(MAGIC + hashlib.sha256(data).digest() + data)
            os.replace(name, folder / key)
        except OSError:
            os.unlink(name)
        _prune(folder)


def _prune(folder: Path) -> None:
    """Remove the entries that were not used for longest."""
    entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[ENTRIES_MAX:]:
        path.unlink(missing_ok=True)

"""Where guests are kept, and how a file gets there complete or not at all."""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vel2.errors import UserError

__all__ = ("CacheError", "cache_root", "locked", "new_directory")

UNFINISHED = ".new-"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class CacheError(UserError):
    """The cache cannot be written."""

    exit_code = 3

    @classmethod
    def of(cls, folder: Path, why: str) -> "CacheError":
        """Say why, and what to do."""
        return cls(
            f"nothing can be written to {folder} ({why}); make room there, or set XDG_CACHE_HOME to"
            " another folder."
        )


def cache_root() -> Path:
    """Return `${XDG_CACHE_HOME:-~/.cache}/vel2/guests`, made if need be.

    :raises UserError: when it cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or ""
    # The XDG specification: a relative path is to be ignored.
    parent = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    root = parent / "vel2" / "guests"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the guest cache {root} cannot be made ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return root


@contextlib.contextmanager
def explained(root: Path) -> Iterator[None]:
    """Report a full disk and similar errors in a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise CacheError.of(root, str(error.strerror)) from error


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other vel2 processes from changing the cache; wait for them first.

    :raises CacheError: when the cache cannot be written.
    """
    with explained(root), (root / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Whoever was filling them was killed: it would hold the lock.
        for pattern in (f"*/{UNFINISHED}*", f"*/*/{UNFINISHED}*"):
            for left in root.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)
        yield


@contextlib.contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Give a folder to fill; it becomes `target` at the end, or vanishes on an error.

    The cache must be `locked` meanwhile.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise

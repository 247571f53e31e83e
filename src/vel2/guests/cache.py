"""Where guests are kept, and how files get there whole or not at all."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vel2.errors import UserError

__all__ = ("cache_root", "locked", "new_directory")


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
def locked(root: Path) -> Iterator[None]:
    """Keep other vel2 processes from changing the cache; wait for them first."""
    with (root / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Give a folder to fill; it becomes `target` at the end, or vanishes on an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise

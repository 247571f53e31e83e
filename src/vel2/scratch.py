"""Temporary folders that go away even when their owner is killed: the next run removes them.

A folder is locked by its owner. The lock ends with the process, however that ends, so a folder of
ours that nobody has locked belongs to nobody. Every room but `arch` may import this module.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ("scratch",)

PREFIX = "vel2-run-"
YOUNG_S = 60.0
"""A folder is not locked yet in its first moment."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a temporary folder, which goes with all its files at the end."""
    parent = Path(tempfile.gettempdir())
    _sweep(parent)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as name,
        _opened(Path(name)) as folder,
    ):
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield Path(name)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    """Remove what killed runs of this user have left."""
    for folder in parent.glob(f"{PREFIX}*"):
        # It is another user's, or another process is faster.
        with contextlib.suppress(OSError):
            about = folder.lstat()
            if about.st_uid != os.geteuid() or time.time() - about.st_mtime < YOUNG_S:
                continue
            with _opened(folder) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)

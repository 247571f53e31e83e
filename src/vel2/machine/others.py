"""Machines that other processes of ours run, found by the memory that they hold.

A machine's RAM is a memfd, which /proc shows under its name with every process that has it open.
That is all that is needed to look at L0's state, and it ends with the machine: nothing is written
anywhere that could stay behind.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vel2.machine.memory import MEMFD_NAME

__all__ = ("OtherMachine", "other_machines")

PROC = Path("/proc")
LINK = f"/memfd:{MEMFD_NAME}"
QEMU = "qemu-system"


@dataclass(frozen=True)
class OtherMachine:
    """A machine in another process.

    :ivar pid: of QEMU. :ivar memory: the path by which its memory can be opened.
    """

    pid: int
    memory: Path

    @property
    def is_running(self) -> bool:
        """Whether it is still there."""
        return self.memory.exists()


def other_machines() -> list[OtherMachine]:
    """List the machines whose memory this user may look at, oldest process first."""
    return [
        OtherMachine(pid, path) for pid in sorted(_qemus()) if (path := _memory_of(pid)) is not None
    ]


def _qemus() -> Iterator[int]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                if (entry / "comm").read_text().startswith(QEMU):
                    yield int(entry.name)


def _memory_of(pid: int) -> Path | None:
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for link in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith(LINK):
                    return link
    return None

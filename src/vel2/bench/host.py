"""The host's side of the payload's marks (see `marks`)."""

import contextlib
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from vel2.bench.layout import PATH_BYTES, Mark
from vel2.bench.marks import FIRST_FILE, SECOND_FILE
from vel2.errors import UserError
from vel2.machine.console import Console

__all__ = ("MarkReader",)


class MarkReader:
    """Receive marks; while one is being looked at, the machine stands still.

    :param folder: where to make the two FIFOs.
    :raises UserError: when its path is too long for the payload.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = folder / FIRST_FILE, folder / SECOND_FILE
        length = len(os.fsencode(self._paths[0]))
        # A comma separates the parts of a QEMU option, a second one would stand for itself.
        if length >= PATH_BYTES or "," in str(folder):
            raise UserError(
                f"temporary files cannot be in {folder}; set TMPDIR to a short path with no comma."
            )
        self._stack = contextlib.ExitStack()

    @property
    def arguments(self) -> tuple[str, str]:
        """QEMU's options for them."""
        return ("-semihosting-config", f"enable=on,target=native,arg={self._paths[0]}")

    @property
    def userspace_arguments(self) -> tuple[str, ...]:
        """QEMU's options for them when the marks are made at EL0."""
        option, value = self.arguments
        return (option, f"{value},userspace=on")

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for path in self._paths:
                os.mkfifo(path, 0o600)
            # A FIFO can be opened for reading without a writer, and for both without anyone.
            self._marks = self._open(stack, self._paths[0], os.O_RDONLY)
            self._answers = self._open(stack, self._paths[1], os.O_RDWR)
            self._wake, self._waker = os.pipe()
            stack.callback(os.close, self._wake)
            stack.callback(os.close, self._waker)
            self._stack = stack.pop_all()
        return self

    @staticmethod
    def _open(stack: contextlib.ExitStack, path: Path, mode: int) -> int:
        fd = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        return fd

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the files: a machine that waits for an answer goes on without it."""
        self._stack.close()

    def _wake_up(self) -> None:
        os.write(self._waker, b".")

    def marks(self, console: Console, deadline: float) -> Iterator[Mark]:
        """Give each mark, and answer it when the next is asked for, until the machine ends.

        :raises TimeoutError: when the machine neither ends nor passes a mark by `deadline`, a
            value of `time.monotonic()`.
        """
        # The payload may never get to open its files; the end of the console is seen anyhow.
        console.on_close(self._wake_up)
        poller = select.poll()
        poller.register(self._marks, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                raise TimeoutError
            try:
                data = os.read(self._marks, Mark.size)
            except BlockingIOError:  # the wake-up, and nothing before it
                return
            if len(data) < Mark.size:
                return
            yield Mark(data)
            os.write(self._answers, b".")

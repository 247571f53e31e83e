"""Traps to real EL2 from QEMU's log, for when the software at EL2 does not report them: Linux.

With `-d int` QEMU writes each exception it takes, in order; here, to a FIFO:

    Taking exception 1 [Undefined Instruction] on CPU 0
    ...from EL1 to EL2
    ...with ESR 0x18/0x62240045
    ...with SPSR 0x604003c5
    ...with ELR 0xffffb41cccc92590
    ...to EL2 PC 0xffffc0e9eead8c00 PSTATE 0x4023c9

An exception from EL1 to EL2 is a trap: with HCR_EL2.E2H, the kernel of a Linux at real EL2 runs at
EL2. Its user space runs at EL0, as guests' does, but a guest runs under vectors of KVM's own. So an
exception from EL0 is a trap when its vector is in a table that exceptions from EL1 have used.

A mark of the payload is in the log too, as the semihosting call that writes it. QEMU logs a call
before it executes it, so whoever has received a mark finds it in the log.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

from vel2.arch.bits import trap_key_from_iss
from vel2.arch.esr import EC
from vel2.arch.sysregs import ESR_EL2
from vel2.bench.counts import Counted, class_name
from vel2.control.counters import trap_name
from vel2.errors import UserError
from vel2.runtime.semihosting import SYS_WRITE

__all__ = ("LogParser", "TrapLog")

TAKING = re.compile(rb"Taking exception \d+ \[(.*)\] on CPU \d+")
LEVELS = re.compile(rb"\.\.\.from EL(\d) to EL(\d)")
SYNDROME = re.compile(rb"\.\.\.with ESR 0x[0-9a-f]+/0x([0-9a-f]+)")
VECTOR = re.compile(rb"\.\.\.to EL2 PC 0x([0-9a-f]+)")
CALL = re.compile(rb"\.\.\.handling as semihosting call 0x([0-9a-f]+)")
FIRST_MARK = re.compile(rb"^\.\.\.handling as semihosting call %#x\n" % SYS_WRITE, re.MULTILINE)
ASYNCHRONOUS = {b"IRQ": "IRQ", b"FIQ": "FIQ"}
VECTORS_BYTES = 0x800
READ_BYTES = 1 << 16
MARK_TIMEOUT_S = 120.0


class TrapLogError(UserError):
    """The log is not as it should be."""

    exit_code = 3


class LogParser:
    """Count what the log tells, line by line.

    :ivar marks: the counts at each mark so far.
    """

    def __init__(self) -> None:
        self.marks: list[Counted] = []
        self._counts: Counter[str] = Counter()
        self._guest_vectors: set[int] = set()
        self._name = b""
        self._levels = 0, 0
        self._syndrome = 0

    def feed(self, line: bytes) -> bool:
        """Take one line; give whether it was a mark."""
        if found := TAKING.match(line):
            self._name = found[1]
        elif found := LEVELS.match(line):
            self._levels = int(found[1]), int(found[2])
        elif found := SYNDROME.match(line):
            self._syndrome = int(found[1], 16)
        elif found := VECTOR.match(line):
            self._taken(int(found[1], 16) & -VECTORS_BYTES)
        elif (found := CALL.match(line)) and int(found[1], 16) == SYS_WRITE:
            self.marks.append(Counted(dict(self._counts)))
            return True
        return False

    def _taken(self, vectors: int) -> None:
        """Count an exception that went to EL2, if it was a trap."""
        level, _ = self._levels
        if level == 1:
            self._guest_vectors.add(vectors)
        if level < 2 and vectors in self._guest_vectors:
            self._counts[self._kind(level)] += 1

    def _kind(self, level: int) -> str:
        if self._name in ASYNCHRONOUS:
            return f"{ASYNCHRONOUS[self._name]} EL{level}"
        syndrome = ESR_EL2(self._syndrome)
        if syndrome.EC == EC.SYS64:
            return trap_name(trap_key_from_iss(syndrome.ISS))
        return f"{class_name(syndrome.EC)} EL{level}"


def from_first_mark(log: BufferedReader) -> Iterator[bytes]:
    """Give the lines of a log from its first mark on."""
    last = b""
    while block := log.read1(READ_BYTES):
        # A line may lie across two blocks.
        block = last + block
        if found := FIRST_MARK.search(block):
            *whole, rest = block[found.start() :].splitlines(keepends=True)
            yield from whole
            yield rest if rest.endswith(b"\n") else rest + log.readline()
            yield from log
            return
        last = block[block.rfind(b"\n") + 1 :]


class TrapLog:
    """QEMU's log while the machine runs, read by a thread: QEMU waits for whoever reads it.

    :param folder: where to make the FIFO.
    :param from_first_mark: leave out what is before the first mark, as quickly as it can be read: a
        hypervisor below hypervisors takes tens of millions of exceptions until all have booted.
    """

    def __init__(self, folder: Path, from_first_mark: bool = False) -> None:
        self._path = folder / "traps"
        self._from_first_mark = from_first_mark
        self._parser = LogParser()
        self._grown = threading.Condition()
        self._taken = 0

    @property
    def arguments(self) -> tuple[str, ...]:
        """QEMU's options for it."""
        return ("-d", "int", "-D", str(self._path))

    def __enter__(self) -> Self:
        os.mkfifo(self._path, 0o600)
        # A FIFO can be opened for reading without a writer; it stays open while we are one too.
        reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._writer = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        os.set_blocking(reader, True)
        self._thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the log, when the machine has ended."""
        os.close(self._writer)
        self._thread.join()

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as log:
            for line in from_first_mark(log) if self._from_first_mark else log:
                with self._grown:
                    if self._parser.feed(line):
                        self._grown.notify()

    def take(self) -> Counted:
        """Give the counts at the next mark that was not yet asked for; it has been received.

        :raises TrapLogError: when the log does not have it.
        """
        with self._grown:
            number, self._taken = self._taken, self._taken + 1
            marks = self._parser.marks
            if not self._grown.wait_for(lambda: len(marks) > number, MARK_TIMEOUT_S):
                raise TrapLogError(
                    "QEMU's log of exceptions does not show the payload's marks; vel2 bench can"
                    " read those of QEMU 9.1 to 11; leave native and the kvm columns out."
                )
            return marks[number]

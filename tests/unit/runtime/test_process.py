"""Programs for Linux, run in an emulator whose kernel is this file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache

import pytest
import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm64_const as arm64

from tests.unit.runtime.programs import LINES, process_main
from vel2.runtime.process import build_process

STACK_PAGE, STACK_BYTES = 0x7FFF_0000, 0x1_0000
PAGE = 0x1000
WRITE, EXIT_GROUP = 64, 94
EINTR, EPIPE = 4, 32
GENERAL = [getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(9)]
TEXT = b"".join(line.encode() + b"\n" for line in LINES)


@cache
def program() -> bytes:
    return build_process(process_main)


@dataclass
class Process:
    """A process: what it wrote, by file, and how it ended.

    :ivar answers: what the next calls of write give, instead of all that was asked for.
    """

    answers: list[int] = field(default_factory=list)
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    status: int | None = None

    def run(self, *arguments: bytes) -> Process:
        """Start the program with these arguments, and let it come to its end."""
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        elf = ELFFile(io.BytesIO(program()))
        for segment in elf.iter_segments("PT_LOAD"):
            address, size = segment["p_vaddr"], segment["p_memsz"]
            base = address & ~(PAGE - 1)
            uc.mem_map(base, -(-(address + size - base) // PAGE) * PAGE)
            uc.mem_write(address, segment.data())
        uc.mem_map(STACK_PAGE, STACK_BYTES)
        stack = STACK_PAGE + STACK_BYTES // 2
        words, text = [len(arguments)], stack + 0x1000
        for argument in arguments:
            uc.mem_write(text, argument + b"\0")
            words.append(text)
            text += len(argument) + 1
        uc.mem_write(stack, b"".join(word.to_bytes(8, "little") for word in (*words, 0, 0)))
        uc.reg_write(arm64.UC_ARM64_REG_SP, stack)
        uc.hook_add(unicorn.UC_HOOK_INTR, self._call)
        uc.emu_start(elf["e_entry"], 0)
        return self

    def _call(self, uc: unicorn.Uc, _: int, __: object) -> None:
        """Be the kernel."""
        x = [uc.reg_read(register) for register in GENERAL]
        if x[8] == WRITE:
            fd, start, count = x[:3]
            given = self.answers.pop(0) if self.answers else count
            if given > 0:
                self.writes.append((fd, bytes(uc.mem_read(start, given))))
            uc.reg_write(GENERAL[0], given & (1 << 64) - 1)
        else:
            assert x[8] == EXIT_GROUP
            self.status = x[0]
            uc.emu_stop()

    def wrote(self, fd: int) -> bytes:
        """Give what the process wrote to a file."""
        return b"".join(data for to, data in self.writes if to == fd)


def test_lines_go_out_whole() -> None:
    process = Process().run(b"program", b"status", b"2a")
    assert process.writes == [(1, line.encode() + b"\n") for line in LINES]
    assert process.status == 0x2A


def test_standard_error_is_another_file() -> None:
    process = Process().run(b"program")
    assert process.wrote(1) == TEXT
    assert process.wrote(2) == b"usage\n"
    assert process.status == 2


@pytest.mark.parametrize("length", [0, 254, 255, 256, 257, 1000])
def test_a_line_of_any_length(length: int) -> None:
    process = Process().run(b"program", b"repeat", b"%d" % length)
    assert process.wrote(1) == TEXT + b"." * length + b"\n"
    assert max(len(data) for _, data in process.writes) <= 256


def test_a_file_that_takes_a_part_gets_the_rest() -> None:
    process = Process([3, -EINTR, 1, -EINTR]).run(b"program")
    assert process.wrote(1) == TEXT


@pytest.mark.parametrize("answer", [0, -EPIPE])
def test_a_file_that_takes_nothing_is_left_alone(answer: int) -> None:
    process = Process([answer]).run(b"program")
    assert process.wrote(1) == TEXT.partition(b"\n")[2]
    assert process.status == 2

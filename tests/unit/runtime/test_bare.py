"""Bare-metal programs: header, start, consoles, vectors, and the end of the machine."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
import unicorn
from unicorn import arm64_const as arm64

from tests.limits import LIMIT_S
from tests.unit.runtime.programs import (
    AT_EL1,
    AT_EL2,
    GICD,
    LINES,
    MEMORY,
    UART_BASE,
    WITH_GIC,
    Parameters,
    vectors,
)
from vel2.arch.psci import SYSTEM_OFF
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.lang import Assembler
from vel2.machine.loader import load_kernel
from vel2.runtime.bare import VECTOR_BYTES, Bare, build_bare, vector_table

RAM_BYTES = 0x8_0000


def test_the_loader_reads_the_header() -> None:
    """Show that the loader, which has its own description of the header, finds what was said."""
    image = build_bare(AT_EL2, vectors("vectors"))
    kernel = load_kernel(image.data)
    assert (kernel.kind, kernel.text_offset, kernel.entry_offset) == ("Image", 0, 0)
    assert kernel.image_size == MEMORY.end - MEMORY.base
    assert kernel.page_size == "4 KiB"


@pytest.mark.qemu
def test_a_program_at_el2() -> None:
    image = build_bare(AT_EL2, vectors("vectors"))
    data = bytearray(image.data)
    Parameters(data, image.symbols["parameters"] - image.base).greeting = 0x6869
    request = Request(Kernel(load_kernel(bytes(data))), memory_bytes=128 << 20, native=True)
    with closing(launch(request)) as session:
        with session:
            ended = session.wait(LIMIT_S)
        lines = session.console.text.splitlines()
    assert ended.clean, ended
    # A synchronous exception at EL2 with SP_EL2 is vector 4.
    assert lines == [*LINES, f"greeting 0x6869 dirty 0x0 at {MEMORY.state:#x}", "vector 4"]


def emulator(program: Bare) -> tuple[unicorn.Uc, list[int]]:
    """Load a program for EL1 into memory full of rubbish; note its calls of firmware."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(MEMORY.base, RAM_BYTES)
    uc.mem_write(MEMORY.base, b"\xa5" * RAM_BYTES)
    uc.mem_write(MEMORY.base, build_bare(program, vectors("vectors")).data)
    calls: list[int] = []

    def firmware(uc: unicorn.Uc, number: int, _: object) -> None:
        calls.append(uc.reg_read(arm64.UC_ARM64_REG_X0))
        uc.emu_stop()

    uc.hook_add(unicorn.UC_HOOK_INTR, firmware)
    return uc, calls


def test_a_program_at_el1() -> None:
    """Run one in an emulator: it clears its state, prints, and calls firmware by HVC."""
    uc, calls = emulator(AT_EL1)
    sent = bytearray()
    uc.mmio_map(UART_BASE, 0x1000, None, None, lambda *args: sent.append(args[3]), None)
    uc.emu_start(MEMORY.base, 0)
    assert sent.decode().splitlines() == [*LINES]
    assert calls == [SYSTEM_OFF]


def test_bringing_up_the_gic() -> None:
    """Let a GIC answer late; offsets and bits are those of IHI 0069, chapter 12."""
    uc, calls = emulator(WITH_GIC)
    written: list[tuple[int, int]] = []
    busy = {0x0000: [1 << 31, 0], 0xA_0014: [0b110, 0b100, 0b100, 0]}

    def read(_: unicorn.Uc, offset: int, size: int, __: object) -> int:
        assert size == 4
        return busy[offset].pop(0)

    def write(_: unicorn.Uc, offset: int, size: int, value: int, __: object) -> None:
        assert size == 4
        written.append((offset, value))

    uc.mmio_map(GICD, 0xC_0000, read, None, write, None)
    uc.emu_start(MEMORY.base, 0)
    assert written == [
        (0x0000, 0b1_0010),  # GICD_CTLR: ARE, EnableGrp1
        (0xA_0014, 0b100),  # GICR_WAKER without ProcessorSleep
        (0xB_0080, 0xFFFF_FFFF),  # GICR_IGROUPR0
        (0xB_0100, 0x0800_0008),  # GICR_ISENABLER0
    ]
    assert busy == {0x0000: [], 0xA_0014: []}
    assert calls == [SYSTEM_OFF]


def test_a_program_that_is_too_large() -> None:
    memory = replace(MEMORY, state=MEMORY.base + 0x100)
    with pytest.raises(ValueError, match=r"the program has \d+ bytes, too many"):
        build_bare(replace(AT_EL2, memory=memory), vectors("vectors"))


def test_a_vector_table_is_where_hardware_looks() -> None:
    a = Assembler("table")
    a.nop()
    vector_table(a, "table", lambda number: a.movz(0, number))
    assert a.alignment == a.labels["table"] == 0x800
    for number in range(16):
        place = 0x800 + VECTOR_BYTES * number
        assert int.from_bytes(a.data[place : place + 4], "little") == 0xD280_0000 | number << 5

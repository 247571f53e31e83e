"""Loads and stores of vEL2 against another implementation of A64, and what is left to hardware."""

from __future__ import annotations

from functools import cache

import pytest
import unicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import arm64_const as arm64

from tests.hyp.rig import RAM_BASE, TABLES_BYTES, Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.hyp import loadstore

PAGE = RAM_BASE + 0x3000
VA = 0x12_3456_7000
PC = 0xFFFF_8000_0000_1000
CODE_VA = 0x10_0000
WRITE_BACK = 0xFF << 56
GENERAL = [getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)]
FORMS = {
    "STR X": 0xF900_0000,
    "LDR X": 0xF940_0000,
    "STR W": 0xB900_0000,
    "LDR W": 0xB940_0000,
    "STP": 0xA900_0000,
    "LDP": 0xA940_0000,
}


@cache
def machine() -> unicorn.Uc:
    """Give the other implementation."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(VA - 0x10000, 0x20000)
    uc.mem_map(CODE_VA, 0x1000)
    return uc


def reference(insn: int, registers: list[int], sp: int, data: bytes) -> tuple[list[int], bytes]:
    """Execute one instruction; give the registers and the page."""
    uc = machine()
    uc.ctl_remove_cache(CODE_VA, CODE_VA + 4)
    uc.mem_write(CODE_VA, insn.to_bytes(4, "little"))
    uc.mem_write(VA, data)
    uc.reg_write_batch(list(zip(GENERAL, registers, strict=True)))
    uc.reg_write(arm64.UC_ARM64_REG_SP, sp)
    uc.emu_start(CODE_VA, CODE_VA + 4, count=1)
    return [uc.reg_read(name) for name in GENERAL], bytes(uc.mem_read(VA, 0x1000))


def prepare(registers: list[int], data: bytes, found: int = PAGE | WRITE_BACK) -> Rig:
    """Give a rig whose AT finds `found` for every address."""
    rig = fresh_rig()
    for n, value in enumerate(registers):
        rig.vcpu.x[n] = value
    rig.vcpu.pc, rig.vcpu.pstate = PC, 0b0101
    rig.vcpu.data_base = loadstore.NO_PAGE
    rig[sr.PAR_EL1] = found
    view = rig.sim.views[0]
    start = PAGE - rig.sim.memory_base
    view[start : start + 0x1000] = data
    return rig


def page_of(rig: Rig) -> bytes:
    """Give the page that AT finds."""
    start = PAGE - rig.sim.memory_base
    return bytes(rig.sim.views[0][start : start + 0x1000])


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=100)
@given(
    fields=st.integers(0, (1 << 22) - 1),
    offset=st.integers(0, 0x3FF).map(lambda n: n * 4),
    seed=st.integers(1, (1 << 64) - 1),
    sp=st.sampled_from((0, 0x10, 0x7F0, 0x808)),
)
def test_a_load_or_store_does_what_it_does_elsewhere(
    name: str, fields: int, offset: int, seed: int, sp: int
) -> None:
    """Show that registers and memory are another implementation's; a refusal changes nothing."""
    insn = FORMS[name] | fields
    registers = [seed * (2 * n + 1) & (1 << 64) - 1 for n in range(31)]
    base = fields >> 5 & 31
    if base != 31:
        registers[base] = VA + offset
    data = seed.to_bytes(8, "little") * 512
    rig = prepare(registers, data)
    rig[sr.SP_EL1] = VA + sp
    done = bool(rig.run(loadstore.execute, rig.vcpu, insn))
    assert rig[sr.PAR_EL1] == PAGE | WRITE_BACK
    if not done:
        assert [rig.vcpu.x[n] for n in range(31)] == registers
        assert page_of(rig) == data and rig.vcpu.pc == PC
        return
    place = VA + sp if base == 31 else registers[base]
    assert rig.vcpu.pc == PC + 4
    expected = reference(insn, registers, place if base == 31 else VA, data)
    touched = rig.vcpu.data_base
    if touched == VA:
        assert ([rig.vcpu.x[n] for n in range(31)], page_of(rig)) == expected


@pytest.mark.parametrize(
    "found",
    [
        PAGE | WRITE_BACK | 1,
        PAGE,
        PAGE | 0x44 << 56,
        PAGE | 0xBB << 56,
        RAM_BASE - 0x1000 | WRITE_BACK,
        RAM_BASE + TABLES_BYTES | WRITE_BACK,
    ],
    ids=["failed", "Device", "Non-cacheable", "Write-Through", "below RAM", "above RAM"],
)
@pytest.mark.parametrize("name", FORMS)
def test_what_is_no_ordinary_memory_is_left(name: str, found: int) -> None:
    """Show that nothing happens where hardware would fault, or L0's view would be another."""
    registers = [VA] * 31
    rig = prepare(registers, bytes(0x1000), found)
    assert not rig.run(loadstore.execute, rig.vcpu, FORMS[name] | 1 << 10)
    assert [rig.vcpu.x[n] for n in range(31)] == registers and rig.vcpu.pc == PC


@pytest.mark.parametrize(
    ("insn", "base"),
    [
        (0xF940_0000, VA + 4),
        (0xB940_0000, VA + 2),
        (0xA940_0400, VA + 4),
        (0xA940_0400, VA + 0xFF8),
        (0xA940_0000, VA),
        (0x3940_0000, VA),
        (0xF840_0400, VA),
        (0xFD40_0000, VA),
        (0xB980_0000, VA),
        (0xA8C0_0400, VA),
        (0x2940_0400, VA),
    ],
)
def test_what_is_not_done(insn: int, base: int) -> None:
    """Show that misaligned, page-crossing, unpredictable and unknown forms are left to hardware."""
    rig = prepare([base] * 31, bytes(0x1000))
    assert not rig.run(loadstore.execute, rig.vcpu, insn)
    assert rig.vcpu.pc == PC and rig.instructions() == []


def test_one_at_serves_a_page_and_a_store_asks_again() -> None:
    """Show that a page found for reading is looked up anew for writing, and for another page."""
    rig = prepare([VA] * 31, bytes(0x1000))
    names = []
    for insn, base in (
        (0xF940_0001, VA),
        (0xF940_0401, VA),
        (0xF900_0801, VA),
        (0xF940_0C01, VA),
        (0xF940_0001, VA + 0x1000),
    ):
        rig.vcpu.x[0] = base
        assert rig.run(loadstore.execute, rig.vcpu, insn)
        names.append([op.name for op in rig.instructions()])
    assert names == [["AT S1E1RP"], [], ["AT S1E1WP"], [], ["AT S1E1RP"]]


def test_a_misaligned_sp_is_left() -> None:
    """Show that SP is checked as SCTLR_ELx.SA has it, for both stack pointers."""
    for pstate, register in ((0b0101, sr.SP_EL1), (0b0100, sr.SP_EL0)):
        rig = prepare([0] * 31, bytes(0x1000))
        rig.vcpu.pstate = pstate
        rig[register] = VA + 8
        assert not rig.run(loadstore.execute, rig.vcpu, 0xF940_03E1)
        rig[register] = VA + 16
        assert rig.run(loadstore.execute, rig.vcpu, 0xF940_03E1)

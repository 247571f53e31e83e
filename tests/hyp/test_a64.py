"""`a64` against another implementation of A64: right, or nothing has changed."""

from __future__ import annotations

from functools import cache

import pytest
import unicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unicorn import arm64_const as arm64

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch.pstate import PSTATE_NZCV
from vel2.hyp import a64

PC = 0x4000_0000
MAP_BASE, MAP_BYTES = PC - (128 << 20), 256 << 20
WORDS = st.one_of(
    st.sampled_from((0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - 1)),
    st.integers(0, (1 << 64) - 1),
)
GENERAL = [getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)]
ANY = 0xFFFF_FFFF
CLASSES = {
    "ADR": (0x1F00_0000, 0x1000_0000),
    "ADD (immediate)": (0x1F80_0000, 0x1100_0000),
    "AND (immediate)": (0x1F80_0000, 0x1200_0000),
    "MOVZ": (0x1F80_0000, 0x1280_0000),
    "AND (shifted register)": (0x1F00_0000, 0x0A00_0000),
    "ADD (shifted register)": (0x1F20_0000, 0x0B00_0000),
    "B.cond": (0xFFE0_0010, 0x5400_0000),
    "NOP": (ANY, 0xD503_201F),
}
"""Mask and value of each class that `a64` knows at least a part of."""


@cache
def machine() -> unicorn.Uc:
    """Give the other implementation."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(MAP_BASE, MAP_BYTES)
    return uc


def reference(insn: int, registers: list[int], flags: int) -> tuple[list[int], int, int] | None:
    """Execute one instruction; give registers, NZCV and PC, or None if it is UNDEFINED."""
    uc = machine()
    uc.mem_write(PC, insn.to_bytes(4, "little"))
    uc.ctl_remove_cache(PC, PC + 4)
    uc.reg_write_batch(list(zip(GENERAL, registers, strict=True)))
    uc.reg_write(arm64.UC_ARM64_REG_NZCV, flags)
    try:
        uc.emu_start(PC, MAP_BASE, count=1)
    except unicorn.UcError:
        return None
    after = [uc.reg_read(name) for name in GENERAL]
    nzcv = uc.reg_read(arm64.UC_ARM64_REG_NZCV)
    return after, nzcv & PSTATE_NZCV, uc.reg_read(arm64.UC_ARM64_REG_PC)


def execute(insn: int, registers: list[int], flags: int) -> tuple[Rig, bool]:
    """Execute one instruction with `a64`."""
    rig = fresh_rig()
    for n, value in enumerate(registers):
        rig.vcpu.x[n] = value
    rig.vcpu.pc, rig.vcpu.pstate = PC, flags | 0b0101
    return rig, bool(rig.run(a64.execute, rig.vcpu, insn))


@pytest.mark.parametrize("name", CLASSES)
@settings(max_examples=120)
@given(
    bits=st.integers(0, ANY),
    registers=st.lists(WORDS, min_size=31, max_size=31),
    flags=st.integers(0, 15).map(lambda n: n << 28),
)
def test_an_instruction_does_what_it_does_elsewhere(
    name: str, bits: int, registers: list[int], flags: int
) -> None:
    """Show that registers, flags and PC are another implementation's; a refusal changes nothing."""
    mask, value = CLASSES[name]
    insn = value | bits & ~mask & ANY
    rig, done = execute(insn, registers, flags)
    if not done:
        assert list(rig.vcpu.x) == registers
        assert (rig.vcpu.pc, rig.vcpu.pstate) == (PC, flags | 0b0101)
        return
    expected = reference(insn, registers, flags)
    assert expected == (list(rig.vcpu.x), rig.vcpu.pstate & PSTATE_NZCV, rig.vcpu.pc), (
        f"{insn:#010x}"
    )


@settings(max_examples=300)
@given(insn=st.integers(0, ANY), seed=st.integers(0, (1 << 64) - 1))
@example(insn=0xD69F_03E0, seed=1)
@example(insn=0xD503_3FBF, seed=1)
@example(insn=0x9400_0001, seed=1)
def test_any_word_is_executed_right_or_left_alone(insn: int, seed: int) -> None:
    """Show for any word at all that nothing happens that does not happen elsewhere."""
    registers = [(seed * (2 * n + 1)) & (1 << 64) - 1 for n in range(31)]
    rig, done = execute(insn, registers, 0)
    if done:
        after = list(rig.vcpu.x), rig.vcpu.pstate & PSTATE_NZCV, rig.vcpu.pc
        assert reference(insn, registers, 0) == after, f"{insn:#010x}"
    else:
        assert list(rig.vcpu.x) == registers and rig.vcpu.pc == PC


@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (0xB27D_0021, "orr x1, x1, #8"),
        (0x927C_F821, "and x1, x1, #0xfffffffffffffff7"),
        (0xAA01_0000, "orr x0, x0, x1"),
        (0x8A20_0040, "bic x0, x2, x0"),
        (0xEB00_005F, "cmp x2, x0"),
        (0x5400_0040, "b.eq"),
        (0x9000_0000, "adrp x0, ."),
        (0x9120_0000, "add x0, x0, #0x800"),
        (0xF254_0C5F, "tst x2, #0xf00000000000"),
        (0xD280_0061, "mov x1, #3"),
        (0xD503_201F, "nop"),
    ],
)
def test_what_stands_between_accesses_is_known(insn: int, text: str) -> None:
    """Show that the instructions a hypervisor puts there are executed."""
    _, done = execute(insn, [0] * 31, 0)
    assert done, text


@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (0x5400_0000, "b.eq ."),
        (0x54FF_FFE0, "b.eq .-4"),
        (0x54FF_FFE1, "b.ne .-4"),
        (0x5480_0000, "b.eq .-0x100000"),
        (0x1400_0002, "b .+8"),
        (0xB400_0042, "cbz x2, .+8"),
        (0xD503_3FDF, "isb"),
        (0xD503_309F, "ssbb"),
        (0xF940_0000, "ldr x0, [x0]"),
        (0xD503_205F, "wfe"),
        (0xD500_4000, "undefined"),
    ],
)
@pytest.mark.parametrize("flags", [0, a64.Z])
def test_what_is_left_to_hardware(insn: int, text: str, flags: int) -> None:
    """Show that nothing goes back or stays, orders, reads or writes memory, or waits."""
    rig, done = execute(insn, [7] * 31, flags)
    assert not done, text
    assert (list(rig.vcpu.x), rig.vcpu.pc) == ([7] * 31, PC)
    assert rig.vcpu.pstate == flags | 0b0101


@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("n", [0, 1])
def test_every_logical_immediate(n: int, wide: int) -> None:
    """Show DecodeBitMasks for all encodings: right where there is a mask, refused if reserved."""
    for imms in range(64):
        for immr in (0, 1, 7, 31, 32, 63):
            insn = 0x3200_03E0 | wide << 31 | n << 22 | immr << 16 | imms << 10
            rig, done = execute(insn, [5] * 31, 0)
            expected = reference(insn, [5] * 31, 0)
            assert done == (expected is not None), f"{insn:#010x}"
            if expected is not None:
                assert rig.vcpu.x[0] == expected[0][0], f"{insn:#010x}"

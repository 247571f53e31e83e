"""Running ahead of a trapped access: what is done, where it ends, and when it is not begun."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.hyp.rig import RAM_BASE, TABLES_BYTES, Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.homes import in_memory
from vel2.hyp import ahead, trap
from vel2.hyp.state import BARREN, LEVEL_NV

CODE = RAM_BASE + 0x1000
PC = 0xFFFF_8000_1234_5000 + 0xF00
VBAR = 0xFFFF_8000_0000_0800
WRITE_BACK = 0xFF << 56
NOP = 0xD503_201F
ORR_X1_8 = 0xB27D_0021
LDR_X0 = 0xF940_0000
UNKNOWN = 0x9AC0_2000
CNTHCTL = in_memory(sr.CNTHCTL_EL2).index


def move(register: type[Register], rt: int, is_read: bool) -> int:
    """Encode MRS or MSR (register)."""
    op0, op1, crn, crm, op2 = register.encoding
    fields = op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | rt
    return 0xD500_0000 | is_read << 21 | fields


def mrs(register: type[Register], rt: int) -> int:
    """Encode MRS."""
    return move(register, rt, True)


def msr(register: type[Register], rt: int) -> int:
    """Encode MSR."""
    return move(register, rt, False)


def run(
    rig: Rig, register: type[Register], following: Sequence[int], *, pc: int = PC, page: int = CODE
) -> Rig:
    """Trap on MRS X1 of a register at vEL2, with code behind it that AT finds at `page`."""
    place = CODE | (pc & 0xFFF)
    with rig.sim:
        for number, insn in enumerate(following, 1):
            if (place + 4 * number) >> 12 == place >> 12:
                rig.sim.views[2][(place + 4 * number - rig.sim.memory_base) // 4] = insn
    rig[sr.PAR_EL1] = page | WRITE_BACK
    rig[sr.VBAR_EL1] = VBAR
    rig.vcpu.pc, rig.vcpu.pstate = pc, 0b0101
    op0, op1, crn, crm, op2 = register.encoding
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | 1 << 5 | crm << 1 | 1
    rig.run(trap.handle_sync, rig.vcpu, ESR_ELx.compose(EC=EC.SYS64, IL=1) | iss)
    return rig


CLEAR_SET = (ORR_X1_8, msr(sr.CNTHCTL_EL2, 1), LDR_X0)
"""Behind MRS X1, CNTHCTL_EL2: set a bit, write it back, and go on with what `a64` leaves."""


def test_read_modify_write_is_one_trap() -> None:
    """Show that the write is done, PC is where hardware must go on, and it is counted apart."""
    rig = fresh_rig()
    rig.vcpu.e2h = 0
    rig.vcpu.vel2.memory[CNTHCTL] = 3
    run(rig, sr.CNTHCTL_EL2, CLEAR_SET)
    assert rig.vcpu.vel2.memory[CNTHCTL] == rig.vcpu.x[1] == 3 | 8
    assert rig.vcpu.pc == PC + 12
    assert rig.vcpu.counters.ahead == 1
    assert rig.vcpu.counters.by_sysreg[sr.CNTHCTL_EL2.trap_key] == 1
    assert PC + 4 not in list(rig.vcpu.barren)


def test_par_el1_stays_the_guests() -> None:
    """Show that looking for the code leaves PAR_EL1 as it was."""
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, CLEAR_SET)
    assert rig[sr.PAR_EL1] == CODE | WRITE_BACK
    assert [name for name, *_ in rig.instructions()] == ["AT S1E1R"]


def test_nothing_won_is_remembered() -> None:
    """Show that code without another access is executed as far as known, once."""
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, (NOP, LDR_X0))
    assert rig.vcpu.pc == PC + 8 and rig.vcpu.counters.ahead == 0
    assert rig.vcpu.barren[(PC + 4 >> 2) % BARREN] == PC + 4
    run(rig, sr.CNTHCTL_EL2, CLEAR_SET)
    assert rig.vcpu.pc == PC + 4 and rig.vcpu.vel2.memory[CNTHCTL] == 0
    assert rig.instructions() == []


def test_it_ends_after_some_instructions() -> None:
    """Show that a guest cannot keep L0 busy."""
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, [NOP] * 40)
    assert rig.vcpu.pc == PC + 4 + 4 * ahead.STEPS
    loop = 0x1400_0000
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, [loop])
    assert rig.vcpu.pc == PC + 4


def test_it_ends_at_the_end_of_the_page() -> None:
    """Show that what is on the next page is not looked for."""
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, (NOP,), pc=PC & ~0xFFF | 0xFF8)
    assert rig.vcpu.pc == (PC & ~0xFFF) + 0x1000
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, (), pc=PC & ~0xFFF | 0xFFC)
    assert rig.vcpu.pc == (PC & ~0xFFF) + 0x1000


@pytest.mark.parametrize("page", [CODE | 1, RAM_BASE - 0x1000, RAM_BASE + TABLES_BYTES, 0])
def test_code_out_of_reach_is_left_to_hardware(page: int) -> None:
    """Show that a failed AT, or code that is not in L1's RAM, ends it before it begins."""
    rig = run(fresh_rig(), sr.CNTHCTL_EL2, CLEAR_SET, page=page)
    assert rig.vcpu.pc == PC + 4 and rig.vcpu.counters.ahead == 0


@pytest.mark.parametrize("bit", ["SS", "MDE", "KDE"])
def test_a_debugger_sees_every_instruction(bit: str) -> None:
    """Show that with single step or breakpoints on only the trapped instruction is done."""
    rig = fresh_rig()
    rig[sr.MDSCR_EL1] = sr.MDSCR_EL1.compose(**{bit: 1})
    run(rig, sr.CNTHCTL_EL2, CLEAR_SET)
    assert rig.vcpu.pc == PC + 4 and rig.instructions() == []


@pytest.mark.parametrize(
    "insn",
    [
        msr(sr.HCR_EL2, 1),
        msr(sr.SP_EL0, 1),
        mrs(sr.MIDR_EL1, 2),
        msr(sr.SCTLR_EL1, 1),
        msr(sr.ELR_EL1, 1),
        0xD510_0000 | 31,
    ],
    ids=hex,
)
def test_what_is_not_vel2s_to_us_is_left_to_hardware(insn: int) -> None:
    """Show that an access with no home of ours, or with a meaning of its own, ends it undone."""
    rig = fresh_rig()
    before = list(rig.vcpu.x)
    run(rig, sr.CNTHCTL_EL2, (insn, msr(sr.CNTHCTL_EL2, 1)))
    assert rig.vcpu.pc == PC + 4
    assert list(rig.vcpu.x) == before
    assert rig.vcpu.counters.injected == 0


def test_every_register_of_a_row_is_one_trap_without_nv2() -> None:
    """Show that with FEAT_NV alone reads of the page count as won, and with NV2 they do not."""
    code = (mrs(sr.TPIDR_EL2, 2), mrs(sr.VTTBR_EL2, 3), mrs(sr.VBAR_EL2, 4), UNKNOWN)
    for level, won in ((LEVEL_NV, 3), (0, 1)):
        rig = fresh_rig()
        rig.vm.nv_level = level
        rig.set_slot(sr.TPIDR_EL2, 0x11)
        rig.set_slot(sr.VTTBR_EL2, 0x22)
        run(rig, sr.CNTHCTL_EL2, code)
        assert [rig.vcpu.x[n] for n in (2, 3, 4)] == [0x11, 0x22, VBAR]
        assert rig.vcpu.pc == PC + 16 and rig.vcpu.counters.ahead == won


def test_an_undefined_access_does_not_run_ahead() -> None:
    """Show that after an Undefined Instruction exception the handler is not executed here."""
    rig = run(fresh_rig(), sr.ZCR_EL2, CLEAR_SET)
    assert rig.vcpu.pc == VBAR + 0x200 and rig.instructions() == []


def test_saving_registers_is_one_trap_without_nv2() -> None:
    """Show that what is read is stored on the way with FEAT_NV alone, and left with FEAT_NV2."""
    data = CODE
    store = 0xF900_0002
    for level, stored in ((LEVEL_NV, 0x77), (0, 0)):
        rig = fresh_rig()
        rig.vm.nv_level = level
        rig.set_slot(sr.TPIDR_EL2, 0x77)
        rig.vcpu.x[0] = 0xFFFF_8000_0000_0100
        run(rig, sr.CNTHCTL_EL2, (mrs(sr.TPIDR_EL2, 2), store, mrs(sr.VTTBR_EL2, 3), UNKNOWN))
        assert rig.sim.views[3][(data + 0x100 - rig.sim.memory_base) // 8] == stored
        assert rig.vcpu.pc == PC + (16 if stored else 8)


def test_too_little_won_is_remembered_too() -> None:
    """Show that a gain that costs more than the trap is taken once."""
    dear = [NOP] * (ahead.WORTH + 1) + [msr(sr.CNTHCTL_EL2, 1), UNKNOWN]
    cheap = dear[1:]
    for code, is_barren in ((dear, True), (cheap, False)):
        rig = run(fresh_rig(), sr.CNTHCTL_EL2, code)
        assert rig.vcpu.counters.ahead == 1
        assert (rig.vcpu.barren[(PC + 4 >> 2) % BARREN] == PC + 4) == is_barren

"""Running ahead of a trapped access, beside the same instructions one trap at a time.

The reference takes every access by a trap of its own, with nothing done ahead, and executes what
stands between by another implementation of A64. Where `ahead` stops, registers, memory and PC must
be the same; and it must stop where the architecture lets no second instruction follow unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import unicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import arm64_const as arm64

from tests.hyp.rig import RAM_BASE, TABLES_BYTES, Rig, buffers, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import PSTATE_NZCV
from vel2.hyp import ahead, places, trap
from vel2.hyp.homes import in_memory
from vel2.hyp.pcpu import UNPROFITABLE
from vel2.hyp.state import LEVEL_NV, LEVEL_NV2, Vcpu

CODE = RAM_BASE + 0x1000
VA_PAGE = 0xFFFF_8000_1234_5000
PC = VA_PAGE + 0xF00
VBAR = 0xFFFF_8000_0000_0800
WRITE_BACK = 0xFF << 56
EL0T, EL1T, EL1H = 0b0000, 0b0100, 0b0101
NOP = 0xD503_201F
ORR_X1_8 = 0xB27D_0021
BIC_X0_X2_X0 = 0x8A20_0040
CMP_X2_X0 = 0xEB00_005F
B_EQ_8 = 0x5400_0040
B_SELF = 0x5400_000E
B_BACK = 0x54FF_FFCE
LDR_X0 = 0xF940_0000
ISB = 0xD503_3FDF
UNDEFINED = 0x0000_0000
CNTHCTL = in_memory(sr.CNTHCTL_EL2)
GENERAL = [getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)]


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


def syndrome(insn: int) -> int:
    """Give ESR_EL2 of a trapped MRS or MSR, from its encoding."""
    iss = (insn >> 19 & 3) << 20 | (insn >> 5 & 7) << 17 | (insn >> 16 & 7) << 14
    iss |= (insn >> 12 & 15) << 10 | (insn & 31) << 5 | (insn >> 8 & 15) << 1 | insn >> 21 & 1
    return ESR_ELx.compose(EC=EC.SYS64, IL=1) | iss


def write_code(rig: Rig, pc: int, words: Sequence[int]) -> None:
    """Put code where AT finds the page of `pc`; what would be on the next page is left out."""
    place = CODE | (pc & 0xFFF)
    for number, insn in enumerate(words):
        if (place + 4 * number) >> 12 == place >> 12:
            rig.sim.store(4, place + 4 * number, insn)
    assert rig.sim.load(4, place) == words[0]


def run(
    rig: Rig,
    words: Sequence[int],
    *,
    pc: int = PC,
    page: int = CODE,
    pstate: int = EL1H,
) -> Rig:
    """Trap on the first word at `pc`, with the others behind it."""
    write_code(rig, pc, words)
    rig[sr.PAR_EL1] = page | WRITE_BACK
    rig[sr.VBAR_EL1] = VBAR
    rig.vcpu.pc, rig.vcpu.pstate = pc, pstate
    rig.run(trap.handle_sync, rig.vcpu, syndrome(words[0]))
    return rig


def executed(rig: Rig, pc: int = PC) -> int:
    """Count the words that L0 has passed, the trapped one among them."""
    return (rig.vcpu.pc - pc) // 4


READ_CNTHCTL = mrs(sr.CNTHCTL_EL2, 1)
CLEAR_SET = (READ_CNTHCTL, ORR_X1_8, msr(sr.CNTHCTL_EL2, 1), LDR_X0)
"""Set a bit, write it back, and go on with what `a64` leaves."""


@cache
def machine() -> unicorn.Uc:
    """Give the other implementation of A64."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(0x1234_5000, 0x2000)
    return uc


def step_elsewhere(vcpu: Vcpu, insn: int) -> None:
    """Execute an instruction that only computes, at the same place in a page.

    An address that ADR gives is moved to where the page is.
    """
    uc = machine()
    here = 0x1234_5000 | vcpu.pc & 0xFFF
    uc.mem_write(here, insn.to_bytes(4, "little"))
    uc.ctl_remove_cache(here, here + 4)
    uc.reg_write_batch(list(zip(GENERAL, vcpu.x, strict=True)))
    uc.reg_write(arm64.UC_ARM64_REG_NZCV, vcpu.pstate & PSTATE_NZCV)
    uc.emu_start(here, 0, count=1)
    is_adr = insn & 0x1F00_0000 == 0x1000_0000
    for n, name in enumerate(GENERAL):
        value = uc.reg_read(name)
        if is_adr and n == insn & 31:
            value = value + VA_PAGE - 0x1234_5000 & (1 << 64) - 1
        vcpu.x[n] = value
    vcpu.pc += uc.reg_read(arm64.UC_ARM64_REG_PC) - here
    vcpu.pstate = vcpu.pstate & ~PSTATE_NZCV | uc.reg_read(arm64.UC_ARM64_REG_NZCV) & PSTATE_NZCV


def step_to(rig: Rig, end: int) -> int:
    """Go on to `end` one trap or one instruction at a time; give how many it took."""
    rig.vm.config.ahead = 0
    for steps in range(ahead.BUDGET + 2):
        if rig.vcpu.pc == end:
            return steps
        insn = rig.sim.load(4, CODE | rig.vcpu.pc & 0xFFF)
        if insn & 0xFFD0_0000 == 0xD510_0000:  # MSR or MRS (register)
            rig.interpret(trap.handle_sync, rig.vcpu, syndrome(insn))
        else:
            step_elsewhere(rig.vcpu, insn)
    raise AssertionError(f"{end:#x} is not reached from {PC:#x} in {ahead.BUDGET} steps")


def outcome(rig: Rig) -> tuple[bytes, bytes]:
    """Give all memory and registers, but for what only counts or is about AT."""
    rig.vcpu.counters.ahead = 0
    rig.vm.config.ahead = 0
    for index in range(UNPROFITABLE):
        rig.vcpu.guesses.unprofitable[index] = 0
    array = rig.vcpu.counters.by_sysreg
    for key in range(len(array)):
        if array[key]:
            array[key] = 0
    rig.vcpu.counters.by_ec[EC.SYS64] = 0
    rig.vcpu.trap.esr = 0
    rig.sim.clear_log()
    memory, block = buffers(rig.sim)
    start = rig.sim.block.size - 8 * len(rig.sim.registers)
    return bytes(memory), bytes(block[start:])


ACCESSIBLE = [
    register
    for register in sr.ALL_REGISTERS
    if register.trap_key in places.ENTRIES or register.name in ("ID_AA64PFR0_EL1", "MIDR_EL1")
]
GENERAL_NUMBERS = st.integers(0, 31)
ACCESS = st.builds(move, st.sampled_from(ACCESSIBLE), GENERAL_NUMBERS, st.booleans())
CLASSES = (
    (0x1F00_0000, 0x1000_0000),
    (0x1F80_0000, 0x1100_0000),
    (0x1F80_0000, 0x1200_0000),
    (0x1F80_0000, 0x1280_0000),
    (0x1FC0_0000, 0x0A00_0000),
    (0x1FE0_0000, 0x0B00_0000),
    (0xFFFF_FF10, 0x5400_0000),
)
COMPUTING = st.tuples(st.sampled_from(CLASSES), st.integers(0, (1 << 32) - 1)).map(
    lambda drawn: drawn[0][1] | drawn[1] & ~drawn[0][0] & 0xFFFF_FFFF
)
WORDS = st.one_of(ACCESS, ACCESS, COMPUTING, st.just(NOP), st.integers(0, (1 << 32) - 1))


@settings(max_examples=150)
@given(
    first=st.integers(0, 31).map(lambda rt: mrs(sr.CNTHCTL_EL2, rt)),
    following=st.lists(WORDS, min_size=10, max_size=14),
    seed=st.integers(0, (1 << 64) - 1),
    offset=st.sampled_from((0, 0x7F0, 0xFE0, 0xFF4, 0xFF8)),
    e2h=st.integers(0, 1),
    level=st.sampled_from((LEVEL_NV2, LEVEL_NV)),
)
def test_it_is_what_one_trap_after_another_is(
    first: int, following: list[int], seed: int, offset: int, e2h: int, level: int
) -> None:
    """Show that registers, memory and PC are those of the same words one at a time."""
    pc = VA_PAGE + offset

    def prepared() -> Rig:
        rig = fresh_rig()
        rig.vcpu.e2h, rig.vm.config.nv_level = e2h, level
        for n in range(31):
            rig.vcpu.x[n] = seed * (2 * n + 1) & (1 << 64) - 1
        return rig

    rig = run(prepared(), [first, *following], pc=pc)
    end = rig.vcpu.pc
    assert pc < end
    done = outcome(rig)
    other = prepared()
    write_code(other, pc, [first, *following])
    other[sr.PAR_EL1] = CODE | WRITE_BACK
    other[sr.VBAR_EL1] = VBAR
    other.vcpu.pc, other.vcpu.pstate = pc, EL1H
    step_to(other, end)
    assert outcome(other) == done


def test_read_modify_write_is_one_trap() -> None:
    """Show that the write is done, PC is where hardware must go on, and it is counted apart."""
    rig = fresh_rig()
    rig.vcpu.e2h = 0
    rig.vcpu.vel2.memory[CNTHCTL] = 3
    run(rig, CLEAR_SET)
    assert rig.vcpu.vel2.memory[CNTHCTL] == rig.vcpu.x[1] == 3 | 8
    assert executed(rig) == 3
    assert rig.vcpu.counters.ahead == 1
    assert rig.vcpu.counters.by_sysreg[sr.CNTHCTL_EL2.trap_key] == 1
    assert PC + 4 not in list(rig.vcpu.guesses.unprofitable)


def test_a_branch_over_the_write_is_taken() -> None:
    """Show that a value which is there already is not written, as the guest's code has it."""
    words = (mrs(sr.CNTHCTL_EL2, 2), BIC_X0_X2_X0, CMP_X2_X0, B_EQ_8, msr(sr.CNTHCTL_EL2, 0))
    for value, length in ((0, 5), (1, 5)):
        rig = fresh_rig()
        rig.vcpu.e2h = 0
        rig.vcpu.vel2.memory[CNTHCTL] = value
        rig.vcpu.x[0] = 1
        run(rig, (*words, UNDEFINED))
        assert executed(rig) == length
        assert rig.vcpu.counters.ahead == value and rig.vcpu.vel2.memory[CNTHCTL] == 0


def test_it_can_be_turned_off() -> None:
    """Show that with a budget of 0 an access is one trap."""
    rig = fresh_rig()
    rig.vm.config.ahead = 0
    run(rig, CLEAR_SET)
    assert executed(rig) == 1 and rig.instructions() == []


def test_par_el1_stays_the_guests() -> None:
    """Show that looking for the code leaves PAR_EL1 as it was."""
    rig = run(fresh_rig(), CLEAR_SET)
    assert rig[sr.PAR_EL1] == CODE | WRITE_BACK
    assert [(op.name, op.value) for op in rig.instructions()] == [("AT S1E1R", PC)]


def test_nothing_won_is_remembered() -> None:
    """Show that code without another access is executed as far as known, once."""
    rig = run(fresh_rig(), (READ_CNTHCTL, NOP, LDR_X0))
    assert executed(rig) == 2 and rig.vcpu.counters.ahead == 0
    assert rig.vcpu.guesses.unprofitable[(PC + 4 >> 2) % UNPROFITABLE] == PC + 4
    run(rig, CLEAR_SET)
    assert executed(rig) == 1 and rig.vcpu.vel2.memory[CNTHCTL] == 0
    assert rig.instructions() == []


@pytest.mark.parametrize("word", [NOP, mrs(sr.ICH_VTR_EL2, 0), msr(sr.VBAR_EL2, 5)], ids=hex)
def test_nothing_gives_it_more_time(word: int) -> None:
    """Show that the budget is one for all that follows a trap, accesses too."""
    rig = run(fresh_rig(), [READ_CNTHCTL] + [word] * 40)
    assert executed(rig) == 1 + ahead.BUDGET


@pytest.mark.parametrize("word", [B_SELF, B_BACK], ids=["b.al .", "b.al .-8"])
def test_it_does_not_go_back(word: int) -> None:
    """Show that a loop is left to hardware, where an interrupt can end it."""
    rig = run(fresh_rig(), (READ_CNTHCTL, NOP, word))
    assert executed(rig) == 2


def test_it_ends_at_the_end_of_the_page() -> None:
    """Show that what is on the next page is neither executed nor read.

    The word that would be next lies at the beginning of this page, and would set X1.
    """
    for pc in (VA_PAGE + 0xFF8, VA_PAGE + 0xFFC):
        rig = fresh_rig()
        for place in range(CODE, CODE + 0x20, 4):
            rig.sim.store(4, place, ORR_X1_8)
        run(rig, (READ_CNTHCTL, NOP), pc=pc)
        assert rig.vcpu.pc == VA_PAGE + 0x1000
        assert rig.vcpu.x[1] == 0


def test_it_does_not_look_at_a_page_that_hardware_has_not_fetched_from() -> None:
    """Show that behind the last word of a page nothing is done: the next may be execute-never."""
    rig = run(fresh_rig(), (READ_CNTHCTL,), pc=VA_PAGE + 0xFFC)
    assert rig.instructions() == []


@pytest.mark.parametrize("page", [CODE | 1, RAM_BASE - 0x1000, RAM_BASE + TABLES_BYTES, 0])
def test_code_out_of_reach_is_left_to_hardware(page: int) -> None:
    """Show that a failed AT, or code that is not in L1's RAM, ends it before it begins."""
    rig = run(fresh_rig(), CLEAR_SET, page=page)
    assert executed(rig) == 1 and rig.vcpu.counters.ahead == 0


@pytest.mark.parametrize("attr", [0x00, 0x04, 0x44, 0xBB, 0x4F, 0xF4], ids=hex)
def test_code_that_is_not_write_back_is_left_to_hardware(attr: int) -> None:
    """Show that L0, whose own view is Write-Back, reads no code that hardware fetches otherwise."""
    rig = fresh_rig()
    write_code(rig, PC, CLEAR_SET)
    rig[sr.PAR_EL1] = CODE | attr << 56
    rig.vcpu.pc, rig.vcpu.pstate = PC, EL1H
    rig.run(trap.handle_sync, rig.vcpu, syndrome(READ_CNTHCTL))
    assert executed(rig) == 1


@pytest.mark.parametrize("bit", ["SS", "MDE", "KDE"])
def test_a_debugger_sees_every_instruction(bit: str) -> None:
    """Show that with single step or breakpoints on only the trapped instruction is done."""
    rig = fresh_rig()
    rig[sr.MDSCR_EL1] = sr.MDSCR_EL1.compose(**{bit: 1})
    run(rig, CLEAR_SET)
    assert executed(rig) == 1 and rig.instructions() == []


@pytest.mark.parametrize(("pstate", "count"), [(EL0T, 1), (EL1T, 3), (EL1H, 3)])
def test_el0_of_a_host_gets_nothing_done(pstate: int, count: int) -> None:
    """Show that L0 does no access with vEL2's rights behind one that EL0 was allowed."""
    rig = run(fresh_rig(), (mrs(sr.CNTP_CTL_EL0, 0), *CLEAR_SET[1:]), pstate=pstate)
    assert executed(rig) == count


@pytest.mark.parametrize(
    "register",
    [sr.SCTLR_EL2, sr.TCR_EL2, sr.TTBR0_EL2, sr.MAIR_EL2, sr.AMAIR_EL2, sr.HCR_EL2],
    ids=lambda register: register.name,
)
def test_a_change_of_translation_is_followed_by_hardware(register: type[Register]) -> None:
    """Show that it neither begins behind such a write, nor does one."""
    for level in (LEVEL_NV2, LEVEL_NV):
        rig = fresh_rig()
        rig.vcpu.e2h, rig.vm.config.nv_level = 0, level
        rig.vcpu.x[5] = 1 << 31
        run(rig, (msr(register, 5), *CLEAR_SET[1:]))
        assert executed(rig) == 1 and rig.instructions() == []
        rig = fresh_rig()
        rig.vcpu.e2h, rig.vm.config.nv_level = 0, level
        run(rig, (READ_CNTHCTL, NOP, msr(register, 5)))
        assert executed(rig) == 2


@pytest.mark.parametrize("word", [ISB, LDR_X0, UNDEFINED], ids=["ISB", "LDR", "UDF"])
def test_what_is_not_computing_is_left_to_hardware(word: int) -> None:
    """Show that an ISB in particular is hardware's, for what came before it."""
    rig = run(fresh_rig(), (READ_CNTHCTL, NOP, word, msr(sr.CNTHCTL_EL2, 1)))
    assert executed(rig) == 2


@pytest.mark.parametrize(
    "insn",
    [
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
    run(rig, (READ_CNTHCTL, insn, msr(sr.CNTHCTL_EL2, 1)))
    assert executed(rig) == 1
    assert list(rig.vcpu.x) == before
    assert rig.vcpu.counters.injected == 0


def test_every_register_of_a_row_is_one_trap_without_nv2() -> None:
    """Show that with FEAT_NV alone reads of the page count as won, and with NV2 they do not."""
    code = (mrs(sr.TPIDR_EL2, 2), mrs(sr.VTTBR_EL2, 3), mrs(sr.VBAR_EL2, 4), UNDEFINED)
    for level, won in ((LEVEL_NV, 3), (LEVEL_NV2, 1)):
        rig = fresh_rig()
        rig.vm.config.nv_level = level
        rig.set_slot(sr.TPIDR_EL2, 0x11)
        rig.set_slot(sr.VTTBR_EL2, 0x22)
        run(rig, (READ_CNTHCTL, *code))
        assert [rig.vcpu.x[n] for n in (2, 3, 4)] == [0x11, 0x22, VBAR]
        assert executed(rig) == 4 and rig.vcpu.counters.ahead == won


def test_an_undefined_access_does_not_run_ahead() -> None:
    """Show that after an Undefined Instruction exception the handler is not executed here."""
    rig = run(fresh_rig(), (mrs(sr.ZCR_EL2, 1), *CLEAR_SET[1:]))
    assert rig.vcpu.pc == VBAR + 0x200 and rig.instructions() == []


def test_too_little_won_is_remembered_too() -> None:
    """Show that a gain that costs more than the trap is taken once."""
    dear = [READ_CNTHCTL, *[NOP] * (ahead.WORTH + 1), msr(sr.CNTHCTL_EL2, 1), UNDEFINED]
    cheap = [READ_CNTHCTL, *dear[2:]]
    for code, is_unprofitable in ((dear, True), (cheap, False)):
        rig = run(fresh_rig(), code)
        assert rig.vcpu.counters.ahead == 1
        noted = rig.vcpu.guesses.unprofitable[(PC + 4 >> 2) % UNPROFITABLE]
        assert (noted == PC + 4) == is_unprofitable

"""The assembly of the vectors, run off QEMU, beside the resident function it stands in for.

The synchronous vector finishes the ERETs that stay in vEL2 by itself (`vectors.plain_eret`). For
every syndrome, SPSR_EL2, HCR_EL2.TGE and state of L0 it must either do exactly what
`eret.from_vel2` does, or save everything and leave it to that. Another implementation of A64 runs
the linked image, instruction by instruction; system registers are a table here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import unicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import arm64_const as arm64

from tests.hyp.rig import Rig, fresh_rig
from tests.hyp.test_exception import PSTATES, TGE
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import M_EL0t, M_EL2h, M_EL2t
from vel2.hyp import image, trap
from vel2.hyp.layout import PCPU_OFFSET, VCPU_IN_PCPU, VNCR_IN_PCPU
from vel2.hyp.state import (
    CONTEXT_VEL2,
    SLOW_MAINTENANCE,
    SLOW_PTIMER,
    SLOW_VEL1,
    SLOW_VTIMER,
    Vcpu,
)
from vel2.hyp.vectors import LOWER_AARCH64_SYNC, VECTOR_BYTES
from vel2.lang.link import Image

BASE = 0x4800_0000
MEMORY_BYTES = 0x40_0000
VCPU = BASE + PCPU_OFFSET + VCPU_IN_PCPU
PAGE = BASE + PCPU_OFFSET + VNCR_IN_PCPU
ERET = 0xD69F_03E0
SYSTEM_MASK, MRS, MSR = 0xFFF0_0000, 0xD530_0000, 0xD510_0000
STEPS = 200
GENERAL = [getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)]
PLAIN, ERETAA, ERETAB = (ESR_ELx.compose(EC=EC.ERET, IL=1) | iss for iss in (0, 0b10, 0b11))
OTHERS = tuple(ESR_ELx.compose(EC=ec, IL=1) for ec in (EC.UNKNOWN, EC.HVC64, EC.SYS64, EC.PAC))
SLOW = (0, SLOW_MAINTENANCE, SLOW_VTIMER, SLOW_PTIMER, SLOW_VEL1)
TARGET, TRAPPED = 0xFFFF_8000_0BAD_CAF0, 0xFFFF_8000_1234_5678
HELD = [(0x0101_0101_0101_0101 * (n + 1)) & (1 << 64) - 1 for n in range(31)]


@cache
def linked() -> Image:
    """Give L0's image."""
    return image.build(BASE)


@cache
def machine() -> unicorn.Uc:
    """Give the other implementation with the image in it."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(BASE, MEMORY_BYTES)
    uc.mem_write(BASE, bytes(linked().data))
    return uc


def put(address: int, value: int) -> None:
    """Write eight bytes of the machine's memory."""
    machine().mem_write(address, value.to_bytes(8, "little"))


def get(address: int) -> int:
    """Read eight bytes of the machine's memory."""
    return int.from_bytes(machine().mem_read(address, 8), "little")


@dataclass
class After:
    """How the vector ended.

    :ivar called: it called `handle_sync`; else it has executed ERET.
    """

    called: bool
    registers: list[int]
    system: dict[int, int]
    steps: int
    """Instructions until then."""


def run_vector(system: dict[int, int], called: str) -> After:
    """Take a synchronous exception from a guest with `HELD` in its registers, SP the `Vcpu`."""
    uc, symbols = machine(), linked().symbols
    uc.reg_write_batch(list(zip(GENERAL, HELD, strict=True)))
    uc.reg_write(arm64.UC_ARM64_REG_SP, VCPU)
    pc = symbols["vectors"] + VECTOR_BYTES * LOWER_AARCH64_SYNC
    for steps in range(STEPS):
        word = int.from_bytes(uc.mem_read(pc, 4), "little")
        if word == ERET or pc == symbols[called]:
            registers = [uc.reg_read(name) for name in GENERAL]
            return After(word != ERET, registers, system, steps)
        key, rt = word & 0x000F_FFE0, word & 31
        if word & SYSTEM_MASK == MRS:
            uc.reg_write(GENERAL[rt], system[key])
            pc += 4
        elif word & SYSTEM_MASK == MSR:
            system[key] = uc.reg_read(GENERAL[rt])
            pc += 4
        else:
            uc.emu_start(pc, 0, count=1)
            pc = uc.reg_read(arm64.UC_ARM64_REG_PC)
    raise AssertionError(f"the vector is still under way at {linked().symbol_at(pc)}")


def name(register: type[Register]) -> int:
    """Give the bits of MRS and MSR that name a register."""
    op0, op1, crn, crm, op2 = register.encoding
    return (op0 & 1) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5


@dataclass(frozen=True)
class State:
    """What an ERET of vEL2 depends on."""

    esr: int
    spsr: int
    tge: int
    slow: int
    mdscr: int
    page_mdscr: int


def by_assembly(state: State, called: str = "handle_sync") -> After:
    """Run the vector."""
    put(VCPU + Vcpu.offset_of("slow_eret"), state.slow)
    put(VCPU + Vcpu.offset_of("vel2.vncr_page"), PAGE)
    put(VCPU + Vcpu.offset_of("pcpu.mdscr"), state.mdscr)
    put(VCPU + Vcpu.offset_of("counters.fast_eret"), 41)
    for register, value in ((sr.MDSCR_EL1, state.page_mdscr), (sr.HCR_EL2, state.tge)):
        assert register.vncr is not None
        put(PAGE + register.vncr, value)
    return run_vector(
        {
            name(sr.ESR_EL2): state.esr,
            name(sr.SPSR_EL1): state.spsr,
            name(sr.ELR_EL1): TARGET,
            name(sr.ELR_EL2): TRAPPED,
            name(sr.SPSR_EL2): 0b0101,
        },
        called,
    )


def by_resident_code(state: State) -> Rig:
    """Run `trap.handle_sync`."""
    rig = fresh_rig()
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1] = state.spsr, TARGET
    rig.set_slot(sr.HCR_EL2, state.tge)
    rig.vcpu.pstate, rig.vcpu.pc = 0b0101, TRAPPED
    rig.prepare(trap.handle_sync, rig.vcpu, state.esr)
    return rig


def check(state: State) -> None:
    """Require the vector's answer to one state."""
    after = by_assembly(state)
    fast = get(VCPU + Vcpu.offset_of("counters.fast_eret"))
    x = VCPU + Vcpu.offset_of("x")
    if after.called:
        assert fast == 41
        assert after.registers[:2] == [VCPU, state.esr]
        assert [get(x + 8 * n) for n in range(31)] == HELD
        for record in ("", "trap."):
            assert get(VCPU + Vcpu.offset_of(record + "pc")) == TRAPPED
            assert get(VCPU + Vcpu.offset_of(record + "pstate")) == 0b0101
    else:
        assert state.slow == 0, "there is more to do than to return"
        assert state.mdscr == state.page_mdscr, "L1's MDSCR_EL1 is not in effect"
        rig = by_resident_code(state)
        assert (rig.vcpu.context, rig.vcpu.pc) == (CONTEXT_VEL2, TARGET)
        assert after.system[name(sr.ELR_EL2)] == rig.vcpu.pc
        assert after.system[name(sr.SPSR_EL2)] == rig.vcpu.pstate
        assert after.registers == HELD and fast == 42
    assert after.called != is_plain(state)


def is_plain(state: State) -> bool:
    """Whether nothing is left to do but to return: these are not to cost a save of everything."""
    if state.esr != PLAIN or state.slow or state.mdscr != state.page_mdscr:
        return False
    mode = state.spsr & 0b1_1111
    return mode in (M_EL2t, M_EL2h) or (mode == M_EL0t and state.tge == TGE)


@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize("tge", [0, TGE], ids=["TGE=0", "TGE=1"])
@pytest.mark.parametrize("esr", [PLAIN, ERETAA, ERETAB], ids=["ERET", "ERETAA", "ERETAB"])
def test_every_mode_of_spsr(esr: int, tge: int, slow: int) -> None:
    """Show for each SPSR_EL2.M that the vector returns as the resident code, or calls it."""
    for mode in range(32):
        check(State(esr, mode, tge, slow, 0, 0))


@settings(max_examples=200)
@given(
    esr=st.sampled_from((PLAIN, PLAIN, ERETAA, ERETAB, *OTHERS)),
    mode=st.integers(0, 31),
    flags=PSTATES,
    tge=st.sampled_from((0, TGE)),
    slow=st.sampled_from(SLOW),
    mdscr=st.sampled_from((0, 1, 1 << 15)),
    page_mdscr=st.sampled_from((0, 1, 1 << 15)),
)
def test_any_state(
    esr: int, mode: int, flags: int, tge: int, slow: int, mdscr: int, page_mdscr: int
) -> None:
    """Show the same for any flags, other exceptions, and an MDSCR_EL1 that is not loaded yet."""
    check(State(esr, flags | mode, tge, slow, mdscr, page_mdscr))


ANYBODY = VCPU + Vcpu.offset_of("observe.anybody")
ASKED = 2
"""Instructions by which the vectors ask whether anybody watches."""
MOST_FOR_NOTHING = 10


@pytest.mark.parametrize("esr", list(OTHERS), ids=hex)
def test_a_trap_that_a_filter_does_not_want_costs_ten_instructions(esr: int) -> None:
    """Ten more than without any look, two of which are there while nobody watches."""
    state = State(esr, spsr=0, tge=0, slow=SLOW_VEL1, mdscr=0, page_mdscr=0)
    unwatched = by_assembly(state)
    put(ANYBODY, 1)
    try:
        watched = by_assembly(state)
    finally:
        put(ANYBODY, 0)
    assert unwatched.called and watched.called
    assert watched.steps - unwatched.steps + ASKED <= MOST_FOR_NOTHING


@pytest.mark.parametrize("esr", list(OTHERS), ids=hex)
def test_a_trap_that_is_wanted_goes_another_way(esr: int) -> None:
    """Its class has a mark; an access, its group of registers."""
    state = State(esr, spsr=0, tge=0, slow=SLOW_VEL1, mdscr=0, page_mdscr=0)
    is_access = ESR_ELx.EC.get(esr) == EC.SYS64
    mark = "observe.groups[0]" if is_access else f"observe.classes[{ESR_ELx.EC.get(esr)}]"
    put(ANYBODY, 1)
    put(VCPU + Vcpu.offset_of(mark), 1)
    put(VCPU + Vcpu.offset_of("context"), CONTEXT_VEL2)
    try:
        after = by_assembly(state, "handle_watched_sync")
    finally:
        put(ANYBODY, 0)
        put(VCPU + Vcpu.offset_of(mark), 0)
    assert after.called

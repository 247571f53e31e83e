"""AT from vEL2, with hardware's AT scripted: success, each fault, External abort."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp import arm_walk
from tests.hyp.rig import BIG_RAM_BASE, DEVICE_BASE, RAM_BASE, Op, Rig, fresh_rig, needs_native
from tests.hyp.test_walk import vtcr_of
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, FSC
from vel2.arch.insn import AT, SysInsn
from vel2.hyp import at, stage1
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import TO_RUNNING_EL1
from vel2.hyp.state import CONTEXT_VEL2
from vel2.lang import SimulatedAbort

VA = 0x12_3456_7678
IPA = 0x12_3000
HOLE = RAM_BASE - 0x1000
OLD_PAR = 0x4444_0000
F, S, PTW, RES1 = 1, 1 << 9, 1 << 8, 1 << 11
STOPPED = RES1 | F | S | PTW
S1PTW, CM, WNR = 1 << 7, 1 << 8, 1 << 6
VM, TGE, DC = sr.HCR_EL2.VM.mask, sr.HCR_EL2.TGE.mask, sr.HCR_EL2.DC.mask
STAGE1 = tuple(RAM_BASE + 0x1_0000 + 0x1000 * n for n in range(4))
STAGE2 = tuple(RAM_BASE + 0x2_0000 + 0x1000 * n for n in range(3))
TCR_48 = 16 | 16 << 16 | 2 << 30
LEAF = 1 << 10 | 3 << 8 | 3

GUEST_NAMES = {
    AT.S1E1R: "AT S1E1R",
    AT.S1E1W: "AT S1E1W",
    AT.S1E0R: "AT S1E0R",
    AT.S1E0W: "AT S1E0W",
    AT.S1E1RP: "AT S1E1RP",
    AT.S1E1WP: "AT S1E1WP",
    AT.S12E1R: "AT S1E1R",
    AT.S12E1W: "AT S1E1W",
    AT.S12E0R: "AT S1E0R",
    AT.S12E0W: "AT S1E0W",
}
OWN_NAMES = {AT.S1E2R: "AT S1E1R", AT.S1E2W: "AT S1E1W"}


def failed(fsc: int) -> int:
    """Give the PAR_EL1 of a stage-1 fault."""
    return RES1 | fsc << 1 | F


class Hardware:
    """Answers for hardware's AT, one after the other; the last stays."""

    def __init__(self, rig: Rig, *answers: int | SimulatedAbort) -> None:
        self.rig = rig
        self.answers = answers
        self.asked: list[Op] = []
        self.native = 0
        self.sctlr: list[int] = []
        self.hcr: list[int] = []
        rig.sim.translate = self.answer

    def answer(self, op: Op) -> int:
        """Give PAR_EL1, or abort; each life of the code begins with the first answer."""
        if self.rig.sim.is_traced:
            number = len(self.asked)
            self.asked.append(op)
            self.sctlr.append(self.rig[sr.SCTLR_EL1])
            self.hcr.append(self.rig[sr.HCR_EL2])
        else:
            number = self.native
            self.native += 1
        found = self.answers[min(number, len(self.answers) - 1)]
        if isinstance(found, SimulatedAbort):
            raise found
        return found


def external(rig: Rig, iss: int) -> SimulatedAbort:
    """Make hardware's AT abort with this syndrome."""
    rig[sr.ESR_EL2] = EC.DABT_SAME << 26 | 1 << 25 | iss
    return SimulatedAbort()


def machine(hcr: int = 0, e2h: int = 1) -> Rig:
    """Give a rig at vEL2 whose guest has stage-1 tables of four levels, under a stage 2 if VM."""
    rig = fresh_rig()
    rig.vcpu.e2h = e2h
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig[sr.PAR_EL1] = OLD_PAR
    for register, value in guest_stage1().items():
        rig.set_slot(register, value)
        if e2h:
            rig[register] = value
    rig.set_slot(sr.HCR_EL2, hcr)
    rig.set_slot(sr.VTTBR_EL2, 1 << 48 | STAGE2[0])
    rig.set_slot(sr.VTCR_EL2, vtcr_of(0, 1, 39))
    for level in range(3):
        rig.store(STAGE1[level] + 8 * (VA >> (39 - 9 * level) & 511), STAGE1[level + 1] | 3)
    rig.store(STAGE1[3] + 8 * (VA >> 12 & 511), IPA | LEAF)
    identity(rig)
    return rig


def guest_stage1() -> dict[type[Register], int]:
    """Give the registers of a stage 1 that is on."""
    return {
        sr.SCTLR_EL1: 1,
        sr.TCR_EL1: TCR_48,
        sr.TTBR0_EL1: STAGE1[0],
        sr.TTBR1_EL1: STAGE1[0],
    }


def identity(rig: Rig, attributes: int = 3 << 6 | 0xF << 2) -> None:
    """Map the guest's tables to themselves in L1's stage 2, by pages of RAM's first 2 MiB."""
    rig.store(STAGE2[0] + 8 * (RAM_BASE >> 30), STAGE2[1] | 3)
    rig.store(STAGE2[1] + 8 * (RAM_BASE >> 21 & 511), STAGE2[2] | 3)
    for page in range(0x80):
        rig.store(STAGE2[2] + 8 * page, RAM_BASE + 0x1000 * page | LEAF | attributes)


def leaf_of(rig: Rig, address: int, value: int) -> None:
    """Change L1's stage-2 leaf for a page of RAM's first 2 MiB."""
    rig.store(STAGE2[2] + 8 * (address >> 12 & 511), value)


def run(rig: Rig, instruction: SysInsn, va: int = VA) -> Outcome:
    """Let L1 execute an AT; it must be back in the hyp context afterwards."""
    outcome = Outcome(rig.run(at.from_vel2, rig.vcpu, instruction.trap_key, va))
    assert rig.vcpu.context == CONTEXT_VEL2
    return outcome


def expect_abort(rig: Rig, outcome: Outcome, status: int) -> None:
    """Require an External abort, taken to vEL2 by the AT, and PAR_EL1 as it was."""
    assert outcome == Outcome.EXCEPTION
    taken = rig.vcpu.exception
    assert taken.syndrome == EC.DABT_SAME << 26 | 1 << 25 | CM | WNR | status
    assert (taken.target, taken.has_vaddress, taken.vaddress) == (TO_RUNNING_EL1, 1, VA)
    assert rig[sr.PAR_EL1] == OLD_PAR


@pytest.mark.parametrize("hcr", [0, VM])
@pytest.mark.parametrize("instruction", GUEST_NAMES | OWN_NAMES, ids=str)
def test_hardware_translates_by_the_form_of_el1(instruction: SysInsn, hcr: int) -> None:
    """Show which AT hardware runs for each of L1's, once, and that its answer is L1's."""
    rig = machine(hcr)
    hardware = Hardware(rig, failed(FSC.TRANSLATION + 2))
    assert run(rig, instruction) == Outcome.SKIP
    name = (GUEST_NAMES | OWN_NAMES)[instruction]
    assert [(op.name, op.value) for op in hardware.asked] == [(name, VA)]
    assert rig[sr.PAR_EL1] == failed(FSC.TRANSLATION + 2)
    own = instruction in OWN_NAMES
    assert (hardware.asked[0].vttbr == rig.vm.stage2.canonical.vttbr) == own


@pytest.mark.parametrize("instruction", GUEST_NAMES, ids=str)
def test_nothing_is_translated_before_the_context_is_there(instruction: SysInsn) -> None:
    """Show an ISB between the registers of L1's guest and hardware's AT, each time."""
    rig = machine(VM)
    Hardware(rig, STOPPED | FSC.TRANSLATION + 1 << 1, failed(FSC.ACCESS_FLAG + 1))
    rig.vm.stage2.shadows[0].dirty = 0
    run(rig, instruction)
    names = [op.name for op in rig.sim.trace]
    first = next(n for n, name in enumerate(names) if name.startswith("AT "))
    assert names[first - 1] == "isb"


FAULTS = [
    FSC.ADDRESS_SIZE,
    *(FSC.TRANSLATION + n for n in range(4)),
    *(FSC.ACCESS_FLAG + n for n in range(1, 4)),
    *(FSC.PERMISSION + n for n in range(1, 4)),
]


@pytest.mark.parametrize("instruction", [AT.S1E2R, AT.S1E1R, AT.S12E1R], ids=str)
@pytest.mark.parametrize("fsc", FAULTS)
def test_a_fault_of_stage_1_is_the_answer(fsc: int, instruction: SysInsn) -> None:
    """Show that no fault of stage 1 is looked at again."""
    rig = machine(VM)
    hardware = Hardware(rig, failed(fsc))
    assert run(rig, instruction) == Outcome.SKIP
    assert (rig[sr.PAR_EL1], len(hardware.asked)) == (failed(fsc), 1)


WALK_ABORTS = [FSC.SYNC_EXTERNAL_WALK_M1, *(FSC.SYNC_EXTERNAL_WALK + n for n in range(4))]


@pytest.mark.parametrize("instruction", [AT.S1E2R, AT.S1E1R, AT.S12E1R, AT.S1E1WP], ids=str)
@pytest.mark.parametrize("status", [*WALK_ABORTS, S1PTW | FSC.SYNC_EXTERNAL_WALK + 2])
def test_an_external_abort_of_hardwares_at_is_l1s(status: int, instruction: SysInsn) -> None:
    """Show that the abort is taken to vEL2 with the level that hardware gave, and L0 lives."""
    rig = machine(VM)
    Hardware(rig, external(rig, status))
    expect_abort(rig, run(rig, instruction), status)


@pytest.mark.parametrize("status", WALK_ABORTS)
def test_an_external_abort_of_the_second_at_is_l1s(status: int) -> None:
    """Show the same when the tables have been made reachable in between."""
    rig = machine(VM)
    Hardware(rig, STOPPED | FSC.TRANSLATION << 1, external(rig, status))
    expect_abort(rig, run(rig, AT.S1E1R), status)


def test_a_guests_tables_are_made_reachable() -> None:
    """Show that every table is mapped where stage 2 stopped hardware, and it walks again."""
    rig = machine(VM)
    hardware = Hardware(rig, STOPPED | FSC.TRANSLATION + 1 << 1, IPA)
    assert run(rig, AT.S1E1R) == Outcome.SKIP
    assert [op.name for op in hardware.asked] == ["AT S1E1R"] * 2
    assert rig[sr.PAR_EL1] == IPA
    assert set(rig.leaves(rig.stage2_of(rig.vcpu.shadow))) == set(STAGE1)


@pytest.mark.parametrize("hcr", [0, VM])
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("where", [HOLE, DEVICE_BASE])
def test_a_table_that_is_not_memory_is_an_external_abort(where: int, level: int, hcr: int) -> None:
    """Show the level of the table in the abort, for the guest's regime and for L1's own."""
    for instruction in (AT.S1E1R, AT.S1E2R):
        rig = machine(hcr)
        if level == 0:
            rig.set_slot(sr.TTBR0_EL1, where)
            rig[sr.TTBR0_EL1] = where
        else:
            rig.store(STAGE1[level - 1] + 8 * (VA >> (48 - 9 * level) & 511), where | 3)
        ipa = where & 0x1F_F000
        if hcr and instruction is AT.S1E1R:
            table = ipa | RAM_BASE | 0x10_0000
            if level == 0:
                rig.set_slot(sr.TTBR0_EL1, table)
            else:
                rig.store(STAGE1[level - 1] + 8 * (VA >> (48 - 9 * level) & 511), table | 3)
            leaf_of(rig, table, where | LEAF | 3 << 6 | 0xF << 2)
        hardware = Hardware(rig, STOPPED | FSC.TRANSLATION + 2 << 1)
        expect_abort(rig, run(rig, instruction), FSC.SYNC_EXTERNAL_WALK + level)
        assert len(hardware.asked) == 2


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize(
    ("leaf", "fsc"),
    [
        (0, FSC.TRANSLATION + 3),
        (RAM_BASE | LEAF & ~0x400 | 3 << 6, FSC.ACCESS_FLAG + 3),
        (RAM_BASE | LEAF, FSC.PERMISSION + 3),
        (RAM_BASE | LEAF | 2 << 6, FSC.PERMISSION + 3),
    ],
)
def test_a_table_that_l1_does_not_map_is_a_stage_2_fault(leaf: int, fsc: int, level: int) -> None:
    """Show PAR_EL1 with L1's own fault and level, S and PTW, where hardware is stopped again."""
    rig = machine(VM)
    leaf_of(rig, STAGE1[level], leaf)
    hardware = Hardware(rig, STOPPED | FSC.TRANSLATION + 1 << 1)
    assert run(rig, AT.S1E1R) == Outcome.SKIP
    assert rig[sr.PAR_EL1] == STOPPED | fsc << 1
    assert len(hardware.asked) == 2


@pytest.mark.parametrize("where", [0, HOLE])
def test_hardware_may_find_another_fault_before_the_one_we_find(where: int) -> None:
    """Show that what hardware says of the walk wins: software does not know all that stops it."""
    rig = machine(VM)
    rig.store(STAGE1[0] + 8 * (VA >> 39 & 511), where | 1 << 44 | 3)
    Hardware(rig, STOPPED | FSC.TRANSLATION + 1 << 1, failed(FSC.ADDRESS_SIZE))
    assert run(rig, AT.S1E1R) == Outcome.SKIP
    assert rig[sr.PAR_EL1] == failed(FSC.ADDRESS_SIZE)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_table_of_l1s_stage_2_in_a_hole_is_an_external_abort(level: int) -> None:
    """Show S1PTW for a walk of stage 1 that led there, and none for the output of AT S12E1R."""
    for output in (False, True):
        rig = machine(VM)
        address = IPA if output else STAGE1[0]
        if level == 1:
            rig.set_slot(sr.VTTBR_EL2, 1 << 48 | HOLE & ~0xFFF)
        elif level == 2:
            rig.store(STAGE2[0] + 8 * (address >> 30), HOLE | 3)
        else:
            rig.store(STAGE2[0] + 8 * (address >> 30), STAGE2[1] | 3)
            rig.store(STAGE2[1] + 8 * (address >> 21 & 511), HOLE | 3)
        Hardware(rig, IPA if output else STOPPED | FSC.TRANSLATION << 1)
        outcome = run(rig, AT.S12E1R)
        expect_abort(rig, outcome, FSC.SYNC_EXTERNAL_WALK + level | (0 if output else S1PTW))


@pytest.mark.parametrize(
    ("hardware_fsc", "fsc"),
    [
        (FSC.PERMISSION, FSC.PERMISSION),
        (FSC.PERMISSION + 3, FSC.PERMISSION + 2),
        (FSC.TRANSLATION, FSC.TRANSLATION),
    ],
)
def test_what_hardware_refuses_although_all_is_mapped_is_the_answer(
    hardware_fsc: int, fsc: int
) -> None:
    """Show that a Permission fault of the walk has the level of L1's leaf, unless it has none."""
    rig = machine(VM)
    block = RAM_BASE & ~0x1F_FFFF | LEAF & ~2 | 1 << 6 | 0xF << 2
    rig.store(STAGE2[1] + 8 * (RAM_BASE >> 21 & 511), block)
    hardware = Hardware(rig, STOPPED | hardware_fsc << 1)
    assert run(rig, AT.S1E1R) == Outcome.SKIP
    assert rig[sr.PAR_EL1] == STOPPED | fsc << 1
    assert len(hardware.asked) == 2


@pytest.mark.parametrize("instruction", [AT.S1E2R, AT.S1E1R], ids=str)
def test_l0s_own_stage_2_never_shows(instruction: SysInsn) -> None:
    """Show an External abort, not a fault of stage 2, where L1 has none and hardware insists."""
    rig = machine()
    Hardware(rig, STOPPED | FSC.TRANSLATION + 2 << 1)
    expect_abort(rig, run(rig, instruction), FSC.SYNC_EXTERNAL_WALK + 3)


@pytest.mark.parametrize("s2ap", range(4))
@pytest.mark.parametrize(
    ("instruction", "needs"),
    [(AT.S12E1R, 1), (AT.S12E0R, 1), (AT.S12E1W, 2), (AT.S12E0W, 2)],
    ids=str,
)
def test_s2ap_decides_what_stage_2_lets_pass(instruction: SysInsn, needs: int, s2ap: int) -> None:
    """Show for each leaf and access: L1's output address, or a Permission fault of stage 2."""
    rig = machine(VM)
    page = RAM_BASE + 0x5000
    leaf_of(rig, page, BIG_RAM_BASE | LEAF | s2ap << 6 | 0xF << 2)
    Hardware(rig, page | 0xFF << 56)
    assert run(rig, instruction) == Outcome.SKIP
    par = rig[sr.PAR_EL1]
    if s2ap & needs:
        assert (par & F, par & 0xF_FFFF_FFFF_F000) == (0, BIG_RAM_BASE)
    else:
        assert par == RES1 | F | S | FSC.PERMISSION + 3 << 1


@pytest.mark.parametrize("e2h", [0, 1])
@pytest.mark.parametrize("instruction", [AT.S12E1R, AT.S12E1W, AT.S12E0R, AT.S12E0W], ids=str)
def test_tge_turns_the_guests_stage_1_off(instruction: SysInsn, e2h: int) -> None:
    """Show SCTLR_EL1.M=0 for hardware's AT and back; with E2H=1 neither DC nor stage 2 counts.

    The EL0 names mean the EL2&0 regime then.
    """
    rig = machine(VM | TGE | DC, e2h)
    page = RAM_BASE + 0x5000
    leaf_of(rig, page, BIG_RAM_BASE | LEAF | 3 << 6 | 0xF << 2)
    hardware = Hardware(rig, page)
    assert run(rig, instruction) == Outcome.SKIP
    own = bool(e2h) and instruction in (AT.S12E0R, AT.S12E0W)
    assert [value & 1 for value in hardware.sctlr] == [own]
    assert (hardware.asked[0].vttbr == rig.vm.stage2.canonical.vttbr) == own
    if not own:
        assert [value & DC != 0 for value in hardware.hcr] == [e2h == 0]
    assert rig.slot(sr.SCTLR_EL1) & 1 == 1
    assert rig[sr.PAR_EL1] & 0xF_FFFF_FFFF_F000 == (page if e2h else BIG_RAM_BASE)


SIZES = sorted({n + d for n in (0, 12, 16, 25, 28, 39, 47, 48) for d in (-1, 0, 1)} - {-1})
"""T0SZ at each limit of stage 1, and to either side."""
WORDS = st.binary(min_size=8, max_size=8).map(lambda data: int.from_bytes(data, "little"))
"""All 64 bits alike: of integers, hypothesis draws mostly small ones, and so the lower half."""


@settings(max_examples=300)
@given(
    t0sz=st.one_of(st.sampled_from(SIZES), st.integers(0, 63)),
    t1sz=st.one_of(st.sampled_from(SIZES), st.integers(0, 63)),
    tg0=st.integers(0, 3),
    tg1=st.integers(0, 3),
    rest=WORDS,
    va=WORDS,
    entries=st.lists(
        st.sampled_from((3, 3, 3, 1, 0, RAM_BASE | 3, HOLE | 3, STAGE1[1] | 3)),
        min_size=6,
        max_size=6,
    ),
    big_endian=st.booleans(),
)
def test_tables_are_followed_as_in_the_arm_arm(
    t0sz: int,
    t1sz: int,
    tg0: int,
    tg1: int,
    rest: int,
    va: int,
    entries: list[int],
    big_endian: bool,
) -> None:
    """Show for any TCR_EL1 which table stops the walk, in a few steps."""
    rig = fresh_rig()
    mask = 0x3F | 0x3F << 16 | 3 << 14 | 3 << 30
    tcr = rest & ~mask | t0sz | t1sz << 16 | tg0 << 14 | tg1 << 30
    rig[sr.TCR_EL1], rig[sr.SCTLR_EL1] = tcr, 1 | big_endian << 25
    rig[sr.TTBR0_EL1] = rig[sr.TTBR1_EL1] = STAGE1[0]
    known: dict[int, int] = {}

    def read(address: int) -> int:
        if address not in known:
            known[address] = entries[len(known)]
            raw = known[address].to_bytes(8, "big" if big_endian else "little")
            rig.store(address, int.from_bytes(raw, "little"))
        return known[address]

    def is_ram(address: int) -> bool:
        return RAM_BASE <= address < RAM_BASE + 0x8_0000

    expected = arm_walk.stage1_tables(read, is_ram, tcr, STAGE1[0], va)
    left = rig.run(stage1.reach_tables, rig.vcpu, va)
    if expected is None:
        assert left == stage1.ALL_REACHED
    else:
        assert (rig.vcpu.walk.fsc, 4 - left) == (FSC.SYNC_EXTERNAL, expected)


@needs_native
def test_a_table_that_leads_to_itself_has_an_end() -> None:
    """Show TG0=64K with T0SZ=48, which resolves nothing, and every other size, at their end."""
    rig = fresh_rig()
    rig[sr.TTBR0_EL1] = RAM_BASE
    for n in range(0x2000):
        rig.store(RAM_BASE + 8 * n, RAM_BASE | 3)
    for granule, tg0 in ((12, 0), (16, 1), (14, 2)):
        for t0sz in range(64):
            rig[sr.TCR_EL1] = t0sz | tg0 << 14
            reads: list[int] = []
            with patch.object(rig.sim, "load", counted(rig.sim.load, reads)):
                assert rig.prepare(stage1.reach_tables, rig.vcpu, 0) == stage1.ALL_REACHED
            assert len(reads) == max(0, -(-(64 - t0sz - granule) // (granule - 3)))


def counted(load: Callable[[int, int], int], reads: list[int]) -> Callable[[int, int], int]:
    """Note the address of each read."""

    def note(size: int, address: int) -> int:
        reads.append(address)
        return load(size, address)

    return note

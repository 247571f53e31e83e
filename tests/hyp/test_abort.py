"""Stage-2 faults of L2 that the shadow alone does not explain: each has an end."""

from __future__ import annotations

import pytest

from tests.hyp.rig import BIG_RAM_BASE, DEVICE_BASE, RAM_BASE, Op, Rig, fresh_rig
from tests.hyp.test_at import STAGE1, TCR_48
from tests.hyp.test_shadow import VM
from tests.hyp.test_trap import L2_PAGE, esr_of, l2_machine, page
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC
from vel2.hyp import trap
from vel2.hyp.abort import REFAULTS
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.lang import SimulatedAbort

S1PTW, WNR, F = 1 << 7, 1 << 6, 1
PTW, FWB = sr.HCR_EL2.PTW.mask, sr.HCR_EL2.FWB.mask
FAR = 0xFFFF_8000_0012_3456
OLD_PAR = 0x7777_0000


def with_memattr(leaf: int, memattr: int) -> int:
    """Change MemAttr of a leaf."""
    return leaf & ~0x3C | memattr << 2


def fault(rig: Rig, iss: int, ec: int = EC.DABT_LOWER) -> None:
    """Let hardware take a stage-2 fault to EL2."""
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, iss))


@pytest.mark.parametrize("hcr", [0, PTW, PTW | FWB])
@pytest.mark.parametrize("memattr", range(16))
def test_ptw_forbids_walks_in_what_l1_calls_device_memory(memattr: int, hcr: int) -> None:
    """Show who gets hardware's Permission fault of a walk, and with which status.

    The first fault on the table fills it in, whatever HCR_EL2.PTW says: hardware decides that.
    """
    device = memattr & (4 if hcr & FWB else 12) == 0
    for status in (FSC.PERMISSION, FSC.PERMISSION + 3):
        rig = l2_machine(with_memattr(page(BIG_RAM_BASE), memattr), VM | hcr)
        fault(rig, S1PTW | FSC.TRANSLATION + 3)
        assert rig.vcpu.context == CONTEXT_VEL1
        assert set(rig.leaves(rig.stage2_of(rig.vcpu.shadow))) == {L2_PAGE}
        fault(rig, S1PTW | status)
        if hcr & PTW and device:
            assert rig.vcpu.context == CONTEXT_VEL2
            assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, S1PTW | status)
            assert rig.vcpu.hpfar == L2_PAGE >> 8
        else:
            assert rig.vcpu.context == CONTEXT_VEL1


@pytest.mark.parametrize("status", [FSC.PERMISSION + 3, FSC.TRANSLATION + 3, FSC.ACCESS_FLAG + 3])
def test_a_fault_that_nothing_explains_has_an_end(status: int) -> None:
    """Show that L1 gets hardware's words after `REFAULTS` faults of one access, flushed between."""
    rig = l2_machine(page(BIG_RAM_BASE))
    fault(rig, S1PTW | FSC.TRANSLATION + 3)
    for _ in range(REFAULTS - 1):
        fault(rig, S1PTW | status)
        assert rig.vcpu.context == CONTEXT_VEL1
        assert [op.name for op in rig.instructions()] == ["TLBI VMALLS12E1IS"]
    fault(rig, S1PTW | status)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, S1PTW | status)
    assert rig.vcpu.hpfar == L2_PAGE >> 8


@pytest.mark.parametrize("what", ["pc", "far"])
def test_only_the_same_access_counts(what: str) -> None:
    """Show that another access begins anew."""
    rig = l2_machine(page(BIG_RAM_BASE))
    fault(rig, S1PTW | FSC.TRANSLATION + 3)
    for n in range(3 * REFAULTS):
        if what == "pc":
            rig.vcpu.pc = 0x1000 + 4 * n
        else:
            rig[sr.FAR_EL2] = FAR + 8 * (n & 15)
        fault(rig, S1PTW | FSC.PERMISSION + 3)
        assert rig.vcpu.context == CONTEXT_VEL1


@pytest.mark.parametrize("mode", [0b0000, 0b0101], ids=["EL0", "EL1"])
@pytest.mark.parametrize(
    ("ec", "iss", "leaf"),
    [
        (EC.IABT_LOWER, 0, page(BIG_RAM_BASE, xn=2)),
        (EC.DABT_LOWER, WNR, page(BIG_RAM_BASE, s2ap=1)),
        (EC.DABT_LOWER, 0, page(BIG_RAM_BASE, s2ap=2)),
    ],
)
def test_a_permission_fault_is_found_by_what_el1_may_read(
    ec: int, iss: int, leaf: int, mode: int
) -> None:
    """Show that a read by EL1 finds the IPA, which EL0 may be able to execute but not to read."""
    rig = l2_machine(leaf)
    rig.vcpu.pstate = mode
    rig[sr.HPFAR_EL2], rig[sr.PAR_EL1] = 0, OLD_PAR

    def translate(op: Op) -> int:
        return L2_PAGE if op.name == "AT S1E1R" else 1 << 11 | FSC.PERMISSION + 3 << 1 | F

    rig.sim.translate = translate
    fault(rig, iss | FSC.PERMISSION + 3, ec)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == esr_of(ec, iss | FSC.PERMISSION + 3)
    assert (rig.vcpu.hpfar, rig[sr.PAR_EL1]) == (L2_PAGE >> 8, OLD_PAR)


@pytest.mark.parametrize("answer", ["fault", "abort"])
def test_a_permission_fault_of_a_stale_translation_has_an_end(answer: str) -> None:
    """Show that the TLB is emptied when stage 1 no longer translates what it translated.

    When that does not help, L1 gets the fault with the address that hardware has given.
    """
    rig = l2_machine(page(BIG_RAM_BASE, s2ap=1))
    rig[sr.PAR_EL1] = OLD_PAR

    def translate(_: Op) -> int:
        if answer == "abort":
            raise SimulatedAbort
        return 1 << 11 | FSC.TRANSLATION + 3 << 1 | F

    rig.sim.translate = translate
    for _ in range(REFAULTS - 1):
        fault(rig, WNR | FSC.PERMISSION + 3)
        assert (rig.vcpu.context, rig.vcpu.pc) == (CONTEXT_VEL1, 0x1000)
        names = [op.name for op in rig.instructions()]
        assert names == ["AT S1E1R", "TLBI VMALLS12E1IS"]
        assert rig[sr.PAR_EL1] == OLD_PAR
    fault(rig, WNR | FSC.PERMISSION + 3)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, WNR | FSC.PERMISSION + 3)
    assert rig.vcpu.hpfar == L2_PAGE >> 8


def test_a_conflict_in_the_tlb_has_an_end() -> None:
    """Show that the TLB is emptied, and that L1 gets a conflict which that does not mend."""
    rig = l2_machine(page(BIG_RAM_BASE))
    for _ in range(REFAULTS - 1):
        fault(rig, FSC.TLB_CONFLICT)
        assert rig.vcpu.context == CONTEXT_VEL1
        assert [op.name for op in rig.instructions()] == ["TLBI VMALLS12E1IS"]
    fault(rig, FSC.TLB_CONFLICT)
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, FSC.TLB_CONFLICT)


@pytest.mark.parametrize("left", range(1, 5))
def test_a_walk_that_meets_nothing_says_where(left: int) -> None:
    """Show the level of an External abort on L1's own walk, which a stage-2 fault does not tell."""
    rig = fresh_rig()
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig[sr.FAR_EL2], rig[sr.TCR_EL1], rig[sr.TTBR0_EL1] = 0, TCR_48, STAGE1[0]
    rig[sr.SCTLR_EL1] = 1
    level = 4 - left
    if level == 0:
        rig[sr.TTBR0_EL1] = DEVICE_BASE
    for n in range(level):
        rig.store(STAGE1[n], (DEVICE_BASE if n == level - 1 else STAGE1[n + 1]) | 3)
    fault(rig, S1PTW | FSC.TRANSLATION + 2)
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_SAME, FSC.SYNC_EXTERNAL_WALK + level)


CODE = RAM_BASE + 0x3000
CVAP, CVADP, LDP = 0xD50B_7C25, 0xD50B_7D2A, 0xA940_0801


@pytest.mark.parametrize("offset", [0, 4])
@pytest.mark.parametrize("insn", [CVAP, CVADP, LDP])
@pytest.mark.parametrize("l2", [False, True], ids=["vEL2", "vEL1"])
def test_cleaning_to_persistence_is_known_by_the_instruction(
    l2: bool, insn: int, offset: int
) -> None:
    """Show that DC CVAP of a hole is skipped although the machine says that it reads."""
    rig = l2_machine(page(DEVICE_BASE - 0x1000)) if l2 else fresh_rig()
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000 + offset, 0b0101
    if l2:
        rig.store(RAM_BASE + 0x2000 + 8 * 5, page(CODE))
    rig.store(CODE, insn << 8 * offset)
    rig[sr.PAR_EL1] = OLD_PAR
    rig.sim.translate = lambda op: 0x5000 if l2 else CODE
    fault(rig, FSC.TRANSLATION + 3)
    if insn == LDP:
        assert rig[sr.ESR_EL1] == esr_of(EC.DABT_SAME, FSC.SYNC_EXTERNAL)
    else:
        assert rig.vcpu.pc == 0x1004 + offset
    assert rig[sr.PAR_EL1] == OLD_PAR


def test_a_walk_in_which_we_find_nothing_wrong_has_an_end() -> None:
    """Show an External abort in the end, when hardware insists on a fault of the canonical map."""
    rig = fresh_rig()
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig[sr.TCR_EL1], rig[sr.TTBR0_EL1], rig[sr.FAR_EL2] = TCR_48, RAM_BASE, 0
    rig[sr.ESR_EL1] = 0
    for _ in range(REFAULTS - 1):
        fault(rig, S1PTW | FSC.TRANSLATION + 2)
        assert rig[sr.ESR_EL1] == 0
    fault(rig, S1PTW | FSC.TRANSLATION + 2)
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_SAME, FSC.SYNC_EXTERNAL_WALK + 3)

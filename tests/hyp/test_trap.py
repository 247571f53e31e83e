"""Trap dispatch, outcomes, and aborts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import (
    BIG_RAM_BASE,
    DEVICE_BASE,
    RAM_BASE,
    RAM_BYTES,
    Rig,
    fresh_rig,
)
from tests.hyp.test_shadow import VM, Key, select
from tests.hyp.test_walk import vtcr_of
from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.esr import EC, FSC, ESR_ELx
from vel2.hyp import context, trap
from vel2.hyp.homes import in_memory
from vel2.hyp.outcome import Fatal, Stop
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2

VBAR_VEL2, VBAR_VEL1 = 0x9_0000, 0xA_0000
HCD = sr.HCR_EL2.HCD.mask
UNDEF = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)


def esr_of(ec: int, iss: int = 0) -> int:
    """Compose a syndrome."""
    return ec << 26 | 1 << 25 | iss


def machine(l2: bool, hcr: int = 0) -> Rig:
    """Give a vCPU in one of the contexts, with recognisable vectors."""
    rig = fresh_rig()
    rig[sr.VBAR_EL1] = VBAR_VEL2
    rig.set_slot(sr.VBAR_EL1, VBAR_VEL1)
    if l2:
        rig.prepare(context.enter_vel1, rig.vcpu)
    rig.set_slot(sr.HCR_EL2, hcr)
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    return rig


FROM_EL2_ITSELF = {
    EC.IABT_SAME, EC.BREAKPOINT_SAME, EC.SOFTSTEP_SAME, EC.WATCHPOINT_SAME, EC.SERROR,
}  # fmt: skip
"""Classes that the vector for synchronous exceptions of a lower EL never sees."""


def test_the_table_has_every_class_in_order() -> None:
    """Show that each of the 64 exception classes has one row, at its own place."""
    assert [row.ec for row in trap.DISPATCH] == list(range(64))
    assert all(callable(row.vel2) and callable(row.vel1) for row in trap.DISPATCH)
    assert set(trap.HANDLED) == set(EC) - FROM_EL2_ITSELF


@pytest.mark.parametrize("mode", [0b0000, 0b0101, 0x1D0], ids=["EL0", "EL1", "AArch32"])
@pytest.mark.parametrize("l2", [False, True], ids=["vEL2", "vEL1"])
@pytest.mark.parametrize("ec", range(64))
def test_no_class_stops_l0(ec: int, l2: bool, mode: int) -> None:
    """Show that every class, allocated or not, has an answer for the guest, whatever its syndrome.

    An exception is taken by vEL2 or by the EL1 that runs, at a vector of its own; or the
    instruction is done.
    """
    for iss in (0x155_5555, 0x0AA_AAAA):
        rig = l2_machine(page(BIG_RAM_BASE)) if l2 else machine(False)
        rig.vcpu.pstate = mode
        rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, iss))
        assert (rig.vm.post_mortem.fatal_code, rig.vm.post_mortem.stop_reason) == (
            Fatal.NONE,
            Stop.RUNNING,
        )
        counted = rig.vcpu.counters.by_ec[(CONTEXT_VEL1 if l2 else CONTEXT_VEL2) * 64 + ec]
        assert counted == 1
        base = rig.vcpu.pc & ~0x7FF
        assert base in (VBAR_VEL2, VBAR_VEL1 if l2 else VBAR_VEL2) or ec in RESUMES
        if base in (VBAR_VEL2, VBAR_VEL1):
            assert rig.vcpu.pc & 0x7FF in (0x200, 0x400, 0x600)
            assert rig.vcpu.pstate & 0x1F == 0b0101


RESUMES = (EC.WFX, EC.SMC64, EC.SYS64, EC.ERET, EC.IABT_LOWER, EC.DABT_LOWER)
"""Classes that L0 may also answer by letting the guest run on."""


@pytest.mark.parametrize("l2", [False, True], ids=["vEL2", "vEL1"])
@pytest.mark.parametrize(
    "ec", [EC.BTI, EC.ILLEGAL_STATE, EC.FPAC, EC.PC_ALIGN, EC.SP_ALIGN, EC.FP_EXC64]
)
def test_what_is_el1s_own_is_given_to_it(ec: EC, l2: bool) -> None:
    """Show that the EL1 that runs gets hardware's syndrome, and the address with PC_ALIGN."""
    rig = machine(l2)
    rig[sr.FAR_EL2] = 0x2222
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, 0x3))
    assert rig[sr.ESR_EL1] == esr_of(ec, 0x3)
    assert rig.vcpu.pc == (VBAR_VEL1 if l2 else VBAR_VEL2) + 0x200
    assert rig[sr.FAR_EL1] == (0x2222 if ec == EC.PC_ALIGN else 0)


@pytest.mark.parametrize(
    "ec", [EC.WFX, EC.FP_ASIMD, EC.PAC, EC.HVC64, EC.BREAKPOINT_LOWER, EC.SOFTSTEP_LOWER, EC.BRK64]
)
def test_what_l1s_controls_cause_is_l1s(ec: EC) -> None:
    """Show that such traps of L2 are forwarded with hardware's syndrome, PC as hardware left it."""
    rig = machine(True)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, 0x123))
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400
    assert (rig[sr.ESR_EL1], rig[sr.ELR_EL1]) == (esr_of(ec, 0x123), 0x1000)
    assert rig.vcpu.counters.forwarded == 1


@pytest.mark.parametrize("ec", [EC.WATCHPOINT_LOWER, EC.BREAKPOINT_LOWER, EC.BKPT32, EC.BRK64])
def test_what_has_an_address_is_forwarded_with_it(ec: EC) -> None:
    """Show that L1 finds in FAR_EL2 what hardware put there, as for a watchpoint it must."""
    rig = machine(True)
    rig[sr.FAR_EL2], rig[sr.FAR_EL1] = 0xFFFF_0000_1234_5678, 0x1111
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, 0x22))
    assert rig.vcpu.context == CONTEXT_VEL2
    assert (rig[sr.ESR_EL1], rig[sr.FAR_EL1]) == (esr_of(ec, 0x22), 0xFFFF_0000_1234_5678)
    assert rig.slot(sr.FAR_EL1) == 0x1111, "L2's own is kept"


@pytest.mark.parametrize("l2", [False, True], ids=["vEL2", "vEL1"])
@pytest.mark.parametrize("ec", [EC.SVE, EC.SME, EC.UNKNOWN])
def test_a_hidden_feature_is_undefined(ec: EC, l2: bool) -> None:
    """Show that an instruction of a hidden feature is UNDEFINED at the EL that used it."""
    rig = machine(l2)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec))
    assert rig[sr.ESR_EL1] == UNDEF
    assert rig.vcpu.pc == (VBAR_VEL1 if l2 else VBAR_VEL2) + 0x200
    assert rig.vcpu.context == (CONTEXT_VEL1 if l2 else CONTEXT_VEL2)


def test_hvc_of_vel2_is_taken_to_vel2_unless_disabled() -> None:
    """Show HVC at vEL2: ELR behind it; with HCR_EL2.HCD it is UNDEFINED, ELR on it."""
    rig = machine(False)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.HVC64, 5))
    assert (rig[sr.ESR_EL1], rig[sr.ELR_EL1]) == (esr_of(EC.HVC64, 5), 0x1000)
    assert rig.vcpu.pc == VBAR_VEL2 + 0x200
    rig = machine(False, HCD)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.HVC64, 5))
    assert (rig[sr.ESR_EL1], rig[sr.ELR_EL1]) == (UNDEF, 0x1000 - 4)


@settings(max_examples=40)
@given(flags=st.integers(0, (1 << 32) - 1))
def test_a_skipped_instruction_uses_up_its_pstate(flags: int) -> None:
    """Show that only PC and BTYPE change when an instruction was emulated, of no stepped guest."""
    rig = machine(False)
    flags &= ~(1 << 21)
    rig.vcpu.pstate = flags
    read_tcr = esr_of(EC.SYS64, 3 << 20 | 2 << 17 | 4 << 14 | 2 << 10 | 5 << 5 | 1)
    rig.run(trap.handle_sync, rig.vcpu, read_tcr)
    assert rig.vcpu.pc == 0x1004
    assert rig.vcpu.pstate == flags & ~(3 << 10)


TGE, TDE = sr.HCR_EL2.TGE.mask, sr.MDCR_EL2.TDE.mask
READ_ID = esr_of(EC.SYS64, 3 << 20 | 5 << 5 | 7 << 1 | 1)
"""Of ID_AA64MMFR0_EL1."""
STEPPED = 1 << 24 | 0x22
EL0T, EL1H = 0b0000, 0b0101


@pytest.mark.parametrize(
    ("l2", "mode", "mdcr", "hcr", "to_vel2", "ec"),
    [
        (False, EL1H, TDE, 0, True, EC.SOFTSTEP_SAME),
        (False, EL0T, 0, TGE, True, EC.SOFTSTEP_LOWER),
        (True, EL1H, TDE, 0, True, EC.SOFTSTEP_LOWER),
        (True, EL0T, TDE, 0, True, EC.SOFTSTEP_LOWER),
        (True, EL1H, 0, TGE, True, EC.SOFTSTEP_LOWER),
        (True, EL1H, 0, 0, False, EC.SOFTSTEP_SAME),
        (True, EL0T, 0, 0, False, EC.SOFTSTEP_LOWER),
    ],
)
def test_an_emulated_instruction_of_a_stepped_guest_has_been_stepped(
    l2: bool, mode: int, mdcr: int, hcr: int, to_vel2: bool, ec: EC
) -> None:
    """Show the Software Step exception behind it, at the EL that debug exceptions go to."""
    rig = machine(l2, hcr)
    rig.vcpu.vel2.memory[in_memory(sr.MDCR_EL2)] = mdcr
    rig.vcpu.pstate = mode | 1 << 21
    rig.run(trap.handle_sync, rig.vcpu, READ_ID)
    assert rig.vcpu.context == (CONTEXT_VEL2 if to_vel2 else CONTEXT_VEL1)
    same = ec == EC.SOFTSTEP_SAME
    assert rig.vcpu.pc == (VBAR_VEL2 if to_vel2 else VBAR_VEL1) + (0x200 if same else 0x400)
    assert (rig[sr.ESR_EL1], rig[sr.ELR_EL1]) == (esr_of(ec, STEPPED), 0x1004)
    assert not rig.vcpu.pstate & 1 << 21
    assert not rig[sr.SPSR_EL1] & 1 << 21


@pytest.mark.parametrize("mode", [0b0000, 0b0101])
@pytest.mark.parametrize(
    ("ec", "iss", "kept"),
    [
        (EC.DABT_LOWER, 0x07, 0),
        (EC.DABT_LOWER, 0x47, 0x40),
        (EC.IABT_LOWER, 0x06, 0),
    ],
)
def test_a_hole_in_l1s_memory_map_is_an_external_abort(
    ec: EC, iss: int, kept: int, mode: int
) -> None:
    """Show what L1 gets when it touches nothing: FSC 0x10 at its own EL's vector, with FAR."""
    rig = machine(False, sr.HCR_EL2.TGE.mask)
    rig.vcpu.pstate = mode
    rig[sr.FAR_EL2] = 0xFFFF_0000_DEAD_BEEF
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, iss))
    same = 0 if mode == 0 else 1
    assert rig[sr.ESR_EL1] == esr_of(ec + same, FSC.SYNC_EXTERNAL | kept)
    assert rig[sr.FAR_EL1] == 0xFFFF_0000_DEAD_BEEF
    assert rig.vcpu.pc == VBAR_VEL2 + (0x200 if same else 0x400)


@pytest.mark.parametrize("ec", [EC.DABT_LOWER, EC.IABT_LOWER])
def test_cache_maintenance_of_a_hole_does_nothing(ec: EC) -> None:
    """Show that it is skipped, and what the same bit means of a walk, and of a fetch."""
    rig = machine(False)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, 0x147))
    if ec == EC.DABT_LOWER:
        assert (rig.vcpu.pc, rig.vcpu.pstate) == (0x1004, 0b0101)
    else:
        assert rig[sr.ESR_EL1] == esr_of(EC.IABT_SAME, FSC.SYNC_EXTERNAL)


L2_PAGE = 0x12_3000
TABLES = tuple(RAM_BASE + 0x1000 * n for n in range(3))


def l2_machine(leaf: int, hcr: int = VM) -> Rig:
    """Give a rig running L2 whose stage 2 maps `L2_PAGE` by one leaf at level 3."""
    rig = machine(False)
    rig.store(TABLES[0], TABLES[1] | 3)
    rig.store(TABLES[1], TABLES[2] | 3)
    rig.store(TABLES[2] + (L2_PAGE >> 12) * 8, leaf)
    rig.prepare(context.enter_vel1, rig.vcpu)
    select(rig, Key(hcr, 1 << 48 | TABLES[0], vtcr_of(0, 1, 39)))
    rig.set_slot(sr.HCR_EL2, hcr)
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig[sr.HPFAR_EL2] = L2_PAGE >> 8
    rig[sr.FAR_EL2] = 0xFFFF_8000_0012_3456
    return rig


def page(output: int, s2ap: int = 3, xn: int = 0, af: int = 1) -> int:
    """Make a level-3 leaf of L1."""
    return output | xn << 53 | af << 10 | 3 << 8 | s2ap << 6 | 0xF << 2 | 3


def test_a_fault_that_is_l0s_is_filled() -> None:
    """Show that L2's first access to what L1 maps runs on, and is in the shadow afterwards."""
    rig = l2_machine(page(BIG_RAM_BASE))
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.DABT_LOWER, FSC.TRANSLATION + 2))
    assert (rig.vcpu.context, rig.vcpu.pc) == (CONTEXT_VEL1, 0x1000)
    ((ipa, (level, leaf)),) = rig.leaves(rig.stage2_of(rig.vcpu.shadow)).items()
    assert (ipa, level, leaf & 0xFFFF_FFFF_F000) == (L2_PAGE, 3, BIG_RAM_BASE)
    assert Stage2Leaf.S2AP.get(leaf) == 3


WRITE, S1PTW, CM = 1 << 6, 1 << 7, 1 << 8
FETCH = -1
ACCESSES = {"read": 0, "write": WRITE, "clean": CM | WRITE, "walk": S1PTW, "fetch": FETCH}
NEEDS = {"read": 1, "write": 2, "clean": 1, "walk": 1, "fetch": 0}


@pytest.mark.parametrize("mode", [0b0000, 0b0101], ids=["EL0", "EL1"])
@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("s2ap", range(4))
@pytest.mark.parametrize("xn", range(4))
def test_l1s_permissions_decide_whose_fault_it_is(xn: int, s2ap: int, kind: str, mode: int) -> None:
    """Show for all leaves and accesses: what L1 allows is filled, what it forbids is forwarded."""
    rig = l2_machine(page(BIG_RAM_BASE, s2ap, xn))
    rig.vcpu.pstate = mode
    iss = FSC.TRANSLATION + 3
    ec = EC.DABT_LOWER
    if kind == "fetch":
        ec = EC.IABT_LOWER
        allowed = xn in ((0, 1) if mode == 0 else (0, 3))
    else:
        iss |= ACCESSES[kind]
        allowed = s2ap & NEEDS[kind] == NEEDS[kind]
    rig.run(trap.handle_sync, rig.vcpu, esr_of(ec, iss))
    filled = bool(rig.leaves(rig.stage2_of(rig.vcpu.shadow)))
    assert filled == allowed
    if not allowed:
        assert rig.vcpu.context == CONTEXT_VEL2
        assert rig[sr.ESR_EL1] == esr_of(ec, iss & ~0x3F | FSC.PERMISSION + 3)
        assert rig[sr.FAR_EL1] == 0xFFFF_8000_0012_3456
        assert rig.vcpu.hpfar == L2_PAGE >> 8


@pytest.mark.parametrize("s2ap", range(4))
def test_a_walk_of_l2_that_may_not_read_is_not_retried_forever(s2ap: int) -> None:
    """Show a permission fault on a stage-1 walk: forwarded unless L1 allows reading and writing."""
    rig = l2_machine(page(BIG_RAM_BASE, s2ap))
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.DABT_LOWER, S1PTW | FSC.PERMISSION + 3))
    assert rig.vcpu.context == (CONTEXT_VEL1 if s2ap == 3 else CONTEXT_VEL2)


@pytest.mark.parametrize(
    ("leaf", "fsc"),
    [
        (0, FSC.TRANSLATION + 3),
        (page(BIG_RAM_BASE, af=0), FSC.ACCESS_FLAG + 3),
        (BIG_RAM_BASE | 1, FSC.TRANSLATION + 3),
    ],
)
def test_a_fault_of_l1s_tables_is_forwarded(leaf: int, fsc: int) -> None:
    """Show that L1 gets the fault code and level of its own tables, the VA and the L2 IPA."""
    rig = l2_machine(leaf)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.DABT_LOWER, WRITE | FSC.TRANSLATION))
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, WRITE | fsc)
    assert rig[sr.FAR_EL1] == 0xFFFF_8000_0012_3456
    assert rig.vcpu.hpfar == L2_PAGE >> 8
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400


def test_an_address_size_fault_at_level_0_is_forwarded() -> None:
    """Show that FSC 0, a VTTBR_EL2 beyond VTCR_EL2.PS, is a fault like others."""
    rig = l2_machine(page(BIG_RAM_BASE))
    rig.stage2_of(rig.vcpu.shadow).guest_vttbr = 1 << 40
    rig.stage2_of(rig.vcpu.shadow).guest_vtcr = vtcr_of(0, 1, 39, ps=0)
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.DABT_LOWER, FSC.TRANSLATION + 1))
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, 0)


@pytest.mark.parametrize("tea", [False, True])
@pytest.mark.parametrize("output", [RAM_BASE + RAM_BYTES, RAM_BASE - 0x1000, DEVICE_BASE - 0x1000])
def test_what_l1_maps_onto_nothing_is_an_external_abort(output: int, tea: bool) -> None:
    """Show that a leaf onto a hole or L0 fills nothing; HCR_EL2.TEA says who gets the abort."""
    rig = l2_machine(page(output), VM | (sr.HCR_EL2.TEA.mask if tea else 0))
    rig.run(trap.handle_sync, rig.vcpu, esr_of(EC.DABT_LOWER, FSC.TRANSLATION + 3))
    assert not rig.leaves(rig.stage2_of(rig.vcpu.shadow))
    if tea:
        assert rig.vcpu.context == CONTEXT_VEL2
        assert rig[sr.ESR_EL1] == esr_of(EC.DABT_LOWER, FSC.SYNC_EXTERNAL)
    else:
        assert rig.vcpu.context == CONTEXT_VEL1
        assert rig[sr.ESR_EL1] == esr_of(EC.DABT_SAME, FSC.SYNC_EXTERNAL)
        assert rig.vcpu.pc == VBAR_VEL1 + 0x200

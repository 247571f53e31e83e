"""Changing between vEL2 and vEL1: nothing of either is lost, and what runs is what L1 asked for."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.draw import WORDS
from tests.hyp.rig import Rig, every_kind, fresh_rig, rig_of
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, trap
from vel2.hyp.homes import SWITCHED
from vel2.hyp.state import (
    CONTEXT_VEL1,
    CONTEXT_VEL2,
    SLOW_MAINTENANCE,
    SLOW_PTIMER,
    SLOW_VEL1,
    SLOW_VTIMER,
)

FILES = st.lists(WORDS, min_size=len(SWITCHED), max_size=len(SWITCHED))
VTIMER = (sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0)
PTIMER = (sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0)
CNTHCTL_VEL2 = sr.CNTHCTL_EL2.compose(EL1PCTEN=1, EL1TVT=1)
ICH_TRAPS = sr.ICH_HCR_EL2.compose(TC=1, TALL0=1, TALL1=1, TSEI=1, TDIR=1)
"""They act on every access from EL1, vEL2's own too."""
OFFSET = 0x5000
LRS = tuple(sr.by_name(f"ICH_LR{n}_EL2") for n in range(16))
ERET = ESR_ELx.compose(EC=EC.ERET, IL=1)
EL2H = 9


def put_hardware(rig: Rig, values: list[int]) -> None:
    """Give hardware's EL1 registers values."""
    for row, value in zip(SWITCHED, values, strict=True):
        rig[row.hardware] = value


def hardware(rig: Rig) -> list[int]:
    """Read hardware's EL1 registers."""
    return [rig[row.hardware] for row in SWITCHED]


def put_vel1(rig: Rig, values: list[int]) -> None:
    """Give vEL1's registers values, where L1 does: in the VNCR page if they have a slot."""
    for row, value in zip(SWITCHED, values, strict=True):
        if row.hardware.vncr is None:
            rig.vcpu.vel1.el1[row.index] = value
        else:
            rig.set_slot(row.hardware, value)


def vel1(rig: Rig) -> list[int]:
    """Read vEL1's registers, where L1 does."""
    return [
        rig.vcpu.vel1.el1[row.index] if row.hardware.vncr is None else rig.slot(row.hardware)
        for row in SWITCHED
    ]


@settings(max_examples=20)
@given(first_vel2=FILES, first_vel1=FILES, second_vel1=FILES, second_vel2=FILES)
def test_a_round_trip_keeps_every_switched_register(
    first_vel2: list[int], first_vel1: list[int], second_vel1: list[int], second_vel2: list[int]
) -> None:
    """Show vEL2 to vEL1 to vEL2 to vEL1 with random files: each finds its own, as it left it."""
    rig = fresh_rig()
    put_hardware(rig, first_vel2)
    put_vel1(rig, first_vel1)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig.vcpu.context == CONTEXT_VEL1
    assert hardware(rig) == first_vel1
    put_hardware(rig, second_vel1)
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert hardware(rig) == first_vel2
    assert vel1(rig) == second_vel1
    put_hardware(rig, second_vel2)
    rig.run(context.enter_vel1, rig.vcpu)
    assert hardware(rig) == second_vel1
    rig.run(context.enter_vel2, rig.vcpu)
    assert hardware(rig) == second_vel2


def test_every_vel1_register_with_a_slot_is_switched_or_accounted_for() -> None:
    """Show that no register whose _EL12 name goes to the VNCR page is forgotten by the switch."""
    paired = {
        register.name
        for register in sr.ALL_REGISTERS
        if register.vncr_class == "P" and register.alias_of is None
    }
    hidden = {  # features that `idregs` hides
        *("ZCR_EL1", "SMCR_EL1", "TFSR_EL1", "MAIR2_EL1", "AMAIR2_EL1"),
        *("PIRE0_EL1", "PIR_EL1", "POR_EL1", "PMSCR_EL1", "TRFCR_EL1", "MPAM1_EL1", "BRBCR_EL1"),
        *("GCSCR_EL1", "GCSPR_EL1", "PFAR_EL1", "SPMACCESSR_EL1", "MPAMCTL_EL1", "MPAM_EL1"),
    }
    timers = {register.name for register in (*VTIMER, *PTIMER)}
    switched = {row.hardware.name for row in SWITCHED}
    assert paired - hidden - timers - switched <= {"SCXTNUM_EL1"}


@settings(max_examples=30)
@given(before=WORDS, wanted=WORDS, after=WORDS)
def test_mdscr_follows_the_page_and_comes_back(before: int, wanted: int, after: int) -> None:
    """Show that L1's unseen store to MDSCR_EL1 reaches hardware, and L2's write the page."""
    rig = fresh_rig()
    rig[sr.MDSCR_EL1] = rig.vcpu.pcpu.mdscr = before
    rig.set_slot(sr.MDSCR_EL1, wanted)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[sr.MDSCR_EL1] == rig.vcpu.pcpu.mdscr == wanted
    rig[sr.MDSCR_EL1] = after
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.slot(sr.MDSCR_EL1) == rig.vcpu.pcpu.mdscr == rig[sr.MDSCR_EL1] == after


@settings(max_examples=20)
@given(values=st.lists(WORDS, min_size=6, max_size=6))
def test_identity_and_counter_offset_are_per_context(values: list[int]) -> None:
    """Show VPIDR, VMPIDR and CNTVOFF: L1's for L2, the machine's and none for L1."""
    rig = fresh_rig()
    rig[sr.MIDR_EL1], rig[sr.MPIDR_EL1] = values[0], values[1]
    for register, value in zip(
        (sr.VPIDR_EL2, sr.VMPIDR_EL2, sr.CNTVOFF_EL2), values[2:], strict=False
    ):
        rig.set_slot(register, value)
    rig.run(context.enter_vel1, rig.vcpu)
    assert [rig[r] for r in (sr.VPIDR_EL2, sr.VMPIDR_EL2, sr.CNTVOFF_EL2)] == values[2:5]
    rig.run(context.enter_vel2, rig.vcpu)
    assert [rig[r] for r in (sr.VPIDR_EL2, sr.VMPIDR_EL2)] == values[:2]
    assert rig[sr.CNTVOFF_EL2] == 0
    assert rig[sr.VTTBR_EL2] == rig.vm.stage2.canonical.vttbr


@pytest.mark.parametrize(("vtimer", "ptimer"), list(product(range(8), range(8))))
def test_timers_at_an_exit(vtimer: int, ptimer: int) -> None:
    """Show for all CTL values that the page gets the timer, and what becomes of hardware's.

    One that has fired stays asserted, one that is to come runs on and its accesses trap, another
    is off.
    """
    rig = fresh_rig()
    for register in (*VTIMER, *PTIMER):
        rig.set_slot(register, 0x1000 + register.trap_key)
    rig.run(context.enter_vel1, rig.vcpu)
    for register in (*VTIMER, *PTIMER):
        assert rig[register] == 0x1000 + register.trap_key
    rig.set_slot(sr.CNTVOFF_EL2, OFFSET)
    rig[VTIMER[0]], rig[VTIMER[1]] = vtimer, 0x111
    rig[PTIMER[0]], rig[PTIMER[1]] = ptimer, 0x222
    rig.run(context.enter_vel2, rig.vcpu)
    assert [rig.slot(r) for r in (*VTIMER, *PTIMER)] == [vtimer, 0x111, ptimer, 0x222]
    flags, traps = 0, CNTHCTL_VEL2
    for ctl, registers, flag, trap_bit, runs_to in (
        (vtimer, VTIMER, SLOW_VTIMER, sr.CNTHCTL_EL2.EL1NVVCT, 0x111 + OFFSET),
        (ptimer, PTIMER, SLOW_PTIMER, sr.CNTHCTL_EL2.EL1NVPCT, 0x222),
    ):
        if ctl == 0b101:
            flags |= flag
            assert rig[registers[0]] & 0b11 == 0b01
        elif ctl == 0b001:
            traps |= trap_bit.mask
            assert rig[registers[0]] & 0b11 == 0b01
            assert rig[registers[1]] == runs_to
        else:
            assert rig[registers[0]] & 0b01 == 0
    assert rig.vcpu.slow_eret == flags
    assert rig[sr.CNTHCTL_EL2] == traps
    if flags & SLOW_VTIMER:
        assert rig[VTIMER[1]] == 0, "with another virtual offset the interrupt could go away"
    rig.run(context.enter_vel1, rig.vcpu)
    assert [rig[r] for r in (*VTIMER, *PTIMER)] == [vtimer, 0x111, ptimer, 0x222]
    assert rig.vcpu.slow_eret == SLOW_VEL1


def eret_inside_vel2(rig: Rig) -> None:
    """Return from one vEL2 handler to other code of vEL2."""
    rig[sr.SPSR_EL1] = EL2H
    rig[sr.ELR_EL1] = 0x8000
    rig.run(trap.handle_sync, rig.vcpu, ERET)
    assert rig.vcpu.pc == 0x8000


@pytest.mark.parametrize("written", range(8))
@pytest.mark.parametrize(
    ("registers", "flag"), [(VTIMER, SLOW_VTIMER), (PTIMER, SLOW_PTIMER)], ids=["CNTV", "CNTP"]
)
def test_an_asserted_timer_obeys_the_page_at_the_next_eret(
    registers: tuple[type[Register], type[Register]], flag: int, written: int
) -> None:
    """Show that L1's masking or stopping of a live timer takes effect, and nothing else does."""
    rig = fresh_rig()
    rig.run(context.enter_vel1, rig.vcpu)
    rig[registers[0]] = 0b101
    rig.run(context.enter_vel2, rig.vcpu)
    rig.set_slot(registers[0], written)
    eret_inside_vel2(rig)
    if written & 0b11 == 0b01:
        assert rig[registers[0]] == 0b101 and rig.vcpu.slow_eret == flag
    else:
        assert rig[registers[0]] == 0 and rig.vcpu.slow_eret == 0
    # With the timer's time come, ISTATUS of an enabled one is 1, whatever was written.
    assert rig.slot(registers[0]) & 0b11 == written & 0b11


def interface(count: int, priorities: int) -> list[type[Register]]:
    """List the ICH_* registers that hold state."""
    names = [f"ICH_AP{group}R{n}_EL2" for group in (0, 1) for n in range(priorities)]
    return [sr.ICH_VMCR_EL2, *LRS[:count], *map(sr.by_name, names)]


@settings(max_examples=30)
@given(
    count=st.integers(1, 16),
    priorities=st.sampled_from((1, 2, 4)),
    hcr=st.builds(lambda en, traps: en | traps & ICH_TRAPS, st.integers(0, 1), WORDS),
    misr=st.sampled_from((0, 0, 1, 0x80)),
    words=st.lists(st.integers(1, (1 << 64) - 1), min_size=60, max_size=60),
)
def test_the_virtual_interface_moves_with_vel1(
    count: int, priorities: int, hcr: int, misr: int, words: list[int]
) -> None:
    """Show that every ICH_* register that exists, and no other, goes there and back."""
    rig = fresh_rig()
    rig.vm.probed.list_registers, rig.vm.probed.active_priorities = count, priorities
    live = interface(count, priorities)
    absent = [register for register in interface(16, 4) if register not in live]
    values = iter(words)
    loaded = {register: next(values) for register in live}
    for register, value in loaded.items():
        rig.set_slot(register, value)
    rig.set_slot(sr.ICH_HCR_EL2, hcr)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(IMO=1))
    rig.run(context.enter_vel1, rig.vcpu)
    assert {register: rig[register] for register in live} == loaded
    assert rig[sr.ICH_HCR_EL2] == hcr
    changed = {register: next(values) for register in live}
    for register, value in changed.items():
        rig[register] = value
    rig[sr.ICH_MISR_EL2] = misr
    rig.run(context.enter_vel2, rig.vcpu)
    assert {register: rig.slot(register) for register in live} == changed
    assert not any(rig[register] or rig.slot(register) for register in absent)
    pending = hcr & 1 and misr
    assert rig.vcpu.slow_eret == (SLOW_MAINTENANCE if pending else 0)
    live_traps = sr.ICH_HCR_EL2.TALL1.mask
    assert rig[sr.ICH_HCR_EL2] == (1 | live_traps if pending else 0), "no trap of the guest's"
    assert rig.slot(sr.ICH_HCR_EL2) == hcr


@pytest.mark.parametrize("still", [False, True])
def test_a_pending_maintenance_interrupt_follows_the_page(still: bool) -> None:
    """Show that L1's edits reach the live interface at an ERET until the interrupt is gone."""
    rig = fresh_rig()
    rig.set_slot(sr.ICH_HCR_EL2, sr.ICH_HCR_EL2.compose(En=1, UIE=1))
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(FMO=1))
    rig.run(context.enter_vel1, rig.vcpu)
    rig[sr.ICH_MISR_EL2] = sr.ICH_MISR_EL2.U.mask
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.vcpu.slow_eret == SLOW_MAINTENANCE
    live_hcr = sr.ICH_HCR_EL2.compose(En=1, NPIE=1)
    new_hcr = live_hcr | ICH_TRAPS
    rig.set_slot(LRS[0], 0x77)
    rig.set_slot(sr.ICH_VMCR_EL2, 0x88)
    rig.set_slot(sr.ICH_HCR_EL2, new_hcr)
    rig[sr.ICH_MISR_EL2] = sr.ICH_MISR_EL2.NP.mask if still else 0
    eret_inside_vel2(rig)
    assert rig[LRS[0]] == 0x77 and rig[sr.ICH_VMCR_EL2] == 0x88
    live_traps = sr.ICH_HCR_EL2.TALL1.mask
    assert rig[sr.ICH_HCR_EL2] == (live_hcr | live_traps if still else 0)
    assert rig.vcpu.slow_eret == (SLOW_MAINTENANCE if still else 0)


def test_what_makes_no_interrupt_is_not_left_live_for_a_host() -> None:
    """Show that ICH_HCR_EL2.En=0 ends it: the trap bits of a live interface are L0's alone.

    An nVHE host's own kernel has no virtual interface and runs at vEL1: what is live goes on. At
    its next exit the page would get L0's bits as L1's.
    """
    rig = fresh_rig()
    rig.set_slot(sr.ICH_HCR_EL2, 1)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(IMO=1))
    rig.run(context.enter_vel1, rig.vcpu)
    rig[sr.ICH_MISR_EL2] = sr.ICH_MISR_EL2.EOI.mask
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.vcpu.slow_eret == SLOW_MAINTENANCE
    rig.set_slot(sr.ICH_HCR_EL2, 0)
    rig.set_slot(sr.HCR_EL2, 0)
    rig.run(context.enter_vel1, rig.vcpu)
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.slot(sr.ICH_HCR_EL2) == 0
    assert rig[sr.ICH_HCR_EL2] == 0 and rig.vcpu.slow_eret == 0


@every_kind
@pytest.mark.parametrize("same", [False, True])
def test_a_costly_register_is_written_only_when_it_changes(kind: str, same: bool) -> None:
    """Show that SCTLR_EL1 and TCR_EL1, whose writes flush translations, are spared equal values.

    Every other register that is switched is written each time: to look would cost more.
    """
    rig = rig_of(kind)
    put_hardware(rig, [0x1000 + row.index for row in SWITCHED])
    put_vel1(rig, [(0x1000 if same else 0x2000) + row.index for row in SWITCHED])
    rig.run(context.enter_vel1, rig.vcpu)
    written = [
        row.hardware for row in SWITCHED for key in rig.sim.written if key == row.hardware.trap_key
    ]
    moves = {row.hardware for row in SWITCHED if row.vncr_slot >= 0 or rig.vcpu.e2h}
    costly = {sr.SCTLR_EL1, sr.TCR_EL1}
    assert set(written) == (moves - costly if same else moves)
    assert len(written) == len(set(written)), "once is enough"
    assert hardware(rig)[1:3] == vel1(rig)[1:3]

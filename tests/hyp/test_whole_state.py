"""All of hardware's registers at each change of who runs, for each kind of guest.

A test that looks at the registers it thinks of cannot see one that nobody thought of. Here every
register that `vel2.arch` knows has a value of its own, the change is made, and all are looked at
again: those that were to change have, to what they were to, and no other has.
"""

from __future__ import annotations

import random

import pytest

from tests.hyp.rig import KINDS, Rig, every_kind, rig_of
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, exception, finegrained, shadow, trap
from vel2.hyp.homes import SWITCHED
from vel2.hyp.records import IRQ
from vel2.hyp.state import LEVEL_NV

ALL = (1 << 64) - 1
REGISTERS = tuple({register.trap_key: register for register in sr.ALL_REGISTERS}.values())
LIST_REGISTERS = tuple(sr.by_name(f"ICH_LR{n}_EL2") for n in range(4))
INTERFACE = (sr.ICH_AP0R0_EL2, sr.ICH_AP1R0_EL2, sr.ICH_VMCR_EL2, *LIST_REGISTERS)
"""What the rig's machine has: four list registers, one of each active priorities register."""
TIMERS = (sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0, sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0)
CONTROLS = (sr.HCR_EL2, sr.CPTR_EL2, sr.MDCR_EL2, sr.CNTHCTL_EL2)
IDENTITY = {sr.VPIDR_EL2: sr.MIDR_EL1, sr.VMPIDR_EL2: sr.MPIDR_EL1}
EL1H, EL2H, EL0T = 0b0101, 0b1001, 0b0000
FORWARDED = ESR_ELx.compose(EC=EC.HVC64, IL=1)

State = dict[type[Register], int]


def state(rig: Rig) -> State:
    """Read every register."""
    return {register: rig[register] for register in REGISTERS}


def changed(before: State, after: State) -> set[type[Register]]:
    """Name what is not what it was."""
    return {register for register in REGISTERS if before[register] != after[register]}


def fill(rig: Rig, seed: int) -> State:
    """Give every register a value of its own, timers and the interface at rest."""
    values = random.Random(seed)
    for register in REGISTERS:
        rig[register] = values.getrandbits(64)
    for control in (sr.CNTV_CTL_EL0, sr.CNTP_CTL_EL0, sr.ICH_HCR_EL2, sr.ICH_MISR_EL2):
        rig[control] = 0
    return state(rig)


def fill_memory(rig: Rig, seed: int) -> None:
    """Give all that L1 holds for vEL1, and all of vEL2's that is not in hardware, random values."""
    values = random.Random(seed)
    for n in range(512):
        rig.page.slot[n] = values.getrandbits(64)
    for row in SWITCHED:
        rig.vcpu.vel1.el1[row.index] = values.getrandbits(64)
        rig.vcpu.vel2.el1[row.index] = values.getrandbits(64)
    for n in range(len(rig.vcpu.vel2.memory)):
        rig.vcpu.vel2.memory[n] = values.getrandbits(64)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(VM=1, IMO=1, FMO=1, TWI=1, TID3=1))
    rig.set_slot(sr.ICH_HCR_EL2, sr.ICH_HCR_EL2.compose(En=1, TC=1))


def machine(kind: str) -> Rig:
    """Give a machine of a kind with every feature that changes what is switched."""
    rig = rig_of(kind)
    rig.vm.probed.has_fgt = 1
    rig.vm.probed.has_sve = int(KINDS[kind][1] != LEVEL_NV)
    rig.vm.probed.hcrx_writable = ALL
    rig.vcpu.pcpu.hcrx = 0
    return rig


def moved_to_vel1(rig: Rig) -> State:
    """Say what hardware has to hold for vEL1, of what moves as it is."""
    wanted: State = {}
    for row in SWITCHED:
        if row.vncr_slot >= 0:
            wanted[row.hardware] = rig.slot(row.hardware)
        elif rig.vcpu.e2h:
            wanted[row.hardware] = rig.vcpu.vel1.el1[row.index]
    in_page = [*INTERFACE, sr.ICH_HCR_EL2, sr.MDSCR_EL1, sr.CNTVOFF_EL2, sr.VDISR_EL2, *IDENTITY]
    if rig.vcpu.e2h:
        in_page += TIMERS
    if rig.vm.probed.has_sve:
        in_page.append(sr.ZCR_EL1)
    return wanted | {register: rig.slot(register) for register in in_page}


def is_there(rig: Rig, register: type[Register]) -> bool:
    """Whether a register is one that a change of context writes on this machine."""
    return rig.vm.probed.has_sve != 0 or register not in (sr.ZCR_EL1, sr.ZCR_EL2)


@every_kind
@pytest.mark.parametrize("seed", range(4))
def test_vel1_finds_its_own_and_nothing_else_moves(kind: str, seed: int) -> None:
    rig = machine(kind)
    before = fill(rig, seed)
    fill_memory(rig, seed + 100)
    wanted = moved_to_vel1(rig)
    rig.run(context.enter_vel1, rig.vcpu)
    after = state(rig)
    assert {register: after[register] for register in wanted} == wanted
    controls = {*CONTROLS, sr.HCRX_EL2, sr.ZCR_EL2, *finegrained.REGISTERS}
    controls = {register for register in controls if is_there(rig, register)}
    assert changed(before, after) == {*wanted, *controls}


@every_kind
@pytest.mark.parametrize("seed", range(4))
def test_vel1_sees_nothing_of_what_ran_before(kind: str, seed: int) -> None:
    """Show that from two states of vEL2 hardware comes to the same state of vEL1."""
    ends = []
    for run in range(2):
        rig = machine(kind)
        before = fill(rig, 1000 * run + seed)
        fill_memory(rig, seed)
        rig.run(context.enter_vel1, rig.vcpu)
        rig.prepare(shadow.select, rig.vcpu)
        ends.append((changed(before, state(rig)), state(rig)))
    moved = ends[0][0] | ends[1][0]
    # With SVE both EL's bound of the vector length is vEL2's own register.
    differ = changed(ends[0][1], ends[1][1]) & moved - {sr.ZCR_EL2}
    assert {register.name for register in differ} == set()


@every_kind
@pytest.mark.parametrize("seed", range(4))
def test_a_round_trip_changes_nothing_of_vel2(kind: str, seed: int) -> None:
    """Show that vEL2 finds all of hardware as it left it, whatever vEL1 makes of its registers."""
    rig = machine(kind)
    fill(rig, seed)
    fill_memory(rig, seed + 100)
    for times in range(2):
        before, kept = state(rig), list(rig.vcpu.vel2.memory)
        rig.run(context.enter_vel1, rig.vcpu)
        rig.prepare(shadow.select, rig.vcpu)
        values = random.Random(seed + 200 + times)
        for register in moved_to_vel1(rig):
            if register not in (sr.CNTVOFF_EL2, sr.ICH_HCR_EL2, *IDENTITY):
                rig[register] = values.getrandbits(64)
        for control in (sr.CNTV_CTL_EL0, sr.CNTP_CTL_EL0):
            rig[control] = 0
        left = {register: rig[register] for register in moved_to_vel1(rig)}
        rig.run(context.enter_vel2, rig.vcpu)
        after = state(rig)
        assert moved_to_vel1(rig) == left, "vEL1's are where L1 finds them"
        assert list(rig.vcpu.vel2.memory) == kept
    # The first time the state was no state of vEL2's; from then on it is.
    of_vel1 = {*INTERFACE, *TIMERS, sr.MDSCR_EL1, sr.VDISR_EL2}
    if not rig.vcpu.e2h:
        of_vel1.add(sr.CNTVOFF_EL2)
        of_vel1 |= {row.hardware for row in SWITCHED if row.common_nvhe}
    assert changed(before, after) <= of_vel1
    assert rig[sr.VTTBR_EL2] == rig.vm.stage2.canonical.vttbr
    for virtual, real in IDENTITY.items():
        assert rig[virtual] == rig[real]


@every_kind
@pytest.mark.parametrize("pstate", [EL1H, 0b0100, EL0T])
def test_an_exception_inside_vel2_writes_what_it_must(kind: str, pstate: int) -> None:
    rig = machine(kind)
    before = fill(rig, 7)
    rig.vcpu.pstate, rig.vcpu.pc = pstate, 0x1234_5678
    rig.run(exception.take_to_vel2, rig.vcpu, IRQ)
    assert changed(before, state(rig)) == {sr.SPSR_EL1, sr.ELR_EL1}
    assert rig[sr.ELR_EL1] == 0x1234_5678


@every_kind
def test_an_exception_from_vel1_comes_with_vel2s_state_alone(kind: str) -> None:
    """Show that a forwarded trap adds its syndrome to what a plain change of context does."""
    ends = []
    for forwarded in (False, True):
        rig = machine(kind)
        fill(rig, 3)
        fill_memory(rig, 4)
        rig.run(context.enter_vel1, rig.vcpu)
        rig.run(context.enter_vel2, rig.vcpu)
        rig.run(context.enter_vel1, rig.vcpu)
        rig.prepare(shadow.select, rig.vcpu)
        rig.vcpu.pstate, rig.vcpu.pc = EL1H, 0x4000
        if forwarded:
            rig.run(trap.handle_sync, rig.vcpu, FORWARDED)
        else:
            rig.run(context.enter_vel2, rig.vcpu)
        ends.append(state(rig))
    assert changed(*ends) == {sr.SPSR_EL1, sr.ELR_EL1, sr.ESR_EL1}
    assert ends[1][sr.ESR_EL1] == FORWARDED and ends[1][sr.ELR_EL1] == 0x4000


@every_kind
@pytest.mark.parametrize("mode", [EL2H, 0b1000, EL0T])
def test_an_eret_inside_vel2_writes_no_register(kind: str, mode: int) -> None:
    """Show that it moves PC and PSTATE; ELR and SPSR stay, as at any return."""
    rig = machine(kind)
    fill(rig, 9)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(TGE=int(mode == EL0T)))
    rig.vcpu.pcpu.mdscr = rig[sr.MDSCR_EL1]
    rig.set_slot(sr.MDSCR_EL1, rig.vcpu.pcpu.mdscr)
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1] = mode, 0x4000
    before = state(rig)
    rig.run(trap.handle_sync, rig.vcpu, ESR_ELx.compose(EC=EC.ERET, IL=1))
    assert changed(before, state(rig)) == set()
    assert rig.vcpu.pc == 0x4000
    assert rig.vcpu.pstate & 0xF == (EL0T if mode == EL0T else mode ^ EL1H ^ EL2H)

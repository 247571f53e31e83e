"""CPU_ON and CPU_OFF: who is on, what a pcpu starts with, and that nobody but L0 runs at EL2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from tests.hyp.rig import KINDS, RecordingSimulation, every_kind, stand_ins
from tests.hyp.test_start import L0_BASE, RAM_BASE, Machine, without_devices
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import layout, power, start
from vel2.hyp.homes import slot
from vel2.hyp.pcpu import OFF, ON, PENDING
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, VncrPage

MINUS = (1 << 64).__sub__
INVALID, DENIED, ALREADY_ON, ON_PENDING = MINUS(2), MINUS(3), MINUS(4), MINUS(5)
CPU_ON, CPU_OFF = 0xC400_0003, 0x8400_0002
SECONDARY_ENTRY = L0_BASE + 0x480
AFFINITIES = (0x0, 0x1, 0x1_0000_0100)
ENTRY, CONTEXT = RAM_BASE + 0x1000, 0xC0DE
GARBAGE = 0xDEAD_BEEF_0BAD_F00D


class Machines(Machine):
    """A machine with three pcpus, of which the first has started, and firmware that can refuse."""

    def __init__(self, kind: str = "vhe-nv2") -> None:
        super().__init__(kind)
        self.sim.symbols["secondary_entry"] = SECONDARY_ENTRY
        self.vm.config.cpu_count = len(AFFINITIES)
        for number, affinity in enumerate(AFFINITIES):
            self.vm.probed.affinities[number] = affinity
        self.calls: list[tuple[int, int, int, int]] = []
        self.answer = 0
        self.start()

    def vcpu_of(self, number: int) -> Vcpu:
        """Give a vCPU by number."""
        offset = layout.PCPU_OFFSET + number * layout.PCPU_BYTES + layout.VCPU_IN_PCPU
        return self.sim.at(Vcpu, L0_BASE + offset)

    def page_at(self, number: int) -> VncrPage:
        """Give a vCPU's page by number."""
        offset = layout.PCPU_OFFSET + number * layout.PCPU_BYTES + layout.VNCR_IN_PCPU
        return self.sim.at(VncrPage, L0_BASE + offset)

    def firmware(self, function: int, first: int, second: int, third: int) -> int:
        """Note a call."""
        self.calls.append((function, first, second, third))
        return self.answer

    @contextmanager
    def below(self) -> Iterator[None]:
        """Have resident code call this firmware."""
        firmware = patch.object(power, "firmware_call", self.firmware)
        with self.sim, stand_ins(), without_devices(), firmware:
            yield

    def on(self, target: int, entry: int = ENTRY, context: int = CONTEXT, caller: int = 0) -> int:
        """Do a CPU_ON."""
        with self.below():
            return power.turn_on(self.vcpu_of(caller), target, entry, context)

    def off(self, number: int) -> int:
        """Do a CPU_OFF; it comes back here, as it does from no firmware that obeys."""
        states = []

        def note(*_: int) -> int:
            states.append(self.state(number))
            return 0

        with self.below(), patch.object(power, "firmware_call", note):
            answer = power.turn_off(self.vcpu_of(number))
        assert states in ([], [OFF]), "the firmware is asked when others may turn it on again"
        return answer

    def state(self, number: int) -> int:
        """Give what PSCI knows of a vCPU."""
        return self.vcpu_of(number).power.state

    def come_up(self, number: int) -> RecordingSimulation:
        """Run `start_secondary` on a pcpu with garbage in every register but its own facts."""
        own = RecordingSimulation(L0_BASE, self.sim.buffer)
        for register in sr.ALL_REGISTERS:
            own[register] = GARBAGE
        for register in FACTS:
            own[register] = self.sim[register]
        own[sr.MPIDR_EL1] = 1 << 31 | AFFINITIES[number]
        vcpu = own.at(Vcpu, self.sim.address_of(self.vcpu_of(number)))
        vm = own.at(type(self.vm), self.sim.address_of(self.vm))
        with own, stand_ins(), without_devices():
            start.start_secondary(vcpu, vm)
        return own


FACTS = tuple(
    register
    for register in sr.ALL_REGISTERS
    if register.name.startswith("ID_") or register in (sr.MIDR_EL1, sr.CNTPCT_EL0, sr.ICH_VTR_EL2)
)
"""What differs between machines, and not between the pcpus of one."""


def test_a_cpu_is_turned_on_at_l0s_entry() -> None:
    """Show that L1's address is not the firmware's."""
    machine = Machines()
    assert machine.on(1) == 0
    vcpu = machine.sim.address_of(machine.vcpu_of(1))
    assert machine.calls == [(CPU_ON, 1, SECONDARY_ENTRY, vcpu)]
    assert machine.state(1) == PENDING and machine.vm.online == 2
    assert machine.on(1) == ON_PENDING
    machine.come_up(1)
    assert machine.state(1) == ON and machine.on(1) == ALREADY_ON
    assert len(machine.calls) == 1 and machine.vm.online == 2


@pytest.mark.parametrize("target", [2, 1 << 31, 1 << 31 | 1, 0x100, 1 << 40, MINUS(1)])
def test_who_is_not_there_cannot_be_turned_on(target: int) -> None:
    machine = Machines()
    assert machine.on(target) == INVALID
    assert machine.calls == [] and machine.vm.online == 1


@pytest.mark.parametrize("entry", [1, 2, 3, ENTRY + 2])
def test_an_entry_that_is_no_instructions_address_is_refused(entry: int) -> None:
    machine = Machines()
    assert machine.on(1, entry) == INVALID
    assert machine.calls == [] and machine.state(1) == OFF


def test_the_affinity_of_the_third_level_is_told_apart() -> None:
    machine = Machines()
    assert machine.on(AFFINITIES[2]) == 0
    assert (machine.state(1), machine.state(2)) == (OFF, PENDING)


@pytest.mark.parametrize("answer", [ALREADY_ON, INVALID, MINUS(6)])
def test_what_the_firmware_refuses_can_be_asked_again(answer: int) -> None:
    """Show that a CPU that is still on its way off leaves nothing half-done."""
    machine = Machines()
    machine.answer = answer
    assert machine.on(1) == answer
    assert machine.state(1) == OFF and machine.vm.online == 1
    machine.answer = 0
    assert machine.on(1) == 0 and machine.vm.online == 2


def test_the_last_cpu_stays_on() -> None:
    machine = Machines()
    assert machine.off(0) == DENIED
    assert machine.state(0) == ON and machine.vm.online == 1
    machine.on(1)
    machine.come_up(1)
    machine.vcpu_of(1).shadow = machine.sim.address_of(machine.vm.stage2.shadows[3])
    machine.off(1)
    assert machine.vcpu_of(1).shadow == 0, "its shadow context can be given away"


@every_kind
@pytest.mark.parametrize("number", [1, 2])
def test_a_pcpu_starts_as_the_first_one_did(kind: str, number: int) -> None:
    """Show that no register of the first pcpu is taken for granted, whatever reset left."""
    machine = Machines(kind)
    first = machine.vcpu_of(0)
    machine.on(AFFINITIES[number])
    own = machine.come_up(number)
    vcpu = machine.vcpu_of(number)
    assert (vcpu.pc, vcpu.x[0], vcpu.pstate) == (ENTRY, CONTEXT, first.pstate)
    assert (vcpu.index, vcpu.context, vcpu.e2h) == (number, CONTEXT_VEL2, first.e2h)
    assert own[sr.VNCR_EL2] == vcpu.vel2.vncr_page != machine.sim[sr.VNCR_EL2]
    assert own[sr.VMPIDR_EL2] == 1 << 31 | AFFINITIES[number]
    different = {
        register.name
        for register in sr.ALL_REGISTERS
        if machine.sim[register] != own[register] and machine.sim[register] != 0
    }
    assert different <= {"VNCR_EL2", "MPIDR_EL1", "VMPIDR_EL2", *LEFT_BY_RESET}
    zeroed = {register.name for register in written(machine) if machine.sim[register] == 0}
    assert not {name for name in zeroed if own[sr.by_name(name)] == GARBAGE}
    assert machine.page_at(number).slot[slot(sr.HCR_EL2)] == machine.page.slot[slot(sr.HCR_EL2)]


LEFT_BY_RESET = {"ACTLR_EL1", "ICH_VMCR_EL2", "CNTHCTL_EL2"}
"""What L0 only reads, to let L1 find it as it came out of reset."""


def written(machine: Machines) -> set[type[Register]]:
    """Give the registers that the first pcpu's start writes."""
    again = Machine(next(kind for kind, of in KINDS.items() if of == guest_of(machine)))
    for register in sr.ALL_REGISTERS:
        if register not in FACTS:
            again.sim[register] = GARBAGE
    again.sim[sr.MPIDR_EL1] = 1 << 31
    again.start()
    return {
        register
        for register in sr.ALL_REGISTERS
        if register not in FACTS and again.sim[register] != GARBAGE
    }


def guest_of(machine: Machine) -> tuple[int, int]:
    """Give the guest's kind and level."""
    return machine.vm.config.guest_kind, machine.vm.config.nv_level


def test_a_cpu_that_was_on_before_starts_afresh() -> None:
    """Show that nothing of its first life is left, but what it counted."""
    machine = Machines()
    machine.on(1)
    machine.come_up(1)
    vcpu, page = machine.vcpu_of(1), machine.page_at(1)
    after = bytes(vcpu.to_bytes()), bytes(page.to_bytes())
    vcpu.counters.forwarded = 5
    machine.off(1)
    vcpu.power.state = OFF
    for offset in range(0, start.CLEARED, 8):
        machine.sim.store(8, machine.sim.address_of(vcpu) + offset, GARBAGE)
    for number in range(512):
        page.slot[number] = GARBAGE
    machine.on(1)
    machine.come_up(1)
    assert vcpu.counters.forwarded == 5
    vcpu.counters.forwarded = 0
    assert (vcpu.to_bytes(), page.to_bytes()) == after


def test_tlbis_trap_again_when_vel2_is_no_longer_alone() -> None:
    """Show HCR_EL2.TTLB set for vEL2, and left to L1 for an nVHE host's own kernel in vEL1."""
    ttlb = sr.HCR_EL2.TTLB.mask
    for context, trapped in ((CONTEXT_VEL2, ttlb), (CONTEXT_VEL1, 0)):
        machine = Machines()
        machine.vcpu_of(0).context = context
        machine.sim[sr.HCR_EL2] = machine.sim[sr.HCR_EL2] & ~ttlb
        machine.on(1)
        assert machine.sim[sr.HCR_EL2] & ttlb == trapped

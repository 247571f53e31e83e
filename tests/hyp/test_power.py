"""CPU_ON and CPU_OFF: who is on, what a pcpu starts with, and that nobody but L0 runs at EL2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from tests.hyp.rig import KINDS, RecordingSimulation, every_kind, stand_ins
from tests.hyp.test_start import L0_BASE, RAM_BASE, Machine, without_devices
from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register
from vel2.arch.features import FEATURES, HIDDEN_REGISTERS
from vel2.hyp import finegrained, layout, power, reset, start
from vel2.hyp.homes import slot
from vel2.hyp.pcpu import OFF, ON, PENDING
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, VncrPage

MINUS = (1 << 64).__sub__
INVALID, DENIED, ALREADY_ON, ON_PENDING = MINUS(2), MINUS(3), MINUS(4), MINUS(5)
CPU_ON, CPU_OFF = 0xC400_0003, 0x8400_0002
SECONDARY_ENTRY = L0_BASE + 0x480
AFFINITIES = (0x0, 0x1, 0x1_0000_0100)
ENTRY, CONTEXT = RAM_BASE + 0x1000, 0xC0DE
DFR0, ISAR1, ISAR2 = sr.ID_AA64DFR0_EL1, sr.ID_AA64ISAR1_EL1, sr.ID_AA64ISAR2_EL1
GARBAGE = 0xDEAD_BEEF_0BAD_F00D
OTHER_GARBAGE = 0x5EED_1234_0BAD_FEED


class Machines(Machine):
    """A machine with three pcpus, of which the first has started, and firmware that can refuse."""

    def __init__(self, kind: str = "vhe-nv2", *, full: bool = False) -> None:
        """Start the first.

        :param full: the machine has every feature that L0 knows, and had other garbage in it.
        """
        super().__init__(kind)
        if full:
            for register in set(sr.ALL_REGISTERS) - set(FACTS):
                self.sim[register] = OTHER_GARBAGE
            for each in FEATURES:
                fields = self.sim[each.register]
                most = max(each.value, each.field.get(fields))
                self.sim[each.register] = each.field.set(fields, most)
            fields = DFR0.compose(PMUVer=9, BRPs=15, WRPs=15)
            self.sim[DFR0] = self.sim[DFR0] & ~DFR0.PMUVer.mask | fields
            self.sim[sr.ICH_VTR_EL2] = sr.ICH_VTR_EL2.compose(ListRegs=15, PREbits=6)
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
    if register.name.startswith("ID_")
    or register in (sr.MIDR_EL1, sr.ACTLR_EL1, sr.CNTPCT_EL0, sr.ICH_VTR_EL2)
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
    """Show every register of hardware equal, whatever each pcpu had in it before.

    The two had different garbage, so what is equal was written on both. What was not is named in
    `LEFT_ALONE`, with its reason.
    """
    machine = Machines(kind, full=True)
    first = machine.vcpu_of(0)
    machine.on(AFFINITIES[number])
    own = machine.come_up(number)
    vcpu = machine.vcpu_of(number)
    assert (vcpu.pc, vcpu.x[0], vcpu.pstate) == (ENTRY, CONTEXT, first.pstate)
    assert (vcpu.index, vcpu.context, vcpu.e2h) == (number, CONTEXT_VEL2, first.e2h)
    assert own[sr.VNCR_EL2] == vcpu.vel2.vncr_page != machine.sim[sr.VNCR_EL2]
    assert own[sr.VMPIDR_EL2] == 1 << 31 | AFFINITIES[number]
    different = {r for r in HELD if machine.sim[r] != own[r]}
    own_by_nature = {sr.VNCR_EL2, sr.MPIDR_EL1, sr.VMPIDR_EL2}
    left = different - own_by_nature
    assert {r for r in left if own[r] != GARBAGE} == set(), "another value than the first one has"
    expected = left_alone() | (SVE if machine.vm.probed.has_sve == 0 else set())
    assert sorted(r.name for r in left) == sorted(r.name for r in HELD & expected)
    assert same_page(machine, number)


def same_page(machine: Machines, number: int) -> bool:
    """Whether vEL2 finds in its page what the first one found, but for its VMPIDR_EL2."""
    pages = [list(machine.page_at(n).slot) for n in (0, number)]
    for page in pages:
        page[slot(sr.VMPIDR_EL2)] = 0
    return pages[0] == pages[1]


HELD = {
    r for r in sr.ALL_REGISTERS if r.access == "RW" and not r.alias_of and not r.layout_of
} - set(FACTS)
"""What can hold something; other names of it, read-only registers and mere actions cannot."""
LEFT_ALONE = {
    "what EL1 can reach only through L0, which has no way there (HCR_EL2.TACR, TIDCP)": (
        "ACTLR_EL2 HACR_EL2 RMR_EL1 RMR_EL2"
    ),
    "EL1 can read it and nothing else": "CNTFRQ_EL0",
    "PSTATE, which the ERET to vEL2 writes": "SPSel PAN UAO PM NZCV DAIF DIT SSBS TCO",
    "written before resident code runs (vectors.prepare)": "VBAR_EL2 TPIDR_EL2 SP_EL2",
    "written by each exception to EL2 before L0 reads it": (
        "ESR_EL2 FAR_EL2 HPFAR_EL2 ELR_EL2 SPSR_EL2 AFSR0_EL2 AFSR1_EL2"
    ),
    "other views of registers that are written": (
        "CNTP_TVAL_EL0 CNTV_TVAL_EL0 CNTHP_TVAL_EL2 CNTHV_TVAL_EL2 PMCNTENSET_EL0 PMINTENSET_EL1 "
        "PMOVSSET_EL0 PMXEVTYPER_EL0 PMXEVCNTR_EL0 DBGCLAIMSET_EL1 "
        "CPACRALIAS_EL1 ACTLRALIAS_EL1 SCTLRALIAS_EL1 TCRALIAS_EL1"
    ),
    "of the debugger outside, to whom a write would be news": (
        "DBGDTR_EL0 OSDTRRX_EL1 OSDTRTX_EL1 OSECCR_EL1 DBGPRCR_EL1"
    ),
    "records of errors, which outlive a reset": (
        "ERRSELR_EL1 ERXCTLR_EL1 ERXSTATUS_EL1 ERXADDR_EL1 ERXPFGCTL_EL1 ERXPFGCDN_EL1 "
        "ERXMISC0_EL1 ERXMISC1_EL1 ERXMISC2_EL1 ERXMISC3_EL1"
    ),
    "of a Secure EL2 or EL1": (
        "CNTHVS_TVAL_EL2 CNTHVS_CTL_EL2 CNTHVS_CVAL_EL2 CNTHPS_TVAL_EL2 CNTHPS_CTL_EL2 "
        "CNTHPS_CVAL_EL2 CNTPS_TVAL_EL1 CNTPS_CTL_EL1 CNTPS_CVAL_EL1"
    ),
    "of an EL1 in AArch32, which no guest has": (
        "SPSR_irq SPSR_abt SPSR_und SPSR_fiq DACR32_EL2 IFSR32_EL2 FPEXC32_EL2 DBGVCR32_EL2"
    ),
    "of features that L1 does not see, without a record of the register": (
        "HDBSSBR_EL2 HDBSSPROD_EL2 HACDBSBR_EL2 HACDBSCONS_EL2 "
        "SCTLRMASK_EL1 ACTLRMASK_EL1 CPACRMASK_EL1 TCRMASK_EL1"
    ),
}
"""Registers that neither `reset` nor the rest of `start` writes, by the reason."""
SVE = {sr.ZCR_EL1, sr.ZCR_EL2}
"""Written if L1 sees the feature; else CPTR_EL2 keeps it away from them."""


def left_alone() -> set[type[Register]]:
    """Give those of `LEFT_ALONE`, and those of features that L1 does not see."""
    named = {sr.by_name(name) for names in LEFT_ALONE.values() for name in names.split()}
    assert not named & HIDDEN_REGISTERS, "a register with two reasons"
    at_el2 = {*reset.AT_EL2, *finegrained.SECOND, sr.VNCR_EL2}
    return named | HIDDEN_REGISTERS - at_el2 - SVE


@pytest.mark.parametrize("kind", KINDS)
def test_l1_finds_a_pe_out_of_reset(kind: str) -> None:
    """Show the values that the architecture gives: what is off is off, and the OS lock is set."""
    machine = Machines(kind, full=True)
    machine.on(1)
    own = machine.come_up(1)
    off: tuple[type[Register], ...] = (
        *(sr.CNTV_CTL_EL0, sr.CNTP_CTL_EL0, sr.CNTHP_CTL_EL2, sr.CNTHV_CTL_EL2),
        *(sr.PMCR_EL0, sr.MDSCR_EL1, sr.DBGBCR0_EL1, sr.DBGWCR15_EL1, sr.OSDLR_EL1),
        *(sr.ICC_PMR_EL1, sr.ICC_IGRPEN0_EL1, sr.ICC_IGRPEN1_EL1, sr.ICC_AP1R0_EL1),
        *(sr.ICH_HCR_EL2, sr.ICH_LR0_EL2, sr.ICH_AP1R0_EL2),
    )
    assert [r.name for r in off if own[r] != 0] == []
    assert own[sr.SCTLR_EL1] & sr.SCTLR_EL1.compose(M=1, C=1, I=1, EE=1, E0E=1) == 0
    assert own[sr.OSLAR_EL1] == 1
    all_counters = (1 << 32) - 1
    for register in (sr.PMCNTENCLR_EL0, sr.PMINTENCLR_EL1, sr.PMOVSCLR_EL0):
        assert own[register] == all_counters


@pytest.mark.parametrize(
    ("hides", "untouched"),
    [
        ((), "ICC_BPR0_EL1 ICC_IGRPEN0_EL1 ICC_AP0R0_EL1"),
        ((ISAR1.APA, ISAR1.API, ISAR2.APA3), "APIAKeyLo_EL1 APDBKeyHi_EL1"),
        ((ISAR1.GPA, ISAR1.GPI, ISAR2.GPA3), "APGAKeyLo_EL1 APGAKeyHi_EL1"),
        ((DFR0.PMUVer,), "PMCR_EL0 PMEVCNTR0_EL0 PMUSERENR_EL0"),
        ((DFR0.BRPs,), "DBGBVR1_EL1 DBGBCR15_EL1"),
        ((DFR0.WRPs,), "DBGWVR1_EL1 DBGWCR15_EL1"),
        ((sr.ID_AA64MMFR3_EL1.TCRX,), "TCR2_EL2"),
        ((sr.ID_AA64PFR1_EL1.GCS,), "GCSCR_EL2"),
    ],
    ids=str,
)
def test_what_the_machine_does_not_have_is_left_alone(
    hides: tuple[Field, ...], untouched: str
) -> None:
    """Show that no register is written whose access would be UNDEFINED at EL2, or trap to EL3.

    Group 0 of the CPU interface is EL3's where there is one; all other features go with a field.
    """
    machine = Machines(full=True)
    for register in FACTS:
        for field in hides:
            if field in register.fields:
                machine.sim[register] = field.set(machine.sim[register], 0)
    if not hides:
        machine.sim[sr.ID_AA64PFR0_EL1] |= sr.ID_AA64PFR0_EL1.EL3.mask
    with machine.below():
        start.probe(machine.vm)
    machine.on(1)
    own = machine.come_up(1)
    written = [name for name in untouched.split() if own[sr.by_name(name)] != GARBAGE]
    assert written == []


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

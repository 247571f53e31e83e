"""Start-up: what hardware and L1 find, and that nothing of before is left in a TLB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from tests.hyp import ordering
from tests.hyp.rig import KINDS, Op, RecordingSimulation, every_kind, stand_ins
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import controls, idregs, its, layout, smmu, start
from vel2.hyp.homes import slot
from vel2.hyp.state import (
    CONTEXT_VEL2,
    GUEST_NVHE,
    GUEST_VHE,
    LEVEL_NV2,
    REGION_RAM,
    Vcpu,
    Vm,
    VncrPage,
)

RAM_BASE, RAM_BYTES = 0x4000_0000, 0x20_0000
L0_BASE = 0x4020_0000
SMMU_BASE = 0x0905_0000
L0_BYTES = layout.POOL_OFFSET + layout.POOL_MIN_BYTES
HCR = sr.HCR_EL2
SCTLR_ON = 1 << 0
MIDR, MPIDR, ACTLR = 0x411F_D0C0, 0x8000_0001, 0x77


@contextmanager
def without_devices() -> Iterator[None]:
    """Have what start-up does to memory-mapped devices succeed."""
    with patch.object(smmu, "init", has_smmu), patch.object(its, "init", lambda vm: 0):
        yield


def has_smmu(vm: Vm) -> bool:
    """Find an SMMU where the simulated machine has one; at 0 there is the flash."""
    return int(vm.config.smmu_base) == SMMU_BASE


class Machine:
    """A machine as the host leaves it: the `Vm` filled in, everything else garbage or zero."""

    def __init__(self, kind: str = "vhe-nv2") -> None:
        self.sim = RecordingSimulation(L0_BASE, L0_BYTES)
        self.vm = self.sim.at(Vm, L0_BASE + layout.VM_OFFSET)
        pcpu = L0_BASE + layout.PCPU_OFFSET
        self.vcpu = self.sim.at(Vcpu, pcpu + layout.VCPU_IN_PCPU)
        self.page = self.sim.at(VncrPage, pcpu + layout.VNCR_IN_PCPU)
        vm = self.vm
        vm.config.l0_base = L0_BASE
        vm.config.pool_base, vm.config.pool_size = (
            L0_BASE + layout.POOL_OFFSET,
            layout.POOL_MIN_BYTES,
        )
        vm.config.ram_base, vm.config.ram_end = RAM_BASE, RAM_BASE + RAM_BYTES
        vm.config.max_parange = 5
        vm.config.smmu_base = SMMU_BASE
        vm.config.pcpus, vm.config.cpu_count = pcpu, 1
        self.vcpu.power.entry_pc, self.vcpu.power.entry_x0 = RAM_BASE + 0x8_0000, RAM_BASE
        vm.config.guest_kind, vm.config.nv_level = KINDS[kind]
        vm.config.region_count = 1
        region = vm.config.regions[0]
        region.base, region.length, region.kind = RAM_BASE, RAM_BYTES, REGION_RAM
        for register, value in {
            sr.ID_AA64PFR0_EL1: sr.ID_AA64PFR0_EL1.compose(GIC=1),
            sr.ID_AA64MMFR0_EL1: sr.ID_AA64MMFR0_EL1.compose(PARange=5, ECV=2),
            sr.ID_AA64MMFR1_EL1: sr.ID_AA64MMFR1_EL1.compose(VH=1),
            sr.ID_AA64MMFR2_EL1: sr.ID_AA64MMFR2_EL1.compose(NV=2),
            sr.MIDR_EL1: MIDR,
            sr.MPIDR_EL1: MPIDR,
            sr.ACTLR_EL1: ACTLR,
        }.items():
            self.sim[register] = value

    def start(self) -> list[Op]:
        """Run `start`; give its operations."""
        file = self.sim.registers
        self.sim.registers = ordering.Registers(file, self.sim.events)
        try:
            # The SMMU and the ITS are memory-mapped: the simulated machine has none.
            with self.sim, stand_ins(), without_devices():
                start.start(self.vcpu, self.vm)
        finally:
            self.sim.registers = file
        ordering.check(self.sim.events)
        return self.sim.trace


@every_kind
def test_no_translation_of_before_is_left(kind: str) -> None:
    """Show the order: EL2's TLB is emptied before its MMU is on, EL1's at the very end."""
    machine = Machine(kind)
    mmu_on: list[int] = []
    machine.sim.watch = lambda op: mmu_on.append(machine.sim[sr.SCTLR_EL2] & SCTLR_ON)
    names = [op.name for op in machine.start()]
    first = names.index("TLBI ALLE2")
    assert names[first:][:4] == ["TLBI ALLE2", "IC IALLU", "dsb ish", "isb"]
    assert "dsb ish" in names[:first], "the tables are visible before they are walked"
    assert not any(mmu_on[: first + 4]) and all(mmu_on[first + 4 :])
    assert names[-3:] == ["TLBI ALLE1", "dsb ish", "isb"]
    assert machine.sim[sr.VTTBR_EL2] == machine.vm.stage2.canonical.vttbr


@every_kind
def test_vel2_begins_as_a_pe_out_of_reset(kind: str) -> None:
    machine = Machine(kind)
    machine.start()
    sim, vcpu = machine.sim, machine.vcpu
    e2h = int(KINDS[kind] == (GUEST_VHE, LEVEL_NV2))
    assert vcpu.e2h == e2h and vcpu.context == CONTEXT_VEL2
    assert machine.page.slot[slot(HCR)] == HCR.compose(RW=1, E2H=e2h)
    assert vcpu.pstate == 0b1111 << 6 | 0b0101, "DAIF masked, EL1h for EL2h"
    assert (vcpu.pc, vcpu.x[0]) == (RAM_BASE + 0x8_0000, RAM_BASE)
    assert sim[sr.SCTLR_EL1] & 0b1_0000_0000_0101 == 0, "M, C and I are off"
    assert all(sim[timer] == 0 for timer in (sr.CNTV_CTL_EL0, sr.CNTP_CTL_EL0, sr.CNTHP_CTL_EL2))
    assert (sim[sr.VPIDR_EL2], sim[sr.VMPIDR_EL2]) == (MIDR, MPIDR)
    slots = machine.page.slot
    for register, value in ((sr.VPIDR_EL2, MIDR), (sr.VMPIDR_EL2, MPIDR), (sr.ACTLR_EL1, ACTLR)):
        assert slots[slot(register)] == value
    real = sim[HCR]
    for name in ("VM", "RW", "NV", "TSC", "TID3", "AT", "TTLB"):
        assert HCR.field(name).get(real) == 1, name
    assert HCR.NV2.get(real) == (machine.vm.config.nv_level == LEVEL_NV2)
    assert HCR.NV1.get(real) == 1 - e2h
    assert machine.vm.post_mortem.stop_reason == 0


@pytest.mark.parametrize(
    ("register", "value", "lacks"),
    [
        (sr.ID_AA64MMFR2_EL1, sr.ID_AA64MMFR2_EL1.compose(NV=1), start.NEEDS_NV2),
        (sr.ID_AA64MMFR1_EL1, 0, start.NEEDS_VHE),
        (sr.ID_AA64PFR0_EL1, 0, start.NEEDS_GICV3),
        (sr.ID_AA64MMFR0_EL1, sr.ID_AA64MMFR0_EL1.compose(PARange=5), start.NEEDS_ECV),
    ],
)
def test_a_machine_that_lacks_something_is_refused_by_name(
    register: type[Register], value: int, lacks: int
) -> None:
    machine = Machine()
    machine.sim[register] = value
    machine.start()
    assert machine.vm.post_mortem.stop_reason != 0 and machine.vm.post_mortem.fatal_detail == lacks


@pytest.mark.parametrize(("base", "lacks"), [(0, 0), (SMMU_BASE + 0x1000, start.NEEDS_SMMU)])
def test_only_an_smmu_that_l0_was_told_of_is_looked_for(base: int, lacks: int) -> None:
    """Show that a VM whose L1 gets no device with DMA needs none."""
    machine = Machine()
    machine.vm.config.smmu_base = base
    machine.start()
    assert machine.vm.post_mortem.fatal_detail == lacks


@every_kind
@pytest.mark.parametrize("shows_vhe", [0, 1])
def test_e2h_is_shown_as_it_is(kind: str, shows_vhe: int) -> None:
    """Show VH and E2H0: no nVHE guest sees FEAT_VHE unless its own guests are to have it.

    Only VHE under FEAT_NV2 has E2H RES1.
    """
    machine = Machine(kind)
    machine.vm.config.shows_vhe = shows_vhe
    machine.start()
    guest, level = KINDS[kind]
    vh = machine.vm.probed.id_registers[idregs.MMFR1_INDEX]
    e2h0 = machine.vm.probed.id_registers[idregs.MMFR4_INDEX]
    assert sr.ID_AA64MMFR1_EL1.VH.get(vh) == (guest == GUEST_VHE or shows_vhe)
    is_fixed = guest != GUEST_NVHE and level == LEVEL_NV2
    assert sr.ID_AA64MMFR4_EL1.E2H0.get(e2h0) == (0b1110 if is_fixed else 0)
    assert controls.HCR_ALWAYS & machine.sim[HCR] == controls.HCR_ALWAYS

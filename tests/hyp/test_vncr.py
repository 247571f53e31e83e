"""L1's own VNCR_EL2 where several pcpus have one: what a TLBI by one does to the others' windows.

What VNCR_EL2 means to a single pcpu is in payload `nested`.
"""

from __future__ import annotations

import pytest

from tests.hyp.rig import RAM_BASE, Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI, SysInsn
from vel2.hyp import layout, tlbi
from vel2.hyp.hcr import NESTED
from vel2.hyp.outcome import Outcome

TABLES = RAM_BASE + 0x7_0000
"""A part of simulated memory that nothing else uses here."""
LEAF = 0x4000_0000
PCPUS = 4
OWN = 1
EMPTY = 3


def machine(nesting: int) -> Rig:
    """Give a rig with four pcpus, of which this is one, and one has nothing in its window."""
    rig = fresh_rig()
    rig.vm.config.l0_base = TABLES - layout.VNCR_TABLES_OFFSET
    rig.vm.config.cpu_count = PCPUS
    rig.vm.probed.nesting = nesting
    rig.vm.online = PCPUS
    rig.vcpu.index = OWN
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(E2H=1, TGE=1))
    for index in range(PCPUS):
        rig.sim.store(8, entry(index), 0 if index == EMPTY else LEAF + index)
    return rig


def entry(index: int) -> int:
    return TABLES + layout.PAGE_BYTES + 8 * index


def shown(rig: Rig) -> list[int]:
    """Name the pcpus whose window shows a page."""
    return [index for index in range(PCPUS) if rig.sim.load(8, entry(index)) != 0]


def windows_invalidated(rig: Rig) -> list[int]:
    """Give the pcpus whose window hardware was told to forget, on every PE."""
    last_gigabyte = 511 << 30 >> 12
    return [
        each.value - last_gigabyte
        for each in rig.sim.operations
        if each.what == TLBI.VAE2IS.trap_key
    ]


BROADCAST = (
    *(TLBI.VAE2IS, TLBI.VAE2OS, TLBI.VALE2IS, TLBI.ALLE2IS, TLBI.ALLE2OS, TLBI.RVAE2IS),
    *(TLBI.VAE1IS, TLBI.VMALLE1OS, TLBI.ASIDE1IS, TLBI.RVAAE1OS, TLBI.VAE2ISNXS),
)
LOCAL = (TLBI.VAE2, TLBI.ALLE2, TLBI.RVAE2, TLBI.VAE1, TLBI.VMALLE1, TLBI.RVALE1)


@pytest.mark.parametrize("insn", BROADCAST, ids=lambda insn: insn.name)
def test_a_broadcast_tlbi_empties_the_windows_of_the_others(insn: SysInsn) -> None:
    rig = machine(NESTED)
    assert rig.run(tlbi.from_vel2, rig.vcpu, insn.trap_key, 5) == Outcome.SKIP
    assert shown(rig) == [OWN]
    assert windows_invalidated(rig) == [0, 2]


@pytest.mark.parametrize("insn", LOCAL, ids=lambda insn: insn.name)
def test_a_local_tlbi_concerns_no_other_pcpu(insn: SysInsn) -> None:
    rig = machine(NESTED)
    assert rig.run(tlbi.from_vel2, rig.vcpu, insn.trap_key, 5) == Outcome.SKIP
    assert shown(rig) == [0, 1, 2]
    assert windows_invalidated(rig) == []


def test_a_tlbi_of_l1s_guest_leaves_them() -> None:
    """Show that an EL1-named TLBI with TGE=0, which is of the guest's regime, is none of these."""
    rig = machine(NESTED)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(E2H=1, VM=1))
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.VAE1IS.trap_key, 5)
    assert shown(rig) == [0, 1, 2]


def test_without_recursion_there_are_none() -> None:
    rig = machine(0)
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.VAE2IS.trap_key, 5)
    assert shown(rig) == [0, 1, 2]

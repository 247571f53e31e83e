"""Payload `dma`: what a device of L1 can reach is what L1 can reach."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.system.test_payloads import (
    CANARY,
    CANARY_PAGE,
    HOLE,
    L0_BASE,
    SMMU_BASE,
    canonical_root,
    require_success,
)
from vel2.arch.nesting import Kind, Level
from vel2.check.integrity import Integrity
from vel2.check.payloads import Report, build_payload, run_at_real_el2, run_at_virtual_el2
from vel2.check.payloads.dma import EDU_ARGUMENTS, WRITTEN
from vel2.check.payloads.layout import MEMORY_BYTES, RAM_BASE
from vel2.control.regions import UART1_BASE
from vel2.control.vm import Vm
from vel2.hyp import layout
from vel2.hyp.smmu import Tables

pytestmark = pytest.mark.qemu

TARGETS = (
    L0_BASE,
    CANARY_PAGE,
    L0_BASE + layout.VM_OFFSET,
    L0_BASE + layout.PCPU_OFFSET + layout.VCPU_IN_PCPU,
    L0_BASE + layout.PCPU_OFFSET + layout.VNCR_IN_PCPU,
    L0_BASE + layout.SMMU_OFFSET + Tables.second.offset,
    L0_BASE + layout.SMMU_OFFSET + Tables.first.offset,
    L0_BASE + layout.GIC_OFFSET,
    canonical_root(),
    L0_BASE + layout.l0_bytes(MEMORY_BYTES) - 0x1000,
    UART1_BASE,
    SMMU_BASE,
    HOLE,
    # What an address cut to 40, 44 or 48 bits would be.
    L0_BASE | 1 << 40,
    RAM_BASE | 1 << 44,
    L0_BASE | 1 << 48,
)
ATTACK = WRITTEN.to_bytes(8, "little") * 3
"""More of it in a row than registers of L1 that L0 has saved would show."""


class Dma(NamedTuple):
    """Both runs, and what the host found in L0's memory after the virtual one."""

    real: Report
    virtual: Report
    broken: list[str]
    is_written: bool


@pytest.fixture(scope="module")
def real() -> Report:
    """Run the payload at real EL2, where the kind of EL2 makes no difference to a device."""
    return run_at_real_el2(build_payload("dma", TARGETS, CANARY), qemu_arguments=EDU_ARGUMENTS)


@pytest.fixture(
    scope="module",
    params=[(el2, level) for el2 in Kind for level in Level],
    ids=lambda param: f"{param[0].value}-{param[1].value}",
)
def dma(request: pytest.FixtureRequest, real: Report) -> Dma:
    el2, level = request.param
    image = build_payload("dma", TARGETS, CANARY, el2=el2)
    l0: list[Integrity] = []
    broken: list[str] = []
    written: list[bool] = []

    def prepare(vm: Vm) -> None:
        l0.append(Integrity(vm, CANARY))

    def examine(vm: Vm) -> None:
        broken.extend(l0[0].broken())
        written.append(ATTACK in vm.memory.read(L0_BASE, layout.l0_bytes(MEMORY_BYTES)))

    virtual = run_at_virtual_el2(
        image, el2=el2, nv=level, prepare=prepare, examine=examine, qemu_arguments=EDU_ARGUMENTS
    )
    return Dma(real, virtual, broken, written[0])


def test_dma_at_real_el2(dma: Dma) -> None:
    """The expectations in the payload are the machine's own behaviour."""
    require_success(dma.real)
    assert len(dma.real.lines) == 5 + 2 * len(TARGETS)


def test_dma_at_virtual_el2(dma: Dma) -> None:
    require_success(dma.virtual)


def test_dma_looks_the_same(dma: Dma) -> None:
    assert dma.virtual.lines == dma.real.lines


def test_dma_left_l0_as_it_was(dma: Dma) -> None:
    assert dma.broken == []
    assert not dma.is_written

"""The payloads at the machine's real EL2 and at virtual EL2: what they say must be the same."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

import pytest

from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.esr import EC
from vel2.arch.nesting import Kind, Level
from vel2.check.integrity import Integrity
from vel2.check.payloads import (
    PAYLOADS,
    Report,
    build_payload,
    declared,
    is_about_the_machine,
    run_at_real_el2,
    run_at_virtual_el2,
    undeclared,
)
from vel2.check.payloads.layout import ARENA, MEMORY_BYTES, RAM_BASE
from vel2.check.payloads.psci.main import ROUNDS
from vel2.control.regions import UART1_BASE
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp.state import PoolPage
from vel2.machine.config import DEFAULT_CPU

pytestmark = pytest.mark.qemu

L0_BASE = RAM_BASE + MEMORY_BYTES
HOLE = 0x3F00_0000
SMMU_BASE = 0x0905_0000
CANARY_PAGE = L0_BASE + layout.IMAGE_MAX_BYTES - 0x1000


def canonical_root() -> int:
    """Foretell where L0 puts the root of the canonical stage 2, of two pages for 40 bits.

    It follows the records of the pool's pages, of which EL2's own stage 1 takes two.
    """
    pages = layout.pool_bytes(MEMORY_BYTES) // layout.PAGE_BYTES - 2
    records = L0_BASE + layout.POOL_OFFSET + pages * PoolPage.size
    return -(-records // (2 * layout.PAGE_BYTES)) * 2 * layout.PAGE_BYTES


TARGETS = (
    L0_BASE,
    CANARY_PAGE,
    L0_BASE + layout.VM_OFFSET,
    L0_BASE + layout.PCPU_OFFSET + layout.VCPU_IN_PCPU,
    L0_BASE + layout.PCPU_OFFSET + layout.VNCR_IN_PCPU,
    L0_BASE + layout.GIC_OFFSET,
    canonical_root(),
    L0_BASE + layout.l0_bytes(MEMORY_BYTES) - 0x1000,
    UART1_BASE,
    SMMU_BASE,
    HOLE,
)
CANARY = ARENA | Stage2Leaf.compose(AF=1, SH=3, S2AP=3, MemAttr=0b1111, TYPE=1, VALID=1)


def tail(report: Report) -> str:
    """Give what a failed test should show."""
    shown = "\n".join(report.failures[:20] or report.lines[-20:])
    return f"{report.end}; {report.trouble}\n{shown}"


def require_success(report: Report) -> None:
    assert report.complete, tail(report)
    assert not report.failures, tail(report)


class Isolation(NamedTuple):
    """Both runs of the payload `isolation`, and what was broken in L0 afterwards."""

    real: Report
    virtual: Report
    broken: list[str]
    regions: list[tuple[int, int]]


@pytest.fixture(
    scope="module",
    params=[(el2, level) for el2 in Kind for level in Level],
    ids=lambda param: f"{param[0].value}-{param[1].value}",
)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """Run the payload once at each EL2, the virtual one by FEAT_NV2 and by FEAT_NV alone."""
    el2, level = request.param
    image = build_payload("isolation", TARGETS, CANARY, el2=el2)
    l0: list[Integrity] = []
    broken: list[str] = []
    regions: list[tuple[int, int]] = []

    def prepare(vm: Vm) -> None:
        assert vm.l0_base == L0_BASE
        assert L0_BASE + len(vm.image.data) <= CANARY_PAGE
        l0.append(Integrity(vm, CANARY))

    def examine(vm: Vm) -> None:
        assert vm.state.stage2.canonical.root == canonical_root()
        broken.extend(l0[0].broken())
        regions.extend(
            (vm.state.config.regions[i].base, vm.state.config.regions[i].length)
            for i in range(vm.state.config.region_count)
        )

    virtual = run_at_virtual_el2(image, el2=el2, nv=level, prepare=prepare, examine=examine)
    return Isolation(run_at_real_el2(image), virtual, broken, regions)


def test_isolation_at_real_el2(isolation: Isolation) -> None:
    """The expectations in the payload are the machine's own behaviour."""
    require_success(isolation.real)


def test_isolation_at_virtual_el2(isolation: Isolation) -> None:
    require_success(isolation.virtual)


def test_isolation_looks_the_same(isolation: Isolation) -> None:
    assert isolation.virtual.lines == isolation.real.lines


def test_isolation_left_l0_as_it_was(isolation: Isolation) -> None:
    """Whatever hardware could walk when L1 had every target mapped is in L1's memory map."""
    assert isolation.broken == []
    assert all(base + size <= L0_BASE or base > L0_BASE for base, size in isolation.regions)


class Both(NamedTuple):
    """One payload at each EL2."""

    name: str
    el2: Kind
    level: Level
    real: Report
    virtual: Report
    broken: list[str]
    """What was broken in L0 afterwards."""

    @property
    def declared(self) -> set[str]:
        """Name the checks that must fail at virtual EL2, on this machine."""
        return declared(self.name, self.el2, self.level, self.real.lines)


PLAIN = (
    *("classes", "debug", "exceptions", "features", "interrupts", "pmu", "pointers", "psci"),
    *("regime", "registers", "stage2", "survival"),
)
"""The payloads that need nothing from the host."""


class Real(NamedTuple):
    """One payload at real EL2."""

    name: str
    el2: Kind
    image: bytes
    report: Report


@pytest.fixture(
    scope="module",
    params=[(name, el2) for name in PLAIN for el2 in Kind],
    ids=lambda param: f"{param[0]}-{param[1].value}",
)
def real(request: pytest.FixtureRequest) -> Real:
    """Run each plain payload at real EL2, with HCR_EL2.E2H=1 and 0."""
    name, el2 = request.param
    image = build_payload(name, el2=el2)
    return Real(name, el2, image, run_at_real_el2(image, cpus=PAYLOADS[name].cpus))


@pytest.fixture(scope="module", params=list(Level), ids=lambda level: level.value)
def both(request: pytest.FixtureRequest, real: Real) -> Both:
    """Run it at virtual EL2 too, by FEAT_NV2 and by FEAT_NV alone."""
    l0: list[Integrity] = []
    broken: list[str] = []
    virtual = run_at_virtual_el2(
        real.image,
        nv=request.param,
        el2=real.el2,
        prepare=lambda vm: l0.append(Integrity(vm)),
        examine=lambda _: broken.extend(l0[0].broken()),
        cpus=PAYLOADS[real.name].cpus,
    )
    return Both(real.name, real.el2, request.param, real.report, virtual, broken)


def test_at_real_el2(real: Real) -> None:
    require_success(real.report)


def test_at_virtual_el2(both: Both) -> None:
    assert both.virtual.complete, tail(both.virtual)
    assert not undeclared(both.virtual.failures, both.declared), tail(both.virtual)
    assert len(both.virtual.failures) == len(both.declared), "a declared difference is gone"


def test_left_l0_as_it_was(both: Both) -> None:
    assert both.broken == []


def test_looks_the_same(both: Both) -> None:
    """Every syndrome, address and state the payload saw, line by line."""
    assert len(both.real.lines) > 20
    real, virtual = (comparable(both.declared, report) for report in (both.real, both.virtual))
    shown = "\n".join(difflib.unified_diff(real, virtual, "real", "virtual", n=0))
    assert not shown, shown


def comparable(skipped: set[str], report: Report) -> list[str]:
    """Give the lines without the count of failures and the checks that are declared to differ."""
    lines = [
        line
        for line in report.lines[:-1]
        if not skipped & set(line.split()[1:3]) and not is_about_the_machine(line)
    ]
    return [*lines, f"done {report.checks}"]


@pytest.mark.parametrize("level", list(Level), ids=lambda level: level.value)
@pytest.mark.parametrize("el2", list(Kind), ids=lambda el2: el2.value)
def test_a_guest_whose_pages_another_cpu_moves_sees_no_old_one(el2: Kind, level: Level) -> None:
    """Show payload `shared`: TLBIs of one CPU are in effect on the other, which runs the guest."""
    cpus = PAYLOADS["shared"].cpus
    image = build_payload("shared", el2=el2)
    require_success(run_at_real_el2(image, cpus=cpus))
    require_success(run_at_virtual_el2(image, el2=el2, nv=level, cpus=cpus))


def test_of_two_who_turn_a_cpu_on_one_succeeds() -> None:
    """Show DEN 0022's CPU_ON races, of which QEMU's own firmware lets everybody win."""
    image = build_payload("psci")
    virtual = run_at_virtual_el2(image, cpus=PAYLOADS["psci"].cpus)
    assert f"note race won={ROUNDS:#x}" in virtual.lines, tail(virtual)


CLASSES = {
    EC.UNKNOWN, EC.WFX, EC.CP15_32, EC.CP15_64, EC.CP14_32, EC.FP_ASIMD, EC.ILLEGAL_STATE,
    EC.SVC32, EC.SVC64, EC.HVC64, EC.SMC64, EC.SYS64, EC.FPAC, EC.IABT_LOWER, EC.IABT_SAME,
    EC.PC_ALIGN, EC.DABT_LOWER, EC.DABT_SAME, EC.BREAKPOINT_LOWER, EC.SOFTSTEP_LOWER,
    EC.WATCHPOINT_LOWER, EC.BKPT32, EC.BRK64,
}  # fmt: skip
"""What this machine takes to EL2. PAC, ERET, SVE, SME and MOPS are in payload `traps`; the others
of `EC` it does not have, or takes to EL1 alone."""


def test_every_class_is_raised() -> None:
    """Show that these payloads, which L0 survives, make EL2 take every class that it can."""
    seen: set[int] = set()
    for name in ("classes", "debug", "exceptions"):
        report = run_at_real_el2(build_payload(name))
        for line in report.lines:
            seen |= {int(esr, 16) >> 26 for esr in re.findall(r" esr=0x([0-9a-f]+)", line)}
    assert {int(ec) for ec in CLASSES} <= seen


NO_PMU = f"{DEFAULT_CPU},pmu=off"


def test_a_machine_without_a_pmu_shows_none() -> None:
    """Show that no PMU register exists for L1, although QEMU keeps two of them at real EL2."""
    image = build_payload("features")
    real, virtual = run_at_real_el2(image, cpu=NO_PMU), run_at_virtual_el2(image, cpu=NO_PMU)
    assert virtual.complete, tail(virtual)
    known = declared("features", Kind.VHE, Level.NV2, real.lines)
    assert not undeclared(virtual.failures, known), tail(virtual)
    assert {"ok pmcr_el0", "ok pmccntr_el0", "ok pmcr_el0 0x1"} <= set(virtual.lines)


def test_debug_on_a_machine_without_a_pmu() -> None:
    """Show that debug is as at real EL2: L0 itself touches no register of the PMU."""
    image = build_payload("debug")
    real, virtual = run_at_real_el2(image, cpu=NO_PMU), run_at_virtual_el2(image, cpu=NO_PMU)
    require_success(real)
    assert virtual.lines == real.lines


def test_a_payload_that_is_not_there() -> None:
    with pytest.raises(UserError, match="there is no payload nothing; give one of classes, debug"):
        build_payload("nothing")


def test_too_many_targets() -> None:
    with pytest.raises(UserError, match="17 targets are too many; give at most 16"):
        build_payload("isolation", [0] * 17)


def test_payloads_are_named() -> None:
    assert "isolation" in PAYLOADS

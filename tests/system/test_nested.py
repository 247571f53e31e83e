"""L1 gives L2 a virtual EL2 (FEAT_NV, FEAT_NV2): at real EL2 and at vel2's, the same."""

from __future__ import annotations

import difflib

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.check.integrity import Integrity
from vel2.check.payloads import (
    PAYLOADS,
    Report,
    build_payload,
    run_at_real_el2,
    run_at_virtual_el2,
)

pytestmark = pytest.mark.qemu

KINDS = [(el2, level) for el2 in Kind for level in Level]


def require_success(report: Report) -> None:
    assert report.complete, f"{report.end}; {report.trouble}\n{report.lines[-20:]}"
    assert not report.failures


@pytest.mark.parametrize(
    ("el2", "level"), KINDS, ids=[f"{el2.value}-{level.value}" for el2, level in KINDS]
)
def test_nested_looks_the_same(el2: Kind, level: Level) -> None:
    """Every syndrome, register and slot of the VNCR page that the payload saw, line by line."""
    image = build_payload("nested", el2=el2, nv=level)
    l0: list[Integrity] = []
    broken: list[str] = []
    real = run_at_real_el2(image)
    require_success(real)
    virtual = run_at_virtual_el2(
        image,
        el2=el2,
        nv=level,
        recursion=True,
        prepare=lambda vm: l0.append(Integrity(vm)),
        examine=lambda _: broken.extend(l0[0].broken()),
    )
    require_success(virtual)
    assert len(real.lines) > 2000
    assert not list(difflib.unified_diff(real.lines, virtual.lines, "real", "virtual", n=0))
    assert broken == []


@pytest.mark.parametrize("el2", list(Kind), ids=lambda el2: el2.value)
def test_guests_whose_vncr_pages_another_cpu_moves_see_no_old_ones(el2: Kind) -> None:
    """Payload `windows`: TLBIs of one CPU are in effect on three others, which run such guests."""
    image = build_payload("windows", el2=el2)
    cpus = PAYLOADS["windows"].cpus
    l0: list[Integrity] = []
    broken: list[str] = []
    require_success(run_at_real_el2(image, cpus=cpus))
    virtual = run_at_virtual_el2(
        image,
        el2=el2,
        recursion=True,
        prepare=lambda vm: l0.append(Integrity(vm)),
        examine=lambda _: broken.extend(l0[0].broken()),
        cpus=cpus,
    )
    require_success(virtual)
    assert broken == []


def test_without_recursion_l1_has_no_feat_nv() -> None:
    """Show that the bits of HCR_EL2 do nothing, as the identification register says."""
    virtual = run_at_virtual_el2(build_payload("nested", nv=Level.NV), nv=Level.NV)
    assert "not ok id_aa64mmfr2_el1 nv got=0x0 want=0x1" in virtual.lines
    traps = [line for line in virtual.lines if line.startswith("saw hcr_el2 0x40000000000 ")]
    assert len(traps) == 2
    assert all("esr_el1=0x2000000 " in line for line in traps)

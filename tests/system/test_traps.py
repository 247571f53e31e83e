"""Payload `traps`: every access by every trap control, virtual EL2 held to real EL2."""

from __future__ import annotations

import functools

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.check.payloads import build_payload, run_at_real_el2, run_at_virtual_el2
from vel2.check.payloads.runner import Report
from vel2.check.payloads.traps.report import EXCEPTIONS, Judgement, Outcomes, judge, omits
from vel2.check.payloads.traps.rows import compare_rows

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1500)]

LIMIT_S = 600.0
COMBINATIONS = [
    pytest.param(Kind.VHE, Level.NV2, id="vhe-nv2"),
    pytest.param(Kind.NVHE, Level.NV, id="nvhe-nv"),
    pytest.param(Kind.VHE, Level.NV, id="vhe-nv", marks=pytest.mark.slow),
    pytest.param(Kind.NVHE, Level.NV2, id="nvhe-nv2", marks=pytest.mark.slow),
]


def outcomes(report: Report) -> Outcomes:
    """Read a complete report."""
    assert report.complete, (report.end, report.trouble, report.lines[-5:])
    return Outcomes.of(report)


@functools.cache
def at_real_el2(el2: Kind) -> Outcomes:
    return outcomes(run_at_real_el2(build_payload("traps", el2=el2), timeout=LIMIT_S))


@functools.cache
def judgement(el2: Kind, level: Level) -> Judgement:
    image = build_payload("traps", el2=el2)
    virtual = outcomes(run_at_virtual_el2(image, el2=el2, nv=level, timeout=LIMIT_S))
    return judge(at_real_el2(el2), virtual, e2h=int(el2 is Kind.VHE))


@pytest.mark.parametrize(("el2", "level"), COMBINATIONS)
def test_every_access_ends_as_at_real_el2(el2: Kind, level: Level) -> None:
    """By its vector and its whole syndrome, under each control of L1 set by itself."""
    found = judgement(el2, level)
    shown = "\n".join(str(difference) for difference in found.differences[:40])
    assert not found.differences, f"{len(found.differences)} of {found.compared}:\n{shown}"
    assert found.compared > 2_000_000
    assert found.trapped > 1_500


@pytest.mark.slow
def test_every_exception_is_needed() -> None:
    """A row that explains nothing any more is to be deleted."""
    used: set[int] = set()
    for el2 in Kind:
        for level in Level:
            used |= judgement(el2, level).used
    idle = [
        row.reason
        for number, row in enumerate(EXCEPTIONS)
        if number not in used
        and not (row.omitted and not any(omits(at_real_el2(el2), row) for el2 in Kind))
    ]
    assert not idle, f"delete what is not needed: {idle}"


@pytest.mark.parametrize("el2", list(Kind), ids=lambda el2: el2.value)
def test_the_table_of_controls_is_what_real_el2_does(el2: Kind) -> None:
    """Every trap QEMU takes has a row in `arch`; it takes every row's, but for `OMISSIONS`."""
    agreed, differences = compare_rows(at_real_el2(el2), int(el2 is Kind.VHE))
    assert not differences, "\n".join(str(difference) for difference in differences[:40])
    assert agreed > 1_000

"""What `vel2 run` says when a guest and its machine do not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.cli.hints import KvmMode, check_without_vhe, domains_hint
from vel2.errors import UserError
from vel2.machine.console import Line
from vel2.machine.domains import DOM0, Domain

XEN: Any = SimpleNamespace(data=b"..xen,domain\0..")
LINUX: Any = SimpleNamespace(data=b"..Linux..")
NEEDS_E2H_0 = (
    "where HCR_EL2.E2H is RES1 (--el2 vhe --nv nv2) KVM cannot leave VHE; give --el2 nvhe, or"
    " --nv nv."
)


def told(capsys: pytest.CaptureFixture[str], append: str, *modes: str) -> str:
    """Give what a user is told about the modes that a kernel with this command line names."""
    listener = KvmMode(append)
    for mode in modes:
        listener(Line(0.0, "[    0.1] kvm [1]: vgic interrupt IRQ9"))
        listener(Line(0.0, f"[    1.93] kvm [1]: {mode} mode initialized successfully"))
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("append", "mode", "why"),
    [
        ("kvm-arm.mode=nvhe", "VHE", NEEDS_E2H_0),
        (
            "quiet kvm-arm.mode=protected job=l2",
            "VHE",
            f"{NEEDS_E2H_0} Linux 6.12 and newer need not leave it.",
        ),
        (
            "kvm-arm.mode=nested",
            "Hyp nVHE",
            "L1 was offered no FEAT_NV2 for guest hypervisors of its own.",
        ),
    ],
)
def test_a_mode_that_kvm_did_not_get(
    append: str, mode: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = append.split("mode=")[1].split()[0]
    said = told(capsys, append, mode, mode)
    assert (
        said
        == f"vel2: kvm-arm.mode={asked} was asked for, and KVM says its mode is {mode}: {why}\n"
    )


@pytest.mark.parametrize(
    ("append", "mode"),
    [
        ("kvm-arm.mode=nvhe", "Hyp nVHE"),
        ("kvm-arm.mode=nvhe", "Hyp"),
        ("kvm-arm.mode=protected", "Protected hVHE"),
        ("kvm-arm.mode=protected", "Protected nVHE"),
        ("kvm-arm.mode=nested", "VHE+NV2"),
        ("kvm-arm.mode=none", "VHE"),
        ("kvm-arm.mode=nvhe kvm-arm.mode=none", "VHE"),
        ("xkvm-arm.mode=nvhe", "VHE"),
        ("console=ttyAMA0", "VHE"),
    ],
)
def test_a_mode_that_is_as_asked_for(
    append: str, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, append, mode) == ""


def test_xen_is_refused_where_it_would_hang() -> None:
    for el2, nv in ((Kind.NVHE, Level.NV2), (Kind.VHE, Level.NV), (Kind.NVHE, Level.NV)):
        check_without_vhe(XEN, el2, nv)
    check_without_vhe(LINUX, Kind.VHE, Level.NV2)
    with pytest.raises(UserError, match=r"give --el2 nvhe \(or --nv nv"):
        check_without_vhe(XEN, Kind.VHE, Level.NV2)


def test_domains_go_with_xen() -> None:
    dom0 = Domain(DOM0, b"kernel")
    assert domains_hint(XEN, [dom0]) == domains_hint(LINUX, []) == ""
    assert domains_hint(XEN, []).startswith("Xen has no domain to start and will panic; give ")
    assert "Linux takes no notice of domains" in domains_hint(LINUX, [dom0])

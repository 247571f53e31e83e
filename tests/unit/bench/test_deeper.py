"""L3, and vel2 in vel2, in `vel2 bench`: what runs on what, without a machine."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.bench.test_peer import HVC, MARK, USER_SPACE, taken
from vel2.arch.nesting import Kind, Level
from vel2.bench import guest, system, targets, traplog
from vel2.bench.configuration import CONFIGURATIONS, nested_deeper
from vel2.bench.guest import L1Guest, stacked
from vel2.bench.measure import Figures
from vel2.bench.operations import operation_names
from vel2.bench.result import add_comparisons, measured_column
from vel2.cli.main import vel2
from vel2.control.guest import Kernel
from vel2.errors import UserError
from vel2.machine.loader import KernelImage
from vel2.pack.nested import Nested

KVM, LINUX = (KernelImage(b"", 0, 0, "Image", version=version) for version in ("7.3.4", "6.12.1"))
L1 = L1Guest(LINUX, b"initrd", "console=ttyAMA0 quiet", "1000 1", memory_bytes=1 << 30)


@pytest.fixture
def below(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Give what each Linux that gives a virtual EL2 is told, from the innermost out."""
    told: list[tuple[Any, ...]] = []

    def kvm_initrd(
        el2: Kind, kernel: KernelImage, initrd: bytes, bootargs: str, size: int, cpus: int
    ) -> bytes:
        told.append((el2, kernel.version, bootargs, size >> 20, cpus))
        return b"with " + initrd

    monkeypatch.setattr(guest, "kvm_initrd", kvm_initrd)
    monkeypatch.setattr(guest, "kvm_kernel", lambda: KVM)
    return told


WITH_ARGUMENTS = "console=ttyAMA0 quiet -- 1000 1"
OF_KVM = "console=ttyAMA0 quiet panic=-1 cryptomgr.notests=1 kvm-arm.mode=nested"
INNER_VHE = (Kind.VHE, "6.12.1", WITH_ARGUMENTS, 1024, 1)
INNER_NVHE = (Kind.NVHE, "6.12.1", WITH_ARGUMENTS, 1024, 1)
NESTING = (Kind.VHE, "7.3.4", OF_KVM, 1536, 1)


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("native", 2, []),
        ("vhe-nv2", 2, []),
        ("kvm-vhe", 2, [INNER_VHE]),
        ("kvm-nvhe", 2, [INNER_NVHE]),
        # The same guests without an L0, on vel2, and on KVM.
        ("native", 3, [INNER_VHE]),
        ("native-nvhe", 3, [INNER_NVHE]),
        ("vhe-nv2", 3, [INNER_VHE]),
        ("nvhe-nv2", 3, [INNER_NVHE]),
        ("kvm-vhe", 3, [INNER_VHE, NESTING]),
    ],
)
def test_what_runs_on_what(
    name: str, level: int, expected: list[tuple[Any, ...]], below: list[tuple[Any, ...]]
) -> None:
    row = replace(CONFIGURATIONS[name], level=level)
    outermost, el2 = stacked(row, L1)
    assert below == expected
    assert outermost.initrd == b"with " * len(expected) + b"initrd"
    assert outermost.memory_bytes >> 20 == 1024 + 512 * len(expected)
    assert el2 is (Kind.VHE if expected else row.el2)


def test_only_at_real_el2_linux_is_told_not_to_be_vhe(below: list[tuple[Any, ...]]) -> None:
    assert stacked(CONFIGURATIONS["native-nvhe"], L1)[0].command_line == (
        "console=ttyAMA0 quiet kvm-arm.mode=nvhe -- 1000 1"
    )


def test_l1_nests_by_vel2s_recursion(below: list[tuple[Any, ...]]) -> None:
    def request_of(name: str, **more: int) -> system.Request:
        return system.request_of(replace(CONFIGURATIONS[name], **more), L1, True, ())

    request = request_of("nvhe-nv2", level=3)
    assert (request.recursion, request.el2, request.native) == (True, Kind.VHE, False)
    assert isinstance(request.guest, Kernel) and request.guest.image is KVM
    assert not request_of("vhe-nv2").recursion
    assert request_of("kvm-vhe", level=3).native and not request_of("kvm-vhe", level=3).recursion


def test_a_hypervisor_in_vel2_in_vel2() -> None:
    request = system.request_of(replace(CONFIGURATIONS["vhe-nv"], depth=3), L1, True, ())
    middle = request.guest
    assert isinstance(middle, Nested) and isinstance(middle.guest, Nested)
    assert (middle.guest.el2, middle.guest.nv) == (Kind.VHE, Level.NV)
    assert isinstance(middle.guest.guest, Kernel) and request.deterministic


def test_what_cannot_be_measured_at_l3() -> None:
    rows, lacking = nested_deeper(tuple(CONFIGURATIONS.values()), 3, 1)
    assert [row.name for row in rows] == [
        *("native", "native-nvhe", "vhe-nv2", "nvhe-nv2", "kvm-vhe"),
    ]
    assert list(lacking) == ["vhe-nv", "nvhe-nv", "kvm-nvhe"]
    with pytest.raises(UserError, match=r"^L3 cannot be measured there: .* FEAT_NV2 only\.$"):
        nested_deeper([CONFIGURATIONS["vhe-nv"]], 3, 1)


def test_depth_is_vel2s_own() -> None:
    rows, _ = nested_deeper([CONFIGURATIONS[name] for name in ("native", "vhe-nv")], 2, 3)
    assert [row.depth for row in rows] == [1, 3]


def test_both_at_once_are_refused() -> None:
    result = CliRunner().invoke(vel2, ["bench", "--level", "3", "--depth", "2"])
    assert (result.exit_code, result.stderr) == (
        2,
        "vel2: --level and --depth contradict each other; leave one of them out.\n",
    )


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "depth", "at_least", "has_targets"),
    [(2, 1, 12, True), (3, 1, 10, False), (2, 2, None, False)],
)
def test_targets_are_for_their_level(
    level: int, depth: int, at_least: int | None, has_targets: bool
) -> None:
    made = {
        name: measured_column({"hypercall": Figures(1, ticks)}, True)
        for name, ticks in (("vhe-nv2", 2_000), ("kvm-vhe", 23_000))
    }
    names = ("vhe-nv2", "kvm-vhe")
    rows, _ = nested_deeper([CONFIGURATIONS[name] for name in names], level, depth)
    add_comparisons(made, {row.name: row for row in rows})
    cell = made["vhe-nv2"]["operations"]["hypercall"]
    assert cell["peer"]["at_least"] == at_least
    assert cell["peer"]["met"] == (None if at_least is None else at_least < 11.5)
    assert [cell[key] is not None for key in ("must", "aims", "kvm_as_l0")] == [has_targets] * 3


def test_targets_name_operations() -> None:
    for name, row in targets.AT_LEAST_FOR_L3.items():
        assert CONFIGURATIONS[name].nv is not None and set(row) <= set(operation_names())


# --- the log of exceptions ----------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_a_log_begins_with_its_first_mark(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the log comes in pieces, nothing behind the mark is lost."""
    monkeypatch.setattr(traplog, "READ_BYTES", block)
    boot = (USER_SPACE + taken("Hypervisor Call", 1, 2, HVC)) * 3
    measured = (taken("Hypervisor Call", 1, 2, HVC) + MARK) * 2
    log = io.BufferedReader(io.BytesIO((boot + MARK + measured).encode()), block)  # type: ignore[arg-type]
    lines = b"".join(traplog.from_first_mark(log)).decode()
    assert lines == MARK[MARK.index("...handling") :] + measured


def test_a_log_without_a_mark_has_nothing() -> None:
    log = io.BufferedReader(io.BytesIO(USER_SPACE.encode()))  # type: ignore[arg-type]
    assert list(traplog.from_first_mark(log)) == []

"""The growth curves without a machine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from vel2.bench.campaign import Runs
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.growth import measure as growth_measure
from vel2.bench.growth.guest import build_growth_guest
from vel2.bench.growth.measure import GrowthRequest, curves_tree, growth_guest, measure_growth
from vel2.bench.growth.points import CURVES, DEPTH_POINTS, NAMES, POINTS, VCPUS_POINTS
from vel2.bench.growth.program import EXITS_AFTER, build_growth_program
from vel2.bench.layout import MAX_OPERATIONS
from vel2.bench.macro_result import add_ratios, macro_column
from vel2.bench.measure import Figures, MicroRequest
from vel2.bench.parts import Part
from vel2.cli.bench.growth import print_growth, print_held
from vel2.cli.terminal import Terminal
from vel2.control.locks import LockTime
from vel2.guests.l2board import IMAGE_BASE, STATE
from vel2.machine.loader import KernelImage

KERNEL = KernelImage(b"kernel", 0, 6, "Image")

DEPTHS = [point.name for point in DEPTH_POINTS]
ALL = [*NAMES, *(point.name for point in VCPUS_POINTS)]


def test_points() -> None:
    assert len(set(NAMES)) == len(NAMES) <= MAX_OPERATIONS
    for curve in CURVES:
        assert list(curve.points) == sorted(set(curve.points))
    # What is measured after each piece of memory belongs to the same amount of it.
    for x, index in EXITS_AFTER.items():
        assert POINTS[index].name == f"memory_exit.{x}"
    for depth, points in ((1, []), (2, DEPTHS[:2]), (3, DEPTHS), (4, DEPTHS)):
        tree = curves_tree(depth)
        expected = [*ALL, *points]
        assert [p["operation"] for curve in tree.values() for p in curve["points"]] == expected


def test_the_curve_over_depth_is_vel2s(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a boot for each depth, and none where vel2 is not L0 or there is one only."""
    booted: list[int] = []

    def measure(request: MicroRequest) -> dict[str, Figures]:
        booted.append(request.configuration.depth)
        return {name: Figures(10, 1000) for name in request.payload.selected}

    monkeypatch.setattr(growth_measure, "measure", measure)
    monkeypatch.setattr(growth_measure, "measure_parts", lambda *arguments: {})
    monkeypatch.setattr(growth_measure, "growth_guest", lambda request: None)
    for name, depth, depths in (("vhe-nv", 3, [1, 2, 3]), ("vhe-nv", 1, []), ("native", 3, [])):
        booted.clear()
        found = measure_growth(GrowthRequest(CONFIGURATIONS[name], KERNEL, 10, True, depth=depth))
        assert booted[len(VCPUS_POINTS) :] == depths
        assert list(found)[len(VCPUS_POINTS) :] == [f"depth.{x}" for x in depths]


def test_the_guests_are_in_l1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"busybox")
    monkeypatch.setattr("vel2.guests.recipes.busybox", lambda: busybox)
    guest = growth_guest(GrowthRequest(CONFIGURATIONS["native"], KERNEL, 7, deterministic=False))
    assert guest.init_arguments == "7 0"
    assert build_growth_program() in guest.initrd and build_growth_guest() in guest.initrd
    assert IMAGE_BASE + len(build_growth_guest()) < STATE


def test_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    columns = {
        "native": macro_column(Runs({name: Part(10, 1000) for name in ALL}, [])),
        "vhe-nv2": macro_column(Runs({name: Part(10, 1500) for name in ALL}, [])),
    }
    add_ratios(columns, CONFIGURATIONS)
    terminal = Terminal()
    terminal.file = text = io.StringIO()
    print_growth(terminal, columns)
    lines = text.getvalue().splitlines()
    rows = [line.split() for line in lines]
    assert rows.count(["16", "100", "150", "(1.50)"]) == 2, "both curves over memory"
    assert "guests: one exit to user space" in (line.strip() for line in lines)
    assert "depth: one hypercall" not in (line.strip() for line in lines)


def test_a_table_has_the_points_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth is vel2's own: other columns have nothing there, and that is no failure."""
    monkeypatch.setenv("COLUMNS", "100")
    columns = {
        "native": macro_column(Runs({name: Part(10, 1000) for name in ALL}, [])),
        "vhe-nv2": macro_column(Runs({name: Part(10, 1500) for name in ALL + DEPTHS[:2]}, [])),
        "vhe-nv": {"error": "L1 did not get to its end", "operations": {}},
    }
    add_ratios(columns, CONFIGURATIONS)
    terminal = Terminal()
    terminal.file = text = io.StringIO()
    print_growth(terminal, columns)
    lines = [line.split() for line in text.getvalue().splitlines()]
    table = lines[lines.index(["depth:", "one", "hypercall"]) :]
    assert ["1", "-", "150", "failed"] in table and ["2", "-", "150", "failed"] in table
    assert not any(line[:1] == ["3"] for line in table)


def test_the_table_of_locks() -> None:
    locks = (LockTime("stage2", 1200, 3_000_000, 9_500), LockTime("vncr", 7, 1_000, 500))
    parts = {point.name: Part(10, 1500, locks=locks) for point in VCPUS_POINTS[:1]}
    columns = {
        "native": macro_column(Runs({VCPUS_POINTS[0].name: Part(10, 1000)}, [])),
        "vhe-nv2": macro_column(Runs(parts, [])),
    }
    assert columns["native"]["operations"]["vcpus.1"]["locks"] == {}
    terminal = Terminal()
    terminal.file = text = io.StringIO()
    print_held(terminal, columns)
    rows = [line.split() for line in text.getvalue().splitlines()]
    stage2 = ["vhe-nv2", "stage2", "1", "1,200", "3,000.0", "us", "9.5", "us"]
    assert stage2 in rows
    assert [row[1] for row in rows if row[:1] == ["vhe-nv2"]] == ["stage2", "vncr"]

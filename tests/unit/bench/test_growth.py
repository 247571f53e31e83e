"""The growth curves without a machine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from vel2.bench.campaign import Runs
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.growth.guest import build_growth_guest
from vel2.bench.growth.measure import GrowthRequest, curves_tree, growth_guest
from vel2.bench.growth.points import CURVES, NAMES, POINTS, VCPUS_POINTS
from vel2.bench.growth.program import EXITS_AFTER, build_growth_program
from vel2.bench.layout import MAX_OPERATIONS
from vel2.bench.macro_result import add_ratios, macro_column
from vel2.bench.parts import Part
from vel2.cli.bench.growth import print_growth, print_held
from vel2.cli.terminal import Terminal
from vel2.control.locks import LockTime
from vel2.guests.l2board import IMAGE_BASE, STATE
from vel2.machine.loader import KernelImage

KERNEL = KernelImage(b"kernel", 0, 6, "Image")

ALL = [*NAMES, *(point.name for point in VCPUS_POINTS)]


def test_points() -> None:
    assert len(set(NAMES)) == len(NAMES) <= MAX_OPERATIONS
    for curve in CURVES:
        assert list(curve.points) == sorted(set(curve.points))
    # What is measured after each piece of memory belongs to the same amount of it.
    for x, index in EXITS_AFTER.items():
        assert POINTS[index].name == f"memory_exit.{x}"
    tree = curves_tree()
    assert [point["operation"] for curve in tree.values() for point in curve["points"]] == ALL


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

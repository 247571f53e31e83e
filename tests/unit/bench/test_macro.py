"""The macro benchmarks without a machine: marks, console, ratios, options."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from vel2.arch.esr import EC
from vel2.bench.campaign import Campaign, Clock, Runs
from vel2.bench.configuration import CONFIGURATIONS, Configuration
from vel2.bench.counts import Snapshot
from vel2.bench.layout import Mark
from vel2.bench.macro import MacroRequest, macro_guest
from vel2.bench.macro_result import TARGETS, add_ratios, is_met, macro_column
from vel2.bench.parts import Part, collect_parts, follow_parts
from vel2.bench.program import PARTS, build_program
from vel2.bench.system import MeasureError
from vel2.bench.userspace import BEGIN, END
from vel2.bench.workloads import WORKLOADS
from vel2.cli.main import vel2
from vel2.guests.initramfs import read_cpio
from vel2.hyp.state import CONTEXT_VEL1, Vcpu
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage
from vel2.machine.outcome import ExitReason, MachineExit

POWERED_OFF = MachineExit(ExitReason.SHUTDOWN, "", 0, 1.0)
KERNEL = KernelImage(b"kernel", 0, 6, "Image")
ROWS = [CONFIGURATIONS[name] for name in ("native", "vhe-nv2", "vhe-nv")]


def campaign(clock: Clock) -> Campaign:
    """Give one of two configurations."""
    return Campaign({}, "6.12", KERNEL, ROWS[:2], clock, count=7, timeout=1.0)


def mark(part: str, number: int, count: int = 1, ticks: int = 0) -> Mark:
    made = Mark()
    made.operation, made.round, made.count, made.ticks = PARTS.index(part), number, count, ticks
    return made


def test_an_nvhe_l1_is_compared_with_one_at_real_el2() -> None:
    costs = {"native": 10, "native-nvhe": 20, "nvhe-nv2": 60}
    columns = {
        name: macro_column(Runs({"l1.boot": Part(1, cost)}, [{"l1.boot": Part(1, cost)}]))
        for name, cost in costs.items()
    }
    add_ratios(columns, CONFIGURATIONS)
    cell = columns["nvhe-nv2"]["operations"]["l1.boot"]
    assert (cell["ratio_to_native"], cell["host_ratio_to_native"]) == (3.0, 3.0)
    assert columns["nvhe-nv2"]["base"] == "native-nvhe"
    assert columns["native-nvhe"]["operations"]["l1.boot"]["ratio_to_native"] is None


def test_parts() -> None:
    assert len(set(PARTS)) == len(PARTS) == 2 * (len(WORKLOADS) + 1)
    assert set(TARGETS) <= set(PARTS)
    assert build_program().startswith(b"\x7fELF")


def test_a_beginning_and_an_end_make_a_part() -> None:
    vcpu = Vcpu()
    hvc = CONTEXT_VEL1 * 64 + EC.HVC64

    def marks() -> Iterator[Mark]:
        vcpu.counters.by_ec[hvc] = 7
        yield mark("l1.boot", END, 1, 900)
        yield mark("l2.boot", BEGIN)
        vcpu.counters.by_ec[hvc] = 10
        yield mark("l2.boot", END, 1, 500)

    found = dict(follow_parts(marks(), lambda: Snapshot.take(vcpu), PARTS))
    assert list(found) == ["l1.boot", "l2.boot"]
    assert [part.ticks for part in found.values()] == [900, 500]
    # What no mark begins began with the machine.
    assert [part.traps and part.traps.by_kind for part in found.values()] == [
        {"HVC64 vEL1": 7},
        {"HVC64 vEL1": 3},
    ]


def printed(parts: dict[str, str]) -> Console:
    console = Console()
    for name, figures in parts.items():
        prefix = "L2| " if name.startswith("l2") else ""
        console.feed(f"{prefix}result {name} {figures}\r\n".encode())
    return console


def test_what_is_printed_and_what_is_seen_have_to_agree() -> None:
    seen = {name: Part(2, 30) for name in PARTS}
    lines = dict.fromkeys(PARTS, "2 30 4")
    parts = collect_parts(printed(lines), POWERED_OFF, PARTS, seen, "L2")
    assert list(parts) == list(PARTS)
    assert parts["l2.fork"] == Part(2, 30, None, 4)
    lines["l2.fork"] = f"2 30 {(1 << 64) - 1}"
    assert collect_parts(printed(lines), POWERED_OFF, PARTS, None, "L2")["l2.fork"].l1_exits is None
    lines["l2.fork"] = "2 31 4"
    said = r"l2\.fork was seen other than reported: 2 in 30 ticks, reported as 2 in 31\."
    with pytest.raises(MeasureError, match=said):
        collect_parts(printed(lines), POWERED_OFF, PARTS, seen, "L2")
    without = {name: part for name, part in seen.items() if name != "l2.fork"}
    with pytest.raises(MeasureError, match=r"l2\.fork was reported and not seen\."):
        collect_parts(printed(lines), POWERED_OFF, PARTS, without, "L2")
    del lines["l2.fork"]
    with pytest.raises(MeasureError, match="L2 did not get to its end: the guest powered off"):
        collect_parts(printed(lines), POWERED_OFF, PARTS, seen, "L2")
    with pytest.raises(MeasureError, match="L1 did not get to its end"):
        collect_parts(printed(lines), POWERED_OFF, PARTS, {}, "L1")


def test_ratios_are_taken_in_turn() -> None:
    def runs(ticks: int, *times: int) -> Runs:
        return Runs({"l1.boot": Part(1, ticks)}, [{"l1.boot": Part(1, time)} for time in times])

    columns = {
        "native": macro_column(runs(1000, 10, 20, 40)),
        "vhe-nv2": macro_column(runs(1100, 13, 24, 44)),
        "vhe-nv": macro_column(Runs({"l1.boot": Part(1, 1300)}, [])),
    }
    add_ratios(columns, CONFIGURATIONS)
    native, nv2, nv = (column["operations"]["l1.boot"] for column in columns.values())
    assert native["ratio_to_native"] is native["host_ratio_to_native"] is native["target"] is None
    assert nv2["ratio_to_native"] == 1.1
    # 1.3, 1.2 and 1.1: not the ratio of the medians, 24 / 20, by accident the same here.
    assert nv2["host_ratio_to_native"] == 1.2
    assert nv2["target"] == {"ratio": 1.15, "met": True, "host_ratio": 1.15, "host_met": False}
    assert (nv["ratio_to_native"], nv["host_ns_per_op"], nv["target"]) == (1.3, None, None)


def test_met() -> None:
    assert (is_met(1.3, 1.3), is_met(1.3, 1.31), is_met(None, 1.0), is_met(1.3, None)) == (
        True,
        False,
        None,
        None,
    )


def test_configurations_take_turns() -> None:
    order = [(row.name, counts) for row, counts in campaign(Clock(True, 2)).turns()]
    assert order == [
        ("native", True),
        ("vhe-nv2", True),
        *[("native", False), ("vhe-nv2", False)] * 2,
    ]
    assert not any(counts for _, counts in campaign(Clock(False, 1)).turns())


@pytest.mark.parametrize(
    ("clock", "name"),
    [(Clock(), "instructions"), (Clock(True, 1), "both"), (Clock(False, 3), "host")],
)
def test_the_result_says_what_it_was_measured_by(clock: Clock, name: str) -> None:
    about = campaign(clock).about()
    assert (about["clock"], about["rounds"], about["n"]) == (name, clock.rounds, 7)
    assert (about["ahead"], about["kvm_l0_kernel"]) == (True, None)
    slow = replace(campaign(clock), configurations=[replace(ROWS[1], ahead=False)])
    assert slow.about()["ahead"] is False


def test_the_program_is_process_1_of_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"busybox")
    monkeypatch.setattr("vel2.guests.recipes.busybox", lambda: busybox)
    request = MacroRequest(ROWS[0], KERNEL, KERNEL, 10)
    guest = macro_guest(request)
    assert guest.init_arguments == "1 10 1 1"
    assert "transparent_hugepage=never" in guest.bootargs
    assert guest.initrd.count(build_program()) == 2
    huge = macro_guest(replace(request, huge_pages=True, deterministic=False))
    assert huge.init_arguments == "1 10 0 1"
    assert "hugepage" not in huge.bootargs


def test_both_levels_have_as_many_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"busybox")
    monkeypatch.setattr("vel2.guests.recipes.busybox", lambda: busybox)
    guest = macro_guest(MacroRequest(ROWS[0], KERNEL, KERNEL, 10, cpus=4))
    assert (guest.cpus, guest.init_arguments) == (4, "1 10 1 4"), "the last is for the VMM"
    tree = read_cpio(guest.initrd)
    assert tree["l2/cpus"].data == b"4\n"
    assert b" -- 2 10 1 4\0" in tree["l2/dtb"].data


def test_one_that_fails_leaves_the_others_theirs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vel2")
    tried: list[str] = []

    def run(row: Configuration, counts: bool) -> dict[str, Part]:
        tried.append(row.name)
        if row.name == "vhe-nv2":
            raise MeasureError("it failed", 4)
        return {"l1.boot": Part(1, 10)}

    started = campaign(Clock(True, 1))
    result = started.result(started.measure(run), macro_column, curves={})
    assert (tried, result.code) == (["native", "vhe-nv2", "native"], 4)
    assert list(result.tree)[-2:] == ["curves", "configurations"]
    columns = result.tree["configurations"]
    assert columns["vhe-nv2"] == {"error": "it failed", "operations": {}}
    assert columns["native"]["operations"]["l1.boot"]["host_ns_per_op"] == 10
    assert caplog.messages == [
        "measuring native, counting instructions (1 of 4)",
        "measuring vhe-nv2, counting instructions (2 of 4)",
        "vhe-nv2: it failed",
        "measuring native, by host time (3 of 4)",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["macro", "--n", "0"], "this cannot be done 0 times; give 1 to 3000."),
        (["growth", "--n", "100001"], "this cannot be done 100001 times; give 1 to 100000."),
        (
            ["--only", "remote_sgi"],
            "remote_sgi cannot be measured: it takes 2 vCPUs; give --smp 2 or more.",
        ),
    ],
)
def test_bad_options(options: list[str], said: str) -> None:
    result = CliRunner().invoke(vel2, ["bench", *options])
    assert (result.exit_code, result.stderr) == (2, f"vel2: {said}\n")

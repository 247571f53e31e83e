"""A demo that is recorded: its events are those that L0 counted, and everything reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from vel2.cli.exits import ExitCode
from vel2.control.traced import names_of
from vel2.report.summary import Summary, summarize
from vel2.trace.exits import exits_of
from vel2.trace.recording import Recording
from vel2.trace.schema import Kind

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(4 * LIMIT_S)]

VEL2 = Path(sys.executable).parent / "vel2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo once, with all that can be kept of it."""
    folder = tmp_path_factory.mktemp("recorded")
    options = ("--memory", "512M", "--quiet", "--json", "demo.json")
    kept = ("--trace", "demo.trace", "--report", "demo.html")
    done = subprocess.run(
        [VEL2, "demo", *options, *kept], cwd=folder, capture_output=True, timeout=2 * LIMIT_S
    )
    assert done.returncode == ExitCode.OK, done.stderr
    return folder


@pytest.fixture(scope="module")
def trace(folder: Path) -> Recording:
    return Recording.open(folder / "demo.trace")


@pytest.fixture(scope="module")
def summary(trace: Recording) -> Summary:
    return summarize(trace, names_of(trace, {}))


def test_every_trap_that_l0_counted_is_there(
    trace: Recording, summary: Summary, folder: Path
) -> None:
    assert trace.caveat == ""
    assert trace.end is not None
    counted = json.loads((folder / "demo.json").read_text())["traps"]
    found: dict[str, int] = {}
    for (name, _), tally in summary.classes.items():
        found[name] = found.get(name, 0) + tally.count
    wanted = {kind.split()[-1]: count for kind, count in counted["by_ec"].items()}
    assert found == wanted
    registers: dict[str, int] = {}
    for (name, _), tally in summary.registers.items():
        registers[name] = registers.get(name, 0) + tally.count
    assert registers == counted["by_sysreg"]


def test_events_are_in_order_and_none_is_missing(trace: Recording) -> None:
    last = -1
    for number, event in enumerate(trace.events()):
        assert event.sequence == number
        if event.kind == Kind.TRAP:
            assert event.began <= event.ended
            assert event.began >= last
            last = event.ended


def test_functions_are_those_of_kvm_and_linux(summary: Summary) -> None:
    names = {
        level: {name for at, name in summary.functions if at == level} for level in ("L1", "L2")
    }
    assert {"kvm_arch_vcpu_ioctl_run", "__kvm_vcpu_run_vhe", "__guest_enter"} & names["L1"]
    assert {"mem_serial_out"} <= names["L2"]
    unnamed = summary.functions["L1", "(unnamed)"].count if "(unnamed)" in names["L1"] else 0
    assert unnamed < summary.traps / 10


def test_each_exit_ends_at_an_entry(trace: Recording, summary: Summary) -> None:
    found = list(exits_of(trace.events()))
    open_ended = [each for each in found if each.entry is None]
    assert len(open_ended) <= 1
    assert sum(each.count for each in summary.exits.values()) == len(found) - len(open_ended)
    assert all(each.l0 <= each.ticks for each in found if each.entry)
    # With FEAT_NV2 L1's ERET is all that has to trap.
    calls = [each.traps for each in found if each.cause == "hypercall" and each.entry]
    assert min(calls) == 1


def test_the_page_is_about_this_run(folder: Path, summary: Summary) -> None:
    page = (folder / "demo.html").read_text()
    assert f"{summary.traps:,} traps to L0" in page
    assert "vel2 demo --memory 512M --quiet" in page
    assert "HCR_EL2.NV: an ERET at vEL2 enters a guest or returns" in page
    assert "mem_serial_out" in page


def test_sql_agrees(folder: Path, summary: Summary) -> None:
    done = subprocess.run(
        [
            VEL2,
            "trace",
            "query",
            "demo.trace",
            "select sum(count) n from counts",
            "--format",
            "csv",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stdout == f"n\n{summary.traps}\n"


def test_without_vel2_there_is_nothing_to_record(tmp_path: Path) -> None:
    (tmp_path / "code").write_bytes(bytes(4))
    at = "0x40080000"
    command = [VEL2, "run", "--native", "--load", f"code@{at}", "--entry", at, "--trace", "t"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.endswith(
        "vel2: --trace is of what L0 does, and with --native there is none.\n"
    )

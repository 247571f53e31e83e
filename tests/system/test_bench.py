"""`vel2 bench` as a user starts it, with few repetitions."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bench.explained import check_page
from vel2.cli.exits import ExitCode

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(900)]

VEL2 = Path(sys.executable).parent / "vel2"
FIGURES = (
    "instructions_per_op",
    "traps_per_op",
    "traps_by_kind",
    "l1_exits_per_op",
    "host_ns_per_op",
)
OPERATIONS = "null,hypercall,mmio_read,self_sgi,eoi,stage2_fault,stage2_fault_2m"


def bench(tmp_path: Path, *words: str) -> tuple[dict[str, Any], str]:
    """Run a command of `vel2 bench`: its name, if it has one, and options."""
    result = tmp_path / "result.json"
    name = [word for word in words[:1] if not word.startswith("-")]
    arguments = ["bench", *name, "--n", "40", "--timeout", "600", "--json", str(result)]
    arguments += words[len(name) :]
    done = subprocess.run(
        [VEL2, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == ExitCode.OK, done.stdout
    tree = json.loads(result.read_text())
    assert tree["run"]["command"] == shlex.join(["vel2", *arguments])
    return tree, done.stdout


def figures_of(tree: dict[str, Any]) -> dict[str, Any]:
    """Give what has to repeat: all but when it was measured."""
    return {name: value for name, value in tree.items() if name != "run"}


def test_counting_instructions_and_traps(tmp_path: Path) -> None:
    options = ("--deterministic", "--configs", "native,vhe-nv2", "--only", OPERATIONS)
    result, output = bench(tmp_path, *options)
    assert result["clock"] == "instructions"
    native = result["configurations"]["native"]["operations"]
    nested = result["configurations"]["vhe-nv2"]["operations"]
    assert list(native) == list(nested) == OPERATIONS.split(",")

    # No trap, and the same in both.
    for name in ("null", "eoi"):
        assert nested[name]["instructions_per_op"] == native[name]["instructions_per_op"] < 10
        assert nested[name]["usual_traps"] == native[name]["usual_traps"] == 0
    for name in set(nested) - {"null", "eoi"}:
        assert native[name]["instructions_per_op"] > 500
        assert nested[name]["ratio_to_native"] > 1
        # At real EL2, L2's traps are its exits.
        assert native[name]["traps_per_op"] == pytest.approx(
            native[name]["l1_exits_per_op"], abs=0.1
        )
        cell = nested[name]
        # What L0 counted by kind is what it counted; L1's own interrupts come on top of the usual.
        assert sum(cell["usual_traps_by_kind"].values()) == cell["usual_traps"] >= 2
        assert sum(cell["traps_by_kind"].values()) == pytest.approx(cell["traps_per_op"], abs=0.05)
        assert cell["traps_per_op"] == pytest.approx(cell["usual_traps"], rel=0.2)
        # What L1's KVM counted is the same without and with L0.
        assert cell["l1_exits_per_op"] == pytest.approx(native[name]["l1_exits_per_op"], abs=0.1)
        assert cell["l1_exits_per_op"] <= cell["switches_to_vel2_per_op"] + 0.1
    assert [round(nested[name]["l1_exits_per_op"]) for name in ("null", "hypercall")] == [0, 1]
    # Every operation leaves L2 by its own trap and comes back by an ERET of L1's.
    kinds = {name: nested[name]["usual_traps_by_kind"] for name in nested}
    assert kinds["hypercall"]["HVC64 vEL1"] == kinds["hypercall"]["ERET vEL2"] == 1
    assert kinds["self_sgi"]["ICC_SGI1R_EL1"] == 1
    assert kinds["mmio_read"]["DABT_LOWER vEL1"] == 1
    assert kinds["stage2_fault"]["DABT_LOWER vEL1"] >= 2
    cost = {name: cell["instructions_per_op"] for name, cell in nested.items()}
    assert cost["null"] < cost["hypercall"] < cost["mmio_read"]
    assert any(line.startswith("hypercall ") for line in output.splitlines())

    # Bit for bit.
    assert figures_of(bench(tmp_path, *options)[0]) == figures_of(result)


def test_both_clocks_give_every_figure(tmp_path: Path) -> None:
    options = ("--configs", "native,vhe-nv2", "--only", "null,hypercall,eoi", "--rounds", "2")
    result, output = bench(tmp_path, *options)
    assert (result["clock"], result["rounds"]) == ("both", 2)
    for column in result["configurations"].values():
        for cell in column["operations"].values():
            for key in FIGURES:
                assert cell[key] is not None, key
    cell = result["configurations"]["vhe-nv2"]["operations"]["hypercall"]
    assert cell["host_ratio_to_native"] > 0.5
    assert "remote_sgi is not measured" in output


def test_vcpus_call_each_other(tmp_path: Path) -> None:
    """An SGI to another vCPU and back, running and asleep, and exits of both at once."""
    names = "hypercall,remote_sgi,remote_wake,hypercall_all"
    options = ("--deterministic", "--configs", "native,vhe-nv2", "--smp", "2", "--n", "100")
    result, _ = bench(tmp_path, *options, "--only", names)
    assert result["smp"] == 2
    for column in result["configurations"].values():
        cells = column["operations"]
        assert cells["hypercall_all"]["count"] == 2 * cells["hypercall"]["count"]
        cost = {name: cell["instructions_per_op"] for name, cell in cells.items()}
        assert cost["hypercall"] < cost["remote_sgi"] and cost["hypercall"] < cost["remote_wake"]
    kinds = result["configurations"]["vhe-nv2"]["operations"]["remote_wake"]["traps_by_kind"]
    assert kinds["ICC_SGI1R_EL1"] >= 2, "one there, and one back"
    assert kinds["WFX vEL1"] > 0, "and somebody slept"


DEEP = ("--deterministic", "--only", "hypercall", "--timeout", "1700")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_l3_calls_its_hypervisor(tmp_path: Path) -> None:
    """An exit of L3 by way of two KVMs: L1 is left as often as at the machine's real EL2."""
    result, _ = bench(tmp_path, *DEEP, "--level", "3", "--configs", "native,vhe-nv2,vhe-nv")
    assert result["level"] == 3 and list(result["not_available"])[-1] == "vhe-nv"
    native, nested = (
        result["configurations"][name]["operations"]["hypercall"] for name in ("native", "vhe-nv2")
    )
    assert native["l1_exits_per_op"] == nested["l1_exits_per_op"] == 1
    kinds = nested["usual_traps_by_kind"]
    # Each time L1 comes back by an ERET.
    assert kinds["ERET vEL2"] == native["usual_traps"]
    assert kinds["HVC64 vEL1"] == kinds["ERET vEL1"] == 1
    # Once in a visit, however many of them there are (`hyp.breakpoints`).
    debug = sum(count for kind, count in kinds.items() if kind.startswith(("DBGBCR", "DBGWCR")))
    assert debug <= kinds["ERET vEL2"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "more"),
    [
        # Changes of context of an inner vel2: controls, and the timers of a VHE guest.
        ("vhe-nv2", {"MDCR_EL2": 2, "CNTHCTL_EL2": 2, "CPTR_EL2": 2, "CNTP_CTL_EL0": 2}),
        ("nvhe-nv2", {"MDCR_EL2": 4, "CNTHCTL_EL2": 4, "CPTR_EL2": 4}),
    ],
)
def test_an_exit_in_vel2_in_vel2(tmp_path: Path, name: str, more: dict[str, int]) -> None:
    """Every trap of the inner vel2 is an exit and an ERET; the rest is what its docs name."""
    one, two = (
        bench(tmp_path, *DEEP, "--depth", depth, "--configs", name)[0]["configurations"][name]
        for depth in ("1", "2")
    )
    before, after = (column["operations"]["hypercall"] for column in (one, two))
    kinds, kinds_before = after["usual_traps_by_kind"], before["usual_traps_by_kind"]
    assert kinds["ERET vEL2"] == before["usual_traps"]
    for kind, count in more.items():
        assert kinds[kind] == count + kinds_before.get(kind, 0), kind
    assert after["usual_traps"] >= 2 * before["usual_traps"] + sum(more.values())


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("clock", ["--deterministic", "--host-time"])
def test_no_wake_up_is_lost(tmp_path: Path, clock: str) -> None:
    """A hundred thousand wake-ups in each kind of virtual EL2; one that is lost is a hang."""
    configs = "vhe-nv2,nvhe-nv2,vhe-nv,nvhe-nv"
    options = (clock, "--configs", configs, "--only", "remote_wake", "--smp", "2")
    result, _ = bench(tmp_path, *options, "--n", "50000", "--timeout", "1700")
    for column in result["configurations"].values():
        assert column["error"] is None
        assert column["operations"]["remote_wake"]["count"] == 50_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_exit_costs_the_same_with_more_vcpus(tmp_path: Path) -> None:
    """Within a tenth, whether the other three sleep or exit too.

    All CPUs share one clock, so the timer ticks of four L1 CPUs are in the figure: it takes many
    exits until they are an average.
    """
    options = ("--deterministic", "--configs", "vhe-nv2,nvhe-nv2", "--timeout", "1200")
    options += ("--n", "1000")
    alone, _ = bench(tmp_path, *options, "--only", "hypercall")
    four, _ = bench(tmp_path, *options, "--only", "hypercall,hypercall_all", "--smp", "4")
    for name, column in four["configurations"].items():
        one = alone["configurations"][name]["operations"]["hypercall"]["instructions_per_op"]
        for cell in column["operations"].values():
            assert cell["instructions_per_op"] < 1.1 * one


def test_growth(tmp_path: Path) -> None:
    result, output = bench(tmp_path, "growth", "--deterministic", "--configs", "native,vhe-nv2")
    native, nested = (column["operations"] for column in result["configurations"].values())
    for curve in result["curves"].values():
        for point in curve["points"]:
            cell = nested[point["operation"]]
            assert cell["count"] > 0
            assert cell["l1_exits_per_op"] == pytest.approx(1, abs=0.2), point
            assert cell["traps_per_op"] >= 2
            assert native[point["operation"]]["traps_per_op"] == pytest.approx(1, abs=0.2)
    # Neither guests nor memory make an exit dearer.
    for first, last in (("guests.1", "guests.8"), ("memory_exit.1", "memory_exit.256")):
        more = nested[last]["instructions_per_op"] / nested[first]["instructions_per_op"]
        assert more < 1.1, (first, last)
    assert any(line.startswith("256 ") for line in output.splitlines())


def test_host_time(tmp_path: Path) -> None:
    result, _ = bench(tmp_path, "--configs", "vhe-nv2", "--only", "null,hypercall", "--host-time")
    cells = result["configurations"]["vhe-nv2"]["operations"]
    assert result["clock"] == "host"
    assert 0 < cells["null"]["host_ns_per_op"] < cells["hypercall"]["host_ns_per_op"]
    assert cells["hypercall"]["instructions_per_op"] is None
    assert cells["hypercall"]["traps_per_op"] is None


@pytest.mark.slow
def test_every_configuration_does_every_operation(tmp_path: Path) -> None:
    configs = ["native-nvhe", "nvhe-nv2", "vhe-nv", "nvhe-nv"]
    result, _ = bench(tmp_path, "--deterministic", "--configs", ",".join(configs))
    columns = result["configurations"]
    assert list(columns) == configs
    assert len({tuple(column["operations"]) for column in columns.values()}) == 1
    for name in ("vtimer_program", "tlbi"):
        for config in configs[1:]:
            assert columns[config]["operations"][name]["usual_traps"] == 0


def test_macro(tmp_path: Path) -> None:
    options = ("macro", "--deterministic", "--configs", "native,vhe-nv2")
    result, output = bench(tmp_path, *options)
    native = result["configurations"]["native"]["operations"]
    nested = result["configurations"]["vhe-nv2"]["operations"]
    assert list(native) == list(nested)
    for name, cell in nested.items():
        assert cell["instructions_per_op"] > 100
        assert cell["host_ns_per_op"] is None
        assert 0.5 < cell["ratio_to_native"] < 3
        assert sum(cell["traps_by_kind"].values()) == pytest.approx(cell["traps_per_op"], abs=0.05)
        assert cell["l1_exits_per_op"] == 0 or name.startswith("l2")
    # Traps of L1's own system calls and of page faults of L2, each by its kind.
    assert nested["l1.syscall"]["traps_by_kind"]["ERET vEL2"] >= 1
    assert nested["l2.syscall"]["traps_per_op"] < 0.5
    assert nested["l2.boot"]["traps_by_kind"]["DABT_LOWER vEL1"] > 1000
    assert nested["l2.boot"]["l1_exits_per_op"] > 100
    assert nested["l2.boot"]["instructions_per_op"] > 100 * nested["l2.exec"]["instructions_per_op"]
    for name in ("l1.boot", "l1.fork", "l2.memory"):
        assert nested[name]["target"]["met"] is True, nested[name]
    assert any(line.startswith("l2.memory_again ") for line in output.splitlines())
    # Bit for bit.
    again = bench(tmp_path, *options[:3], "vhe-nv2", *options[4:])[0]
    cell = again["configurations"]["vhe-nv2"]["operations"]["l2.exec"]
    assert cell["instructions_per_op"] == nested["l2.exec"]["instructions_per_op"]
    assert cell["traps_by_kind"] == nested["l2.exec"]["traps_by_kind"]


def test_macro_by_host_time(tmp_path: Path) -> None:
    result, _ = bench(
        tmp_path, "macro", "--host-time", "--rounds", "2", "--configs", "vhe-nv2", "--n", "10"
    )
    cells = result["configurations"]["vhe-nv2"]["operations"]
    for cell in cells.values():
        assert len(cell["host_ns_rounds"]) == 2
        assert cell["host_ns_per_op"] == pytest.approx(sum(cell["host_ns_rounds"]) / 2, abs=0.01)
        assert cell["instructions_per_op"] is cell["traps_per_op"] is None
    assert cells["l1.boot"]["host_ns_per_op"] > 1e8


def test_a_profile_has_every_instruction(tmp_path: Path) -> None:
    options = ("--configs", "native,nvhe-nv2", "--only", "null,hypercall,mmio_read")
    result, output = bench(tmp_path, "profile", *options)
    measured, _ = bench(tmp_path, "--deterministic", *options)
    for name, column in result["configurations"].items():
        for operation, cell in column["operations"].items():
            total = cell["instructions"]
            assert total == sum(cell["levels"].values())
            assert total == sum(row["instructions"] for row in cell["functions"])
            assert total == sum(run["instructions"] for run in cell["runs"])
            usual = measured["configurations"][name]["operations"][operation]
            assert total == pytest.approx(usual["usual_instructions"], rel=0.02)
            if name != "native":  # no traps to L0 where there is no L0
                assert sum(row["times"] for row in cell["traps"]) == usual["usual_traps"]
    hypercall = result["configurations"]["nvhe-nv2"]["operations"]["hypercall"]
    assert set(hypercall["levels"]) == {"L0", "L1 vEL2", "L1 vEL1", "L2"}
    assert {"context.enter_vel1", "context.enter_vel2", "trap.handle_sync"} <= {
        row["function"] for row in hypercall["functions"] if row["level"] == "L0"
    }
    assert hypercall["l0_lines"]
    # L1's kernel tells its own symbols, wherever it and its part for vEL2 were put.
    assert "?" not in {row["function"] for row in hypercall["functions"]}
    assert {"handle_hvc", "__kvm_nvhe___kvm_vcpu_run"} <= {
        row["function"] for row in hypercall["functions"] if row["level"].startswith("L1")
    }
    assert "hypercall in nvhe-nv2:" in output


def test_an_explanation_and_a_page_with_charts(tmp_path: Path) -> None:
    page, charts = tmp_path / "page.md", tmp_path / "page.html"
    options = ("--configs", "vhe-nv", "--markdown", str(page), "--html", str(charts))
    result, _ = bench(tmp_path, "explain", "hypercall", *options)
    text = page.read_text()
    check_page(text)
    cell = result["configurations"]["vhe-nv"]["operations"]["hypercall"]
    assert f"## vhe-nv: {cell['instructions']:,} instructions" in text
    assert "FEAT_NV traps it" in text
    assert "<svg" in charts.read_text()

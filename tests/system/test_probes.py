"""Probes in a machine that runs: the examples, while they come and go, and what they cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vel2
from tests.limits import LIMIT_S
from vel2.arch.esr import EC
from vel2.arch.vncr import redirected
from vel2.guests.kernels import fetch
from vel2.hyp.records import Trap
from vel2.hyp.state import Vcpu
from vel2.lang import SubsetError
from vel2.probes import Counters, Hash, class_of

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(3 * LIMIT_S)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "probes"
HIT_MAX = 60 + 10
"""Instructions that a probe may cost which counts by PC, and the look at the other trap, which it
does not want.
"""
by_class = Counters(64)
by_vcpu = Counters(8)
by_pc = Hash(4096)


def count_class(trap: Trap) -> None:
    by_class.add(class_of(trap))


def count_vcpu(trap: Trap, vcpu: Vcpu) -> None:
    by_vcpu.add(vcpu.index)


def count_pc(trap: Trap) -> None:
    by_pc.add(trap.pc)


def break_out(trap: Trap, vcpu: Vcpu) -> None:
    vcpu.x[0] = trap.pc


@pytest.fixture(scope="module", autouse=True)
def guests() -> None:
    """Fetch what is booted."""
    fetch(["6.12", "busybox"])


def vel2_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vel2", *arguments],
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        stdin=subprocess.DEVNULL,
    )


def demo_with(tmp_path: Path, *probes: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run L1 and L2 with probes to their end; give the result."""
    given = [part for each in probes for part in ("--probe", str(EXAMPLES / each))]
    result = tmp_path / "result.json"
    done = vel2_command(
        *("demo", "--quiet", "--deterministic", "--json", str(result), *given, *more)
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(result.read_text())
    found["printed"] = done.stdout
    return found


def rows_of(found: dict[str, Any], probe: str, name: str) -> list[dict[str, Any]]:
    """Give the rows of a map, which has had room for all."""
    table = found["probes"][probe]["maps"][name]
    assert table["drops"] == 0
    rows: list[dict[str, Any]] = table["rows"]
    return rows


def total(rows: list[dict[str, Any]]) -> int:
    return sum(row["count"] for row in rows)


ALL = ("by_pc.py", "by_register.py:count", "latency.py", "neve.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the demo with all examples at once."""
    return demo_with(tmp_path_factory.mktemp("probes"), *ALL)


def test_no_hit_is_lost(found: dict[str, Any]) -> None:
    """Show that maps, and L0's own counters of the same run, agree."""
    by_ec, by_sysreg = found["traps"]["by_ec"], found["traps"]["by_sysreg"]
    reads = rows_of(found, "by_register.count", "reads")
    writes = rows_of(found, "by_register.count", "writes")
    assert total(reads) + total(writes) == by_ec["0x18 SYS64"]
    named = {row["name"]: row["count"] for row in reads}
    assert named["ID_AA64PFR0_EL1"] == by_sysreg["ID_AA64PFR0_EL1"]
    # The last trap, an SMC that powers off, has a beginning and no end.
    ended = rows_of(found, "latency.end", "by_class")
    for ec, lost in (("0x16 HVC64", 0), ("0x1a ERET", 0), ("0x17 SMC64", 1)):
        hits = [row["count"] for row in ended if row["row"] == int(ec[:4], 16)]
        assert sum(hits) == by_ec[ec] - lost


def test_by_pc_says_where_l1_traps(found: dict[str, Any]) -> None:
    rows = rows_of(found, "by_pc.count", "by_pc")
    assert len(rows) > 100
    named = [row["name"].partition("+")[0] for row in rows]
    assert "__guest_enter" in named, "L1's kernel was found"
    assert total(rows) == found["traps"]["by_context"]["vEL2"]
    assert f"by_pc: {len(rows) - 20:,} more rows; --json has all." in found["printed"]


def test_neve(found: dict[str, Any], tmp_path: Path) -> None:
    """Show which traps FEAT_NV2 saves: with it, these registers trap where L0 wants it, only."""
    in_memory = set(redirected(NV1=False))
    without = demo_with(tmp_path, "neve.py", more=("--nv", "nv"))
    saved = rows_of(without, "neve.count", "saved_by_nv2")
    still = rows_of(without, "neve.count", "trapping_still")
    assert {row["key"] for row in saved} <= in_memory
    assert not {row["key"] for row in still} & in_memory
    assert total(saved) > total(still)
    assert total(rows_of(found, "neve.count", "saved_by_nv2")) * 10 < total(saved)


@pytest.mark.slow
def test_two_deterministic_runs_with_probes_are_equal(
    found: dict[str, Any], tmp_path: Path
) -> None:
    again = demo_with(tmp_path, *ALL)
    assert again["probes"] == found["probes"]
    assert again["traps"] == found["traps"]


def test_probes_come_and_go_while_two_vcpus_trap() -> None:
    """Show that each is in force at once, and gone at once, and that the machine runs on."""
    with vel2.boot(kernel="6.12", cpus=2) as machine:
        machine.wait_for("L1# ")
        machine.type("for n in 1 2; do (while :; do cat /proc/uptime; done > /dev/null) & done\n")
        kept = machine.add_probe(count_vcpu)
        free = machine.vm.probes._code.free_bytes
        for number in range(100):
            probe = machine.add_probe(count_class if number % 2 else count_pc)
            assert probe.is_linked
            probe.remove()
        assert machine.vm.state.probes.refused == 0
        assert machine.vm.fatal is None
        assert [vcpu for vcpu, _ in kept.maps["by_vcpu"].rows()] == [0, 1]
        assert not machine.vm.probes._clear_away()
        assert machine.vm.probes._code.free_bytes == free
        machine.type("echo still $((40 + 2))\n")
        machine.wait_for("still 42")


def test_a_probe_that_is_refused_leaves_the_machine_running() -> None:
    with vel2.boot(kernel="6.12") as machine:
        machine.wait_for("L1# ")
        with pytest.raises(SubsetError) as caught:
            machine.add_probe(break_out, trap="SYS64")
        assert caught.value.sentence == (
            "this would write the vCPU, which a probe may only read: it may write its maps"
        )
        assert f"{__file__}:" in str(caught.value)
        found = machine.probe(trap="SYS64")(count_class)
        machine.type("echo still $((40 + 2))\n")
        machine.wait_for("still 42")
        machine.pause()
        assert found.maps["by_class"].rows() == [(int(EC.SYS64), found.maps["by_class"][0x18])]  # type: ignore[index]


def test_a_hit_costs_little(tmp_path: Path) -> None:
    """Show it by what an L2 hypercall costs with a probe and without: it has one hit."""
    costs = []
    for more in ((), ("--probe", str(EXAMPLES / "by_pc.py"))):
        result = tmp_path / "bench.json"
        done = vel2_command(
            *("bench", "--deterministic", "--only", "hypercall", "--configs", "vhe-nv2"),
            *("--n", "200", "--json", str(result), *more),
        )
        assert done.returncode == 0, done.stderr
        cell = json.loads(result.read_text())["configurations"]["vhe-nv2"]["operations"]
        costs.append(cell["hypercall"]["instructions_per_op"])
    assert 0 < costs[1] - costs[0] <= HIT_MAX

"""`vel2 demo` as a user starts it: real Debian kernels, L1 at virtual EL2, L2 in user space."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vel2.cli.exits import ExitCode
from vel2.guests.parallel import differences

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(900)]

VEL2 = Path(sys.executable).parent / "vel2"
TROUBLE = re.compile(r"rcu.*stall|lockup|\bBUG\b|\bOops\b|Call trace", re.IGNORECASE)
"""What a kernel says that lost an interrupt, a wake-up or a translation."""
CONSOLE_LINE = re.compile(r"(L[12]) +[0-9]+\.[0-9]{3} (.*)")
"""Its time is the host's."""


def demo(tmp_path: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run the demo; fail with all that it printed unless it ends well."""
    result = tmp_path / "result.json"
    done = subprocess.run(
        [VEL2, "demo", "--timeout", "600", "--json", result, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == ExitCode.OK, done.stdout
    return json.loads(result.read_text()), done.stdout


def test_the_demo(tmp_path: Path) -> None:
    result, output = demo(tmp_path)
    assert result["l1"]["el"] == "EL2"
    assert result["l1"]["kvm_mode"] == "VHE"
    assert result["l1"]["kernel"].startswith("6.12.")
    assert result["l1"]["vmm_status"] == 0
    assert result["l2"]["el"] == "EL1"
    assert result["l2"]["userspace"] is True
    assert result["l2"]["kernel"].startswith("6.12.")
    assert result["l2"]["sum"] == sum(range(1, 1001))
    run = result["run"]
    assert (run["el2"], run["nv"], run["deterministic"], run["native"]) == (
        *("vhe", "nv2"),
        *(False, False),
    )
    assert (run["memory_bytes"], run["cpu"].split(",")[0]) == (2 << 30, "max")
    assert run["command"].startswith("vel2 demo --timeout 600 --json ")
    traps = result["traps"]
    assert traps["total"] == sum(traps["by_ec"].values()) == sum(traps["by_context"].values())
    assert set(traps["by_context"]) == {"vEL2", "vEL1"}
    lines = output.splitlines()
    assert any(line.startswith("L1 ") and "Booting Linux on physical CPU" in line for line in lines)
    assert any(line.startswith("L2 ") and "Linux (none) 6.12." in line for line in lines)
    assert any(line.startswith("L2 ") and "Run /init as init process" in line for line in lines)


def test_the_demo_without_vel2(tmp_path: Path) -> None:
    """The same guests at the machine's real EL2: what the demo is compared with."""
    result, _ = demo(tmp_path, "--quiet", "--native")
    assert (result["l1"]["el"], result["l1"]["kvm_mode"]) == ("EL2", "VHE")
    assert result["l2"]["userspace"] is True
    assert result["traps"]["total"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("l1", ["6.1", "7"])
def test_other_kernels(tmp_path: Path, l1: str) -> None:
    result, _ = demo(tmp_path, "--quiet", "--l1", l1, "--l2", "6.1")
    assert result["l1"]["kernel"].startswith(f"{l1}.")
    assert result["l2"]["userspace"] is True


def test_cpus_of_l2_work_together(tmp_path: Path) -> None:
    """L1 and L2 have several CPUs; L2's come to results that the host computes too."""
    result, output = demo(tmp_path, "--quiet", "--smp", "4")
    assert (result["l1"]["cpus"], result["l2"]["cpus"]) == (4, 4)
    assert result["l2"]["parallel"] is True
    assert differences(4, result["l2"]) == []
    assert not TROUBLE.search(output)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cpus", [1, 4])
def test_a_deterministic_run_repeats(tmp_path: Path, cpus: int) -> None:
    """Everything but host time is the same, to the last trap and the last character."""

    def counted() -> tuple[dict[str, Any], list[tuple[str, ...]]]:
        result, output = demo(
            tmp_path, "--quiet", "--deterministic", "--smp", str(cpus), "--timeout", "1500"
        )
        del result["seconds"], result["l1"]["boot_seconds"], result["l2"]["boot_seconds"]
        del result["run"]["date"]
        shown = map(CONSOLE_LINE.fullmatch, output.splitlines())
        return result, [line.groups() for line in shown if line]

    assert counted() == counted()


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_twenty_boots_in_a_row(tmp_path: Path) -> None:
    """No hang, no complaint of a kernel, no wrong result, with more CPUs than the host has."""
    for turn in range(20):
        result, output = demo(tmp_path, "--quiet", "--smp", "4")
        assert result["l2"]["parallel"] is True, turn
        assert not TROUBLE.search(output), f"boot {turn}:\n{output}"

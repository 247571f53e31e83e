"""An unmodified Debian QEMU inside L1 starts L2 by KVM, under vel2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vel2.cli.exits import ExitCode

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

VEL2 = Path(sys.executable).parent / "vel2"


def demo(tmp_path: Path, *options: str) -> tuple[dict[str, Any], list[str]]:
    """Run the demo with QEMU in L1; fail with all that it printed unless it ends well."""
    result = tmp_path / "result.json"
    done = subprocess.run(
        [VEL2, "demo", "--vmm", "qemu", "--timeout", "600", "--json", result, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == ExitCode.OK, done.stdout
    return json.loads(result.read_text()), done.stdout.splitlines()


def check_ended_well(result: dict[str, Any], kvm_mode: str = "VHE") -> None:
    """Both levels ran to their end: user space, `poweroff`, and QEMU's own success."""
    assert (result["l1"]["el"], result["l1"]["kvm_mode"]) == ("EL2", kvm_mode)
    assert "(Debian " in result["l1"]["qemu"]
    assert result["l1"]["vmm_status"] == 0
    assert result["l2"]["el"] == "EL1"
    assert result["l2"]["userspace"] is True
    assert result["l2"]["sum"] == sum(range(1, 1001))
    assert result["l2"]["end"] > 0
    assert result["l1"]["end"] >= result["l1"]["l2_end"] > result["l1"]["l2_start"]
    assert result["ended"] == "the guest powered off"


def test_l2_boots_on_qemus_board(tmp_path: Path) -> None:
    """All of L2's kernel messages go through a device that QEMU emulates, one exit a character."""
    result, lines = demo(tmp_path)
    check_ended_well(result)
    assert set(result["traps"]["by_context"]) == {"vEL2", "vEL1"}
    l2 = [line for line in lines if line.startswith("L2 ")]
    # `virt` has a PL011; the board of our own VMM is "vel2,l2" and has an 8250.
    for said in ("Machine model: linux,dummy-virt", "is a PL011", "reboot: Power down"):
        assert any(said in line for line in l2), said
    console_bytes = sum(len(line) for line in l2)
    assert result["traps"]["by_ec"]["0x24 DABT_LOWER"] > console_bytes


@pytest.mark.parametrize(("l1", "l2"), [("6.1", "7"), ("7", "6.1")])
def test_other_kernels(tmp_path: Path, l1: str, l2: str) -> None:
    result, _ = demo(tmp_path, "--quiet", "--l1", l1, "--l2", l2)
    check_ended_well(result)
    assert result["l1"]["kernel"].startswith(f"{l1}.")
    assert result["l2"]["kernel"].startswith(f"{l2}.")


@pytest.mark.parametrize(
    ("option", "value", "kvm_mode"), [("--el2", "nvhe", "Hyp nVHE"), ("--nv", "nv", "VHE")]
)
def test_other_virtual_el2s(tmp_path: Path, option: str, value: str, kvm_mode: str) -> None:
    """A hypervisor without VHE, and one whose every access to EL2's registers traps."""
    result, _ = demo(tmp_path, "--quiet", option, value)
    check_ended_well(result, kvm_mode)


def test_without_vel2(tmp_path: Path) -> None:
    """The same guests at the machine's real EL2: what the others are compared with."""
    result, _ = demo(tmp_path, "--quiet", "--native")
    check_ended_well(result)
    assert result["traps"]["total"] == 0


def test_too_little_memory_is_refused_before_anything_starts() -> None:
    done = subprocess.run(
        [VEL2, "demo", "--vmm", "qemu", "--memory", "511M"], capture_output=True, text=True
    )
    assert done.returncode == ExitCode.USAGE
    assert "--vmm qemu does not fit into 511 MiB" in done.stderr
    assert "give --memory 512M or more" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""

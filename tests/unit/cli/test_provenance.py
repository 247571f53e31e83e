"""What a result says of itself."""

from __future__ import annotations

import platform
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.cli.options import VmOptions
from vel2.cli.provenance import run_of, run_of_request
from vel2.cli.version import describe
from vel2.control.guest import Firmware
from vel2.control.request import Request
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.version import require_qemu

MIB = 1 << 20


def request(native: bool = False, qemu: tuple[str, ...] = ()) -> Request:
    guest = Firmware(Path("firmware"))
    return Request(guest, 512 * MIB, Kind.NVHE, Level.NV, native=native, smp=3, qemu_arguments=qemu)


def test_versions_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/vel2", "run", "--append", "a b"])
    before = datetime.now(UTC).replace(microsecond=0)
    run = run_of(deterministic=True)
    assert before <= datetime.fromisoformat(str(run["date"])) <= datetime.now(UTC)
    assert shlex.split(str(run["command"])) == ["vel2", "run", "--append", "a b"]
    assert run["vel2"] == describe()
    assert run["qemu"] == str(require_qemu()[1])
    assert run["python"] == platform.python_version()
    assert (run["deterministic"], run["cpu"], run["cpus"]) == (True, DEFAULT_CPU, 1)


def test_the_machine() -> None:
    run = run_of_request(request())
    assert (run["el2"], run["nv"], run["memory_bytes"], run["native"], run["cpus"]) == (
        *("nvhe", "nv"),
        *(512 * MIB, False, 3),
    )


def test_of_several_vel2s_what_was_asked_for_is_named() -> None:
    """Show the innermost virtual EL2, though the request is about the outermost."""
    asked = VmOptions(
        memory_bytes=512 * MIB,
        smp=3,
        el2=Kind.VHE,
        nv=Level.NV2,
        deterministic=False,
        native=False,
        ahead=True,
        recursion=False,
        depth=2,
        timeout=None,
        json_file=None,
    )
    run = run_of_request(request(), asked)
    assert (run["el2"], run["nv"], run["depth"]) == ("vhe", "nv2", 2)
    assert "depth" not in run_of_request(request(), replace(asked, depth=1))


def test_a_native_machine_has_no_virtual_el2() -> None:
    run = run_of_request(request(native=True))
    assert run["native"] is True
    assert not {"el2", "nv"} & set(run)


@pytest.mark.parametrize(
    ("arguments", "cpu"),
    [
        ((), DEFAULT_CPU),
        (("-s", "-cpu", "max,sve=off"), "max,sve=off"),
        (("-cpu", "max", "--cpu", "max,pmu=off", "-device", "x"), "max,pmu=off"),
        (("-device", "-cpu"), DEFAULT_CPU),
    ],
)
def test_the_cpu_is_the_one_that_qemu_takes(arguments: tuple[str, ...], cpu: str) -> None:
    assert run_of_request(request(qemu=arguments))["cpu"] == cpu

"""`vel2 doctor`: each check with what it finds, and the exit code."""

from __future__ import annotations

import struct
from collections import namedtuple
from pathlib import Path

import capstone
import pytest
from click.testing import CliRunner

from vel2.cli import doctor as rows
from vel2.cli import probe
from vel2.cli.exits import ExitCode
from vel2.cli.main import vel2

GIB = 1 << 20  # in the KiB of /proc/meminfo


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the files that tell of memory under `tmp_path`; no control group at first."""
    for name, file in (("MEMINFO", "meminfo"), ("CGROUP_LIMIT", "max"), ("CGROUP_USED", "current")):
        monkeypatch.setattr(rows, name, tmp_path / file)
    return tmp_path


@pytest.mark.parametrize(
    ("kib", "state"),
    [
        (3 * GIB, rows.State.OK),
        (3 * GIB - 1, rows.State.WARN),
        (GIB, rows.State.WARN),
        (GIB - 1, rows.State.FAIL),
    ],
)
def test_memory(memory: Path, kib: int, state: rows.State) -> None:
    (memory / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {kib} kB\nHuge: 0\n")
    assert rows.check_memory().state is state


def test_a_control_group_lowers_memory(memory: Path) -> None:
    (memory / "meminfo").write_text(f"MemAvailable: {8 * GIB} kB\n")
    (memory / "max").write_text(f"{2 << 30}\n")
    (memory / "current").write_text(f"{1 << 30}\n")
    assert rows.available_memory() == 1 << 30
    (memory / "max").write_text("max\n")
    assert rows.available_memory() == 8 << 30


def test_no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEL2_QEMU", "/nowhere/qemu")
    for check in (rows.check_qemu(), rows.check_nv2()):
        assert check.state is rows.State.FAIL
        assert check.found.startswith("VEL2_QEMU is set to '/nowhere/qemu', which is not a program")


@pytest.mark.parametrize(
    ("el", "nv", "state"),
    [(2, 2, rows.State.OK), (2, 1, rows.State.FAIL), (1, 2, rows.State.FAIL)],
)
def test_nv2(monkeypatch: pytest.MonkeyPatch, el: int, nv: int, state: rows.State) -> None:
    monkeypatch.setattr(rows, "probe_el2", lambda: probe.Processor(el, nv))
    check = rows.check_nv2()
    assert check.state is state
    assert check.found == f"CurrentEL is EL{el}, ID_AA64MMFR2_EL1.NV is {nv}"


def test_no_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vel2.cli.doctor.shutil.which", lambda name: None)
    check = rows.check_mirror()
    assert check.state is rows.State.WARN
    assert check.found == "no apt-get and no apt-cache and no dpkg-deb"


@pytest.mark.parametrize(
    ("free", "state"), [(2 << 30, rows.State.OK), ((2 << 30) - 1, rows.State.WARN)]
)
def test_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: rows.State
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("vel2.cli.doctor.shutil.disk_usage", lambda path: usage(0, 0, free))
    check = rows.check_cache()
    assert check.state is state
    assert check.found.startswith(str(tmp_path / "vel2" / "guests"))


def test_a_cache_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert rows.check_cache().state is rows.State.FAIL


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([rows.State.OK, rows.State.WARN], ExitCode.OK),
        ([rows.State.OK, rows.State.FAIL, rows.State.OK], ExitCode.UNABLE),
    ],
)
def test_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, states: list[rows.State], code: ExitCode
) -> None:
    checks = [rows.Check(f"row{n}", state, "[red]found", "do it") for n, state in enumerate(states)]
    monkeypatch.setattr(rows, "CHECKS", [lambda check=check: check for check in checks])
    result = CliRunner().invoke(vel2, ["doctor"])
    assert result.exit_code == code
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[:2] == [f"row0  {states[0].value:<4}  [red]found", "            -> do it"]


def test_the_probe_is_the_code_its_comments_say() -> None:
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, 0)
    code = struct.pack(f"<{len(probe.WORDS)}I", *probe.WORDS)
    assert [f"{i.mnemonic} {i.op_str}" for i in engine.disasm(code, 0)] == [
        f"mov x0, #{probe.ANSWER:#x}",
        "mrs x1, currentel",
        "mrs x2, id_aa64mmfr2_el1",
        "stp x1, x2, [x0]",
        "mov x0, #0x84000000",
        "movk x0, #8",
        "smc #0",
        "b #0x1c",
    ]


@pytest.mark.qemu
def test_the_probe_runs_at_el2() -> None:
    assert probe.probe_el2() == probe.Processor(el=2, nv=2)


@pytest.mark.qemu
def test_this_machine_is_able() -> None:
    result = CliRunner().invoke(vel2, ["doctor"])
    assert result.exit_code == ExitCode.OK, result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines() if line[0] != " "] == [
        *("python", "compiler", "qemu", "feat_nv2", "memory", "packages", "cache"),
    ]

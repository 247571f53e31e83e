"""The verdict on a run, and that L0's own failure is told apart from the guest's."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from vel2.cli.ending import conclude, verdict
from vel2.cli.exits import ExitCode
from vel2.cli.report import Report
from vel2.control.counters import TrapCount
from vel2.control.locks import LockTime
from vel2.machine.console import Console, Line
from vel2.machine.outcome import ExitReason, MachineExit

OFF = ExitReason.SHUTDOWN


@pytest.mark.parametrize(
    ("reason", "fatal", "marker", "expect_l2", "code"),
    [
        (OFF, "", "", False, ExitCode.OK),
        (OFF, "", "", True, ExitCode.GUEST_FAILED),
        (OFF, "", "##vel2 l2.userspace=ok", True, ExitCode.OK),
        (OFF, "", "##vel2 l2.userspace=no", True, ExitCode.GUEST_FAILED),
        (OFF, "L0 stopped: VECTOR_SAME_EL", "##vel2 l2.userspace=ok", True, ExitCode.L0_FATAL),
        (ExitReason.TIMEOUT, "", "##vel2 l2.userspace=ok", True, ExitCode.TIMEOUT),
        (ExitReason.TIMEOUT, "L0 stopped: VECTOR_SAME_EL", "", True, ExitCode.L0_FATAL),
        (ExitReason.PANIC, "", "", True, ExitCode.GUEST_FAILED),
        (ExitReason.DIED, "", "", True, ExitCode.UNABLE),
    ],
)
def test_verdict(
    reason: ExitReason, fatal: str, marker: str, expect_l2: bool, code: ExitCode
) -> None:
    report = Report()
    report.take(Line(0.0, marker))
    assert verdict(MachineExit(reason, "", 0, 1.0), fatal, report, expect_l2) is code


def test_wrong_results_of_l2s_cpus_are_a_failure() -> None:
    report = Report()
    report.put("l2.userspace", True)
    ended = MachineExit(OFF, "", 0, 1.0)
    report.put("l2.parallel", False)
    assert verdict(ended, "", report, True) is ExitCode.GUEST_FAILED


class Ended:
    """A session that has ended, with one kind of trap."""

    def __init__(self, fatal: str = "") -> None:
        self.fatal = fatal or None
        self.console = Console()

    def traps(self) -> list[TrapCount]:
        return [TrapCount("0x1a ERET", "vEL2", 2)]

    def sysreg_traps(self) -> dict[str, int]:
        return {}

    def locks(self) -> list[LockTime]:
        return [LockTime("stage 2", 3, 4000, 2500)]


@pytest.mark.parametrize(
    ("fatal", "expect_l2", "l2", "code", "said"),
    [
        ("", False, None, 0, ""),
        ("", True, {"userspace": False}, 1, ""),
        ("L0 stopped: X", False, None, 5, "vel2: L0 stopped: X\n"),
    ],
)
def test_conclude(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fatal: str,
    expect_l2: bool,
    l2: object,
    code: int,
    said: str,
) -> None:
    context = click.Context(click.Command("run"))
    ended = MachineExit(OFF, "", 0, 1.25)
    file = tmp_path / "out.json"
    with pytest.raises(click.exceptions.Exit) as caught:
        conclude(context, Report(), Ended(fatal), ended, file, expect_l2)  # type: ignore[arg-type]
    assert caught.value.exit_code == code
    assert capsys.readouterr().err == f"{said}vel2: the guest powered off after 1.2 s\n"
    result = json.loads(file.read_text())
    assert (result["exit_code"], result["traps"]["total"]) == (code, 2)
    held = {"holds": 3, "total_ns": 4000, "longest_ns": 2500}
    assert result["locks"] == {"stage 2": held}
    assert (result.get("l2"), result.get("fatal", "")) == (l2, fatal)

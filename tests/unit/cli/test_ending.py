"""The verdict on a run, and that L0's own failure is told apart from the guest's."""

from __future__ import annotations

import pytest

from vel2.cli.ending import verdict
from vel2.cli.exits import ExitCode
from vel2.cli.report import Report
from vel2.machine.console import Line
from vel2.machine.outcome import ExitReason, MachineExit

OFF = ExitReason.SHUTDOWN


@pytest.mark.parametrize(
    ("reason", "fatal", "marker", "expect_l2", "code"),
    [
        (OFF, "", "", False, ExitCode.OK),
        (OFF, "", "", True, ExitCode.GUEST_FAILED),
        (OFF, "", "##vel2 l2.userspace=ok", True, ExitCode.OK),
        (OFF, "", "##vel2 l2.userspace=no", True, ExitCode.GUEST_FAILED),
        (OFF, "L0 stopped: BAD_OUTCOME", "##vel2 l2.userspace=ok", True, ExitCode.L0_FATAL),
        (ExitReason.TIMEOUT, "", "##vel2 l2.userspace=ok", True, ExitCode.TIMEOUT),
        (ExitReason.TIMEOUT, "L0 stopped: BAD_OUTCOME", "", True, ExitCode.L0_FATAL),
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

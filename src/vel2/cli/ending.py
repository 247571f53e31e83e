"""What a run ends with: the verdict, the JSON result, the exit code."""

from pathlib import Path
from typing import NoReturn

import click

from vel2.cli.exits import ExitCode, exit_code_of
from vel2.cli.report import Report, write_json
from vel2.cli.streams import say
from vel2.control.session import Session
from vel2.machine.outcome import MachineExit

__all__ = ("conclude", "verdict")


def verdict(ended: MachineExit, fatal: str, report: Report, expect_l2: bool) -> ExitCode:
    """Choose the exit code.

    :param fatal: why L0 stopped itself; it then ends the machine as a guest does.
    :param expect_l2: a machine that powered off is only well when L2 reached user space, and its
        CPUs, if there are several, came to the right results.
    """
    if fatal:
        return ExitCode.L0_FATAL
    code = exit_code_of(ended)
    if code is not ExitCode.OK or not expect_l2:
        return code
    if report.get("l2.userspace") is not True or report.get("l2.parallel") is False:
        return ExitCode.GUEST_FAILED
    return code


def conclude(
    context: click.Context,
    report: Report,
    session: Session,
    ended: MachineExit,
    json_file: Path | None,
    expect_l2: bool = False,
) -> NoReturn:
    """Say how the run ended, write its result, and leave with its exit code."""
    fatal = str(session.fatal or "")
    code = verdict(ended, fatal, report, expect_l2)
    if expect_l2:
        report.put("l2.userspace", False)
    report.finish(ended, code, session.traps(), session.sysreg_traps())
    if fatal:
        report.put("fatal", fatal)
        say(fatal)
    say(f"{ended} after {ended.seconds:.1f} s")
    for count, what in (
        (session.console.dropped_lines, "of the console's first lines"),
        (report.dropped, "markers"),
    ):
        if count:
            say(f"{count:,} {what} were not kept; there were too many.")
    write_json(report.tree, json_file)
    context.exit(code)

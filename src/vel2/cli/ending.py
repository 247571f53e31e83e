"""What a run ends with: the verdict, the JSON result, the exit code."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from vel2.cli.exits import ExitCode, exit_code_of
from vel2.cli.levels import Inner
from vel2.cli.report import Report, trap_tree, write_json
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
    inner: Sequence[Inner] = (),
) -> NoReturn:
    """Say how the run ended, write its result, and leave with its exit code.

    :param inner: the vel2s inside the first, if there are any.
    """
    # What an inner one did comes of a fault of one below it, if that had any.
    fatal = next(filter(None, [str(session.fatal or ""), *(each.fatal for each in inner)]), "")
    code = verdict(ended, fatal, report, expect_l2)
    if expect_l2:
        report.put("l2.userspace", False)
    report.finish(ended, code, session.traps(), session.sysreg_traps())
    if inner:
        report.tree["inner"] = {
            each.level.lower(): {"traps": trap_tree(each.traps, each.by_sysreg)} for each in inner
        }
    report.put_locks(session.locks())
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

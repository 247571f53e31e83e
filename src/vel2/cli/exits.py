"""Exit codes, and which end of a machine gives which."""

from enum import IntEnum

from vel2.machine.outcome import ExitReason, MachineExit

__all__ = ("EXIT_CODES_HELP", "ExitCode", "exit_code_of")


class ExitCode(IntEnum):
    """What the exit status of `vel2` tells; documented, so scripts may rely on it."""

    OK = 0
    GUEST_FAILED = 1
    USAGE = 2
    UNABLE = 3
    TIMEOUT = 4
    L0_FATAL = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


EXIT_CODES_HELP = """\
\b
Exit codes:
  0         all went well
  1         the guest failed: it panicked, or asked for a reset
  2         a mistake in the command line, or in a file it names
  3         this machine is not able to do it; see `vel2 doctor`
  4         the time limit was reached
  5         vel2 itself failed at EL2
  130, 143  interrupted, terminated"""

OF_REASON = {
    ExitReason.SHUTDOWN: ExitCode.OK,
    ExitReason.STOPPED: ExitCode.OK,
    ExitReason.RESET: ExitCode.GUEST_FAILED,
    ExitReason.PANIC: ExitCode.GUEST_FAILED,
    ExitReason.TIMEOUT: ExitCode.TIMEOUT,
    ExitReason.DIED: ExitCode.UNABLE,
}


def exit_code_of(ended: MachineExit) -> ExitCode:
    """Give the exit code for the end of a machine."""
    return OF_REASON[ended.reason]

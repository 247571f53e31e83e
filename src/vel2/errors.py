"""What a user did wrong, or what the machine below could not do, said in one sentence.

Every room may import this module; it imports nothing of ours. The command line prints
`str(error)` and leaves with `error.exit_code`, without a traceback.
"""

import re
import shlex
from collections.abc import Sequence
from typing import Self

__all__ = ("LaunchError", "OutputError", "UserError")

PROGRAM = re.compile(r"[\w./+-]*qemu[\w.+-]*: ")
"""What QEMU puts before what it says."""


class UserError(Exception):
    """Report a mistake or a missing thing that the user can put right.

    The text is one sentence (or two short ones): what was given, what is allowed, what to try.
    """

    exit_code: int = 2


class OutputError(UserError):
    """Report that standard output could not be written."""

    exit_code = 3

    @classmethod
    def of(cls, error: OSError) -> Self:
        """Say why."""
        return cls(f"standard output cannot be written ({error.strerror}).")


class LaunchError(UserError):
    """Report that the machine did not come up.

    :param summary: one sentence about what happened.
    :param command: the argument vector that was run.
    :param exit_status: as `subprocess.Popen.returncode`; None when the process was still there.
    :param tail: the last lines that QEMU wrote to standard error and to the console.
    """

    exit_code = 3

    def __init__(
        self,
        summary: str,
        command: Sequence[str],
        exit_status: int | None,
        tail: str = "",
    ) -> None:
        self.summary = summary
        self.command = tuple(command)
        self.exit_status = exit_status
        self.tail = tail.rstrip()
        super().__init__(summary)
        self.add_note(self.page)  # a traceback shows it

    @property
    def complaint(self) -> str:
        """What QEMU said is wrong, in a line without its own name; empty when it said nothing."""
        # Warnings come first; the option in question, and where it stands, before what is wrong.
        said = [line for line in self.tail.splitlines() if "warning: " not in line]
        named = [line for line in said if PROGRAM.match(line)]
        line = next(iter(named or said), "")
        return PROGRAM.sub("", line).strip().rstrip(".")

    def __str__(self) -> str:
        ended = "still running" if self.exit_status is None else f"exit status {self.exit_status}"
        said = f": {self.complaint}" if self.complaint else ""
        return f"{self.summary} ({ended}){said}; VEL2_DEBUG=1 shows its command line."

    @property
    def page(self) -> str:
        """Everything that is known, for who debugs."""
        text = f"command: {shlex.join(self.command)}"
        if self.tail:
            indented = "\n".join(f"  {line}" for line in self.tail.splitlines())
            text += f"\nlast output:\n{indented}"
        return text

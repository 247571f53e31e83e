"""Why a machine ended."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from vel2.machine.console import Line
from vel2.machine.qmp import Event

__all__ = ("ExitReason", "MachineExit", "ends_panic", "find_panic")


class ExitReason(Enum):
    """What ended the machine."""

    SHUTDOWN = "the guest powered off"
    RESET = "the guest asked for a reset"
    PANIC = "the guest kernel panicked"
    TIMEOUT = "the time limit was reached"
    STOPPED = "it was stopped from the host"
    DIED = "QEMU ended on its own"


@dataclass(frozen=True)
class MachineExit:
    """How one run ended.

    :ivar detail: what is known beyond the reason; may be empty.
    :ivar exit_status: QEMU's own, as `subprocess.Popen.returncode`.
    :ivar seconds: host time from the launch to the end.
    """

    reason: ExitReason
    detail: str
    exit_status: int
    seconds: float

    @property
    def clean(self) -> bool:
        """True when the guest powered off by itself."""
        return self.reason is ExitReason.SHUTDOWN

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


# printk may add a time stamp and a caller; a line relayed from a deeper guest has another prefix,
# and its panic is not this machine's end.
PANIC_LINE = re.compile(r"^(?:\[[ \d.]+\])?(?:\[[ TC]+\d+\])? ?Kernel panic - not syncing: (.*)$")
# The next kernel's first words. A crash kernel (kdump) starts afresh, as one after a kexec does.
BOOT_LINE = re.compile(r"^(?:\[[ \d.]+\])?(?:\[[ TC]+\d+\])? ?Booting Linux on physical CPU ")
# A kernel that has panicked does not say so.
LEAVING_LINE = re.compile(
    r"^(?:\[[ \d.]+\])?(?:\[[ TC]+\d+\])? ?reboot: (?:Power down|Restarting system|System halted)"
)
HYPERVISORS = "(XEN) "
"""What begins a line of somebody who is still there when a kernel has panicked."""
# Linux prints it last of all, when neither a crash kernel nor `panic=` takes over.
PANIC_END = re.compile(r"^(?:\[[ \d.]+\])?(?:\[[ TC]+\d+\])? ?---\[ end Kernel panic - ")

GUEST_REASONS = {
    "guest-shutdown": ExitReason.SHUTDOWN,
    "guest-reset": ExitReason.RESET,
    "guest-panic": ExitReason.PANIC,
    "host-qmp-quit": ExitReason.STOPPED,
}


def find_panic(lines: Iterable[Line]) -> str | None:
    """Return what L1's last kernel said when it panicked; None when it did not.

    If another kernel boots after a panic, only that one counts: a crash kernel that saved what it
    should and powered off has ended well. A kernel that goes on, or reboots as it is asked to, has
    not panicked: its user space has shown what another one once said.
    """
    said, is_over = None, False
    for line in lines:
        if (match := PANIC_LINE.match(line.text)) is not None:
            said, is_over = said or match.group(1), False
        elif ends_panic(line):
            is_over = True
        elif is_of_the_living(line.text, is_over):
            said, is_over = None, False
    return said


def is_of_the_living(text: str, is_over: bool) -> bool:
    """Whether a line is none that a kernel that has panicked could print.

    :param is_over: the last line of a panic has been seen.
    """
    if BOOT_LINE.match(text) or LEAVING_LINE.match(text):
        return True
    return is_over and bool(text.strip()) and not text.startswith(HYPERVISORS)


def ends_panic(line: Line) -> bool:
    """Whether a line is the last of a panic, if the one who prints it is the kernel."""
    return PANIC_END.match(line.text) is not None


def classify(
    events: Iterable[Event],
    panic: str | None,
    forced: ExitReason | None,
    exit_status: int,
    seconds: float,
) -> MachineExit:
    """Decide why the machine ended, from the evidence.

    :param forced: why the host ended it; None when the host did not.
    """
    said = [e["data"]["reason"] for e in events if e["event"] == "SHUTDOWN"]
    reason = GUEST_REASONS.get(said[-1]) if said else None
    detail = ""
    if forced is not None and reason in (None, ExitReason.STOPPED):
        reason = forced
    if reason is None:
        how = f"signal {-exit_status}" if exit_status < 0 else f"exit status {exit_status}"
        reason, detail = ExitReason.DIED, f"{said[-1]}, {how}" if said else how
    if panic is not None:
        # Linux with panic=-1 resets after a panic; with panic=0 it hangs, and is ended by us.
        detail = panic
        if reason in (ExitReason.RESET, ExitReason.SHUTDOWN):
            reason = ExitReason.PANIC
    return MachineExit(reason, detail, exit_status, seconds)

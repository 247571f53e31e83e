"""What a vCPU is doing, as QEMU and the host tell: at which Exception level, and whether at all.

Asking changes nothing in the machine: a deterministic run is as it was.
"""

import os
import re
from pathlib import Path

__all__ = ("LEVEL", "PC", "cpu_seconds", "process_seconds", "registers_of")

PC = re.compile(r"\bPC=([0-9a-f]+)")
LEVEL = re.compile(r"\bPSTATE=.*\bEL(\d)[ht]\b")
USER_TIME, SYSTEM_TIME = 11, 12
"""Of the fields of /proc/PID/stat behind the command's name."""


def cpu_seconds(thread: int) -> float:
    """Give the CPU time that a thread has used.

    :raises OSError: when it has ended.
    """
    return _seconds(Path(f"/proc/{thread}/task/{thread}/stat"))


def process_seconds(pid: int) -> float:
    """Give the CPU time that all threads of a process have used.

    :raises OSError: when it has ended.
    """
    return _seconds(Path(f"/proc/{pid}/stat"))


def _seconds(stat: Path) -> float:
    text = stat.read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])) / os.sysconf("SC_CLK_TCK")


def registers_of(cpu: int) -> dict[str, object]:
    """Give the argument of QMP's human-monitor-command that asks for a vCPU's registers."""
    return {"command-line": "info registers", "cpu-index": cpu}

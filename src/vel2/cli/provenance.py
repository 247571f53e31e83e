"""What a result was got with: the `run` of every JSON result."""

import platform
import shlex
import sys
from datetime import UTC, datetime
from itertools import pairwise

from vel2.cli.options import VmOptions
from vel2.cli.report import Tree
from vel2.cli.version import describe
from vel2.control.request import Request
from vel2.machine.config import DEFAULT_CPU
from vel2.machine.version import require_qemu

__all__ = ("run_of", "run_of_request")


def run_of(deterministic: bool, cpu: str = DEFAULT_CPU) -> Tree:
    """Give the versions, the command, the time it began, and how guest time was counted.

    :param cpu: as QEMU takes it.
    """
    return {
        "vel2": describe(),
        "qemu": str(require_qemu()[1]),
        "python": platform.python_version(),
        "command": shlex.join(["vel2", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "deterministic": deterministic,
        "cpu": cpu,
        "cpus": 1,
    }


def run_of_request(request: Request, machine: VmOptions | None = None) -> Tree:
    """Give the same for one machine, with what it is; a native one has no virtual EL2.

    :param machine: what was asked for; with several vel2s the request is about the outermost.
    """
    made = run_of(request.deterministic, cpu_of(request))
    made["cpus"] = request.smp
    made["memory_bytes"] = request.memory_bytes
    made["native"] = request.native
    if not request.native:
        asked = machine or request
        made |= {"el2": asked.el2.value, "nv": asked.nv.value}
    if machine is not None and machine.depth > 1:
        made["depth"] = machine.depth
    return made


def cpu_of(request: Request) -> str:
    """Give the CPU model: of several on QEMU's command line the last counts."""
    pairs = pairwise(request.qemu_arguments)
    given = [value for name, value in pairs if name in ("-cpu", "--cpu")]
    return [request.cpu_of_guest, *given][-1]

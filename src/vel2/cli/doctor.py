"""`vel2 doctor`: is this machine able to run vel2, and if not, what to do about it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from vel2.cli.exits import ExitCode
from vel2.cli.probe import probe_el2
from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.guests.cache import cache_root
from vel2.guests.sources import find_archive, read_system
from vel2.machine.memory import format_bytes
from vel2.machine.version import MINIMUM_QEMU, require_qemu

__all__ = ("Check", "State", "doctor")

PYTHON_MIN = (3, 11)
# A demo's machine has 2 GiB and L0's part; a guest rarely touches it all.
MEMORY_GOOD = 3 << 30
MEMORY_LEAST = 1 << 30
CACHE_GOOD = 2 << 30
MEMINFO = Path("/proc/meminfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


class State(Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red"}


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, what was found, and what to do when that is not good."""

    name: str
    state: State
    found: str
    advice: str = ""


def check_python() -> Check:
    """Look at the interpreter that runs us."""
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info >= PYTHON_MIN:
        return Check("python", State.OK, found)
    return Check("python", State.FAIL, found, "install Python 3.11 or newer")


def check_compiler() -> Check:
    """Look for LLVM's AArch64 back end, which makes the resident code."""
    import llvmlite
    from llvmlite import binding

    binding.initialize_all_targets()
    version = ".".join(map(str, binding.llvm_version_info))
    found = f"llvmlite {llvmlite.__version__} with LLVM {version}"
    try:
        binding.Target.from_triple("aarch64-none-elf")
    except RuntimeError as error:
        return Check("compiler", State.FAIL, f"{found}: {error}", "install llvmlite from a wheel")
    return Check("compiler", State.OK, found)


def check_qemu() -> Check:
    """Look at QEMU's version."""
    try:
        path, version = require_qemu()
    except UserError as error:
        return Check("qemu", State.FAIL, str(error), f"install QEMU {MINIMUM_QEMU} or newer")
    return Check("qemu", State.OK, f"{version} at {path}")


def check_nv2() -> Check:
    """Run a few instructions at EL2 and read there what the processor has."""
    try:
        processor = probe_el2()
    except UserError as error:
        return Check("feat_nv2", State.FAIL, str(error), "see the row above")
    found = f"CurrentEL is EL{processor.el}, ID_AA64MMFR2_EL1.NV is {processor.nv}"
    if processor.el == 2 and processor.nv >= 2:
        return Check("feat_nv2", State.OK, found)
    return Check("feat_nv2", State.FAIL, found, f"install QEMU {MINIMUM_QEMU} or newer")


def available_memory() -> int:
    """Give the bytes that a new process may use: the machine's, or its control group's if less."""
    rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    available = int(rows["MemAvailable"].split()[0]) << 10
    try:
        limit, used = CGROUP_LIMIT.read_text().strip(), int(CGROUP_USED.read_text())
    except OSError:  # no control group above us, or an older kind
        return available
    return available if limit == "max" else min(available, int(limit) - used)


def check_memory() -> Check:
    """Look at how much memory there is for guests."""
    available = available_memory()
    found = f"{format_bytes(available)} available"
    if available >= MEMORY_GOOD:
        return Check("memory", State.OK, found)
    state = State.WARN if available >= MEMORY_LEAST else State.FAIL
    return Check("memory", state, found, "free some, or give guests less with --memory")


def check_mirror() -> Check:
    """Look for the Debian mirror that guests are fetched from, and for the programs to do it."""
    missing = [name for name in ("apt-get", "apt-cache", "dpkg-deb") if not shutil.which(name)]
    if missing:
        return Check(
            "packages",
            State.WARN,
            f"no {' and no '.join(missing)}",
            "run on Debian, or give kernels as files",
        )
    try:
        archive = find_archive(read_system())
    except UserError as error:
        return Check("packages", State.WARN, str(error), "see apt's sources.list(5)")
    return Check("packages", State.OK, f"Debian at {archive.uri}")


def check_cache() -> Check:
    """Look at the folder guests are kept in."""
    try:
        root = cache_root()
    except UserError as error:
        return Check("cache", State.FAIL, str(error), "set XDG_CACHE_HOME")
    free = shutil.disk_usage(root).free
    found = f"{root}, {format_bytes(free)} free"
    if not os.access(root, os.W_OK):
        return Check("cache", State.FAIL, f"{root} cannot be written", "set XDG_CACHE_HOME")
    if free < CACHE_GOOD:
        return Check("cache", State.WARN, found, "free some disk space")
    return Check("cache", State.OK, found)


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_compiler,
    check_qemu,
    check_nv2,
    check_memory,
    check_mirror,
    check_cache,
)


def print_checks(checks: Iterable[Check]) -> None:
    """Print one row each, and under it what to do where something is wrong."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark = Text(check.state.value, style=COLOURS[check.state])
        table.add_row(check.name, mark, check.found)
        if check.advice:
            table.add_row("", "", f"-> {check.advice}")
    Terminal().print(table)


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Say whether this machine is able to run vel2, and what to do if not.

    \b
    Example:
      vel2 doctor                  exits with 3 when something needed is missing
    """  # noqa: D301
    checks = [check() for check in CHECKS]
    print_checks(checks)
    if any(check.state is State.FAIL for check in checks):
        context.exit(ExitCode.UNABLE)

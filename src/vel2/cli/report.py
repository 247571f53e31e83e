"""What a run showed, gathered from marker lines and counters, written as JSON or as tables.

A guest's init prints lines such as `##vel2 l1.kernel=6.12.48 l1.el=EL2`. A dotted name is a place
in the report; what a guest does not say stays out, so the report never claims what was not seen.
"""

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.guests.markers import parse_marker
from vel2.machine.console import Line
from vel2.machine.outcome import MachineExit

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.control.counters import TrapCount
    from vel2.control.locks import LockTime

__all__ = (
    "L2_PREFIX",
    "Report",
    "Tree",
    "plain_table",
    "print_guests",
    "print_locks",
    "print_traps",
    "trap_tree",
    "write_json",
)

L2_PREFIX = "L2| "
"""What the VMM inside L1 puts before each line of its guest."""

MARKERS_LIMIT = 1000
MARKER_LIMIT = 4096
"""Names that a report has at most, and characters of a name and its value."""

HOST_PLACES = frozenset(
    {"run", "exit_code", "ended", "seconds", "traps", "inner", "locks", "fatal", "probes"}
)
"""What the host says of a run, and no guest can."""

WORDS: dict[str, bool] = {"yes": True, "ok": True, "no": False}
INTEGER = re.compile(r"-?[0-9]{1,18}")
DECIMAL = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")

Value = bool | int | float | str
Tree = dict[str, "Value | Tree"]


def to_value(name: str, text: str) -> Value:
    """Read a marker's value; what is a name, such as a kernel's version, stays text."""
    if name.endswith(".kernel"):
        return text
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) else WORDS.get(text, text)


@dataclass
class Report:
    """The result of one run, as a tree of named values."""

    tree: Tree = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    times: dict[str, float] = field(default_factory=dict)
    dropped: int = 0
    """Markers that were not taken: a guest may make up as many as it likes."""

    def start_clock(self) -> None:
        """Count the seconds of the report from now on: the machine is about to start."""
        self.began = time.monotonic()

    def take(self, line: Line) -> None:
        """Take what a console line says, if it is a marker; L2 may speak of L2 only."""
        marker = parse_marker(line.text)
        if marker is None:
            return
        name, text = marker
        if line.text.startswith(L2_PREFIX) and not name.startswith("l2."):
            return
        if name.partition(".")[0] in HOST_PLACES:
            return
        if name not in self.times and (
            len(self.times) >= MARKERS_LIMIT or len(name) + len(text) > MARKER_LIMIT
        ):
            self.dropped += 1
            return
        self.times.setdefault(name, line.time)
        self.put(name, to_value(name, text))

    def put(self, name: str, value: Value) -> None:
        """Set the value at a dotted name; the first value said of a name stands.

        A guest speaks before whatever runs in it, and must not be overruled from inside.
        """
        *places, last = name.split(".")
        node = self.tree
        for place in places:
            below = node.setdefault(place, {})
            if not isinstance(below, dict):
                return
            node = below
        node.setdefault(last, value)

    def get(self, name: str) -> "Value | Tree | None":
        """Give the value at a dotted name; None when nothing was said."""
        node: Value | Tree = self.tree
        for place in name.split("."):
            if not isinstance(node, dict) or place not in node:
                return None
            node = node[place]
        return node

    def finish(
        self, ended: MachineExit, code: int, traps: list["TrapCount"], by_sysreg: dict[str, int]
    ) -> None:
        """Add how the machine ended, and the counters of L0."""
        self.put_boot_times()
        self.put("exit_code", int(code))
        self.put("ended", str(ended))
        self.put("seconds", round(ended.seconds, 3))
        self.tree["traps"] = trap_tree(traps, by_sysreg)

    def put_locks(self, locks: list["LockTime"]) -> None:
        """Say how long each of L0's locks was held, if it was."""
        for lock in locks:
            for name in ("holds", "total_ns", "longest_ns"):
                self.put(f"locks.{lock.name}.{name}", getattr(lock, name))

    def put_boot_times(self) -> None:
        """Say how long each level took from its start to its first word, by the host's clock."""
        starts = {"l1": self.began, "l2": self.times.get("l1.l2_start")}
        for level, start in starts.items():
            ready = min(
                (at for name, at in self.times.items() if name.startswith(f"{level}.")),
                default=None,
            )
            if start is not None and ready is not None:
                self.put(f"{level}.boot_seconds", round(ready - start, 3))


def trap_tree(traps: list["TrapCount"], by_sysreg: dict[str, int]) -> Tree:
    """Give what one vel2 counted, as it stands in a result."""
    by_ec: Counter[str] = Counter()
    by_context: Counter[str] = Counter()
    for trap in traps:
        by_ec[trap.kind] += trap.count
        by_context[trap.context] += trap.count
    return {
        "total": by_ec.total(),
        "by_ec": dict(by_ec.most_common()),
        "by_context": dict(by_context.most_common()),
        "by_sysreg": dict(Counter(by_sysreg).most_common()),
    }


def write_json(tree: Mapping[str, Any], path: Path | None) -> None:
    """Write a result as JSON to where `write_file` would.

    :raises UserError: when the file cannot be written.
    """
    write_file(path, json.dumps(tree, indent=2) + "\n", "the JSON result")


def require_writable(path: Path | None, what: str) -> None:
    """Find out before the first boot whether a result can be written after the last.

    :param path: None for no result, `-` for standard output. :param what: as for `write_file`.
    :raises UserError: when it cannot.
    """
    if path is None or str(path) == "-":
        return
    with explained(path, what):
        if path.exists():
            os.close(os.open(path, os.O_WRONLY))
            return
        # A file that stayed here would be left behind by whatever goes wrong until then.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        path.unlink()


def write_file(path: Path | None, text: str, what: str) -> None:
    """Write a file that the user has named; `what` is it, in words.

    :param path: None when no file was named, `-` for standard output.
    :raises UserError: when it cannot be written.
    """
    if str(path) == "-":
        sys.stdout.write(text)
    elif path is not None:
        with explained(path, what):
            path.write_text(text)


@contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Say which file could not be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{what} cannot be written to {path} ({error.strerror}); name another file."
        ) from error


def plain_table(*columns: str, texts: int = 1) -> Table:
    """Make a table whose first columns are text and whose others are numbers.

    Where it is too wide, what does not fit goes on in the next line: nothing is left out.
    """
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[texts:]:
        column.justify = "right"
    return table


def print_traps(
    console: Terminal, traps: list["TrapCount"], by_sysreg: dict[str, int], what: str = "EL2"
) -> None:
    """Print the traps by exception class and context, then the registers trapped most often.

    :param what: where they went to.
    """
    contexts = sorted({trap.context for trap in traps})
    counts = Counter({(trap.kind, trap.context): 0 for trap in traps})
    for trap in traps:
        counts[trap.kind, trap.context] += trap.count
    sums: Counter[str] = Counter()
    for (kind, _), count in counts.items():
        sums[kind] += count
    table = plain_table(f"traps to {what}", *contexts, "total")
    for kind, total in sums.most_common():
        table.add_row(kind, *(f"{counts[kind, at]:,}" for at in contexts), f"{total:,}")
    columns = (sum(counts[kind, at] for kind in sums) for at in contexts)
    table.add_row("all", *(f"{n:,}" for n in columns), f"{sums.total():,}", style="bold")
    console.print(table)
    if by_sysreg:
        registers = plain_table("system registers trapped most", "count")
        for name, count in Counter(by_sysreg).most_common(8):
            registers.add_row(name, f"{count:,}")
        console.print()
        console.print(registers)


def print_locks(console: Terminal, locks: list["LockTime"]) -> None:
    """Print how often and how long L0 held each of its locks, by the guest's clock."""
    table = plain_table("locks of L0", "holds", "all", "longest")
    for lock in locks:
        times = (f"{ns / 1000:,.1f} us" for ns in (lock.total_ns, lock.longest_ns))
        table.add_row(lock.name, f"{lock.holds:,}", *times)
    console.print()
    console.print(table)


def print_guests(console: Terminal, report: Report, deterministic: bool, depth: int = 1) -> None:
    """Print a row for each level: its kernel, where it runs, how long it took to user space.

    :param deterministic: guest time counts instructions, one each nanosecond.
    :param depth: the level of the first of them, which calls itself L1.
    """
    table = plain_table("guest", "kernel", "runs at", "KVM", "boot", "guest clock", texts=4)
    for number, level in enumerate(("l1", "l2"), depth):
        boot, uptime = report.get(f"{level}.boot_seconds"), report.get(f"{level}.uptime")
        if not isinstance(boot, float):
            table.add_row(f"L{number}", "never reached user space")
            continue
        unit = "G instructions" if deterministic else "s"
        clock = f"{uptime:.2f} {unit}" if isinstance(uptime, float) else "-"
        known = (report.get(f"{level}.{name}") for name in ("kernel", "el", "kvm_mode"))
        cells = ("-" if value is None else str(value) for value in known)
        table.add_row(f"L{number}", *cells, f"{boot:.2f} s", clock)
    console.print(table)

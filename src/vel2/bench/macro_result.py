"""The result of the macro benchmarks as a tree for JSON, and how it compares with `native`.

There are two scales. Instructions are exact. Host time is noisy, so configurations take turns, and
each run is compared with the run of its base (`Configuration.base`) in the same turn. The figure is
the median.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from vel2.arch.nesting import Level
from vel2.bench.campaign import Runs
from vel2.bench.configuration import Configuration
from vel2.bench.parts import Part
from vel2.bench.result import DIGITS, Tree
from vel2.control.locks import LockTime

__all__ = ("TARGETS", "ProgramRuns", "Target", "add_ratios", "macro_column")


@dataclass(frozen=True)
class Target:
    """At most so many times as long as its base, on FEAT_NV2; None where no target is set."""

    instructions: float
    host: float | None = None


TARGETS = {
    "l1.boot": Target(1.15, 1.15),
    "l1.syscall": Target(1.3),
    "l1.pipe": Target(1.3),
    "l1.fork": Target(1.3),
    "l1.exec": Target(1.3),
    "l2.memory": Target(1.6),
}


ProgramRuns = Runs[Mapping[str, Part]]


def macro_column(runs: ProgramRuns) -> Tree:
    """Give the figures of one configuration."""
    return {"error": None, "operations": {name: cell_of(runs, name) for name in runs.first}}


def cell_of(runs: ProgramRuns, name: str) -> Tree:
    """Give the figures of one part; what was not measured is None."""
    part = None if runs.counted is None else runs.counted[name]
    times = [run[name].ticks / run[name].count for run in runs.timed]
    some = part or runs.timed[0][name]
    traps = part.traps if part else None
    exits = some.l1_exits
    return {
        "count": some.count,
        "instructions_per_op": None if part is None else rounded(part.ticks / part.count),
        "host_ns_per_op": rounded(median(times)) if times else None,
        "host_ns_rounds": [rounded(time) for time in times],
        "traps_per_op": None if traps is None else rounded(traps.total / some.count),
        "traps_by_kind": None
        if traps is None
        else {kind: rounded(count / some.count) for kind, count in traps.by_kind.items()},
        "switches_to_vel2_per_op": None
        if traps is None or traps.exits is None
        else rounded(traps.exits / some.count),
        "l1_exits_per_op": None if exits is None else rounded(exits / some.count),
        "locks": {lock.name: held(lock) for lock in some.locks},
    }


def held(lock: LockTime) -> Tree:
    """Give how often and how long L0 held a lock, in nanoseconds of the guest's clock."""
    return {"holds": lock.holds, "total_ns": lock.total_ns, "longest_ns": lock.longest_ns}


def rounded(value: float) -> float:
    """Round to what is written."""
    return round(value, DIGITS)


def add_ratios(columns: Mapping[str, Tree], configurations: Mapping[str, Configuration]) -> None:
    """Add to each cell its ratios to its base, and what the target says of them."""
    for name, column in columns.items():
        row = configurations[name]
        column["base"] = row.base if row.nested else None
        base = columns.get(row.base, {}).get("operations", {}) if row.nested else {}
        for part, cell in column["operations"].items():
            native = base.get(part)
            cell["ratio_to_native"] = native and ratio(
                cell["instructions_per_op"], native["instructions_per_op"]
            )
            pairs = (
                zip(cell["host_ns_rounds"], native["host_ns_rounds"], strict=False)
                if native
                else ()
            )
            ratios = [time / other for time, other in pairs if other]
            cell["host_ratio_to_native"] = rounded(median(ratios)) if ratios else None
            target = TARGETS.get(part) if is_judged(row) else None
            cell["target"] = None if target is None else judged(target, cell)


def ratio(cost: float | None, other: float | None) -> float | None:
    """Divide what was measured."""
    return rounded(cost / other) if cost is not None and other else None


def is_judged(configuration: Configuration) -> bool:
    """Whether targets are meant for a configuration: FEAT_NV alone traps what they leave out."""
    return configuration.nv is Level.NV2


def judged(target: Target, cell: Tree) -> Tree:
    """Give a target and whether the cell meets it."""
    return {
        "ratio": target.instructions,
        "met": is_met(target.instructions, cell["ratio_to_native"]),
        "host_ratio": target.host,
        "host_met": is_met(target.host, cell["host_ratio_to_native"]),
    }


def is_met(target: float | None, measured: float | None) -> bool | None:
    """Whether a ratio is no more than its target; None when one of them is not there."""
    return None if target is None or measured is None else measured <= target

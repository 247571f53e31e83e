"""The result of a benchmark as a tree for JSON, and the comparisons drawn from it.

A figure that was not measured is None, and so is a comparison with one.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from vel2.bench.configuration import Configuration
from vel2.bench.measure import Figures
from vel2.bench.targets import AIMS, AT_LEAST, AT_LEAST_FOR_L3, KVM, MUST, PEER_OF, Cost

__all__ = ("Tree", "add_comparisons", "is_met", "measured_column")

Tree = dict[str, Any]
DIGITS = 3


def measured_column(
    figures: Mapping[str, Figures],
    deterministic: bool,
    timed: Sequence[Mapping[str, Figures]] = (),
) -> Tree:
    """Give the figures of one configuration.

    :param figures: of a run that counts instructions when `deterministic`, else by host time.
    :param timed: of runs by host time besides; the median of each figure is given.
    """
    operations = {name: measured_cell(cell, deterministic) for name, cell in figures.items()}
    for name, cell in operations.items():
        if timed:
            times = [run[name].ticks_per_op for run in timed]
            cell["host_ns_per_op"] = round(median(times), DIGITS)
    return {"error": None, "operations": operations}


def measured_cell(figures: Figures, deterministic: bool) -> Tree:
    """Give the figures of one operation. One tick is an instruction, or a nanosecond."""
    ticks = round(figures.ticks_per_op, DIGITS)
    traps, usual = figures.traps, figures.usual_traps
    return {
        "count": figures.count,
        "instructions_per_op": ticks if deterministic else None,
        "host_ns_per_op": None if deterministic else ticks,
        "traps_per_op": None if traps is None else per_op(traps.total, figures.traps_of),
        "traps_by_kind": None
        if traps is None
        else {kind: per_op(count, figures.traps_of) for kind, count in traps.by_kind.items()},
        "usual_instructions": figures.usual_ticks if deterministic else None,
        "usual_traps": None if usual is None else usual.total,
        "usual_traps_by_kind": None if usual is None else dict(usual.by_kind),
        "switches_to_vel2_per_op": None
        if traps is None or traps.exits is None
        else per_op(traps.exits, figures.traps_of),
        "l1_exits_per_op": figures.l1_exits_per_op,
    }


def per_op(count: int, operations: int) -> float:
    """Divide by how often the operation was done."""
    return round(count / operations, DIGITS)


def add_comparisons(
    columns: Mapping[str, Tree], configurations: Mapping[str, Configuration]
) -> None:
    """Add to each cell its ratio to its base, to the peer, and what the targets say of it.

    The base is the same kind of L1 at real EL2: an nVHE KVM costs more there too.
    """
    for name, column in columns.items():
        row = configurations[name]
        column["base"] = row.base if row.nested else None
        native = columns.get(row.base, {}).get("operations", {}) if row.nested else {}
        for operation, cell in column["operations"].items():
            base = native.get(operation) or {}
            # By instructions where they were counted.
            scales = ("instructions_per_op", "host_ns_per_op")
            scale = next((scale for scale in scales if cell[scale]), scales[0])
            cell["ratio_to_native"] = quotient(cell[scale], base.get(scale))
            host = cell["host_ns_per_op"]
            cell["host_ratio_to_native"] = quotient(host, base.get("host_ns_per_op"))
            is_plain = (row.level, row.depth) == (2, 1)
            for key, table in (("must", MUST), ("aims", AIMS), ("kvm_as_l0", KVM)):
                target = table.get(name, {}).get(operation) if is_plain else None
                cell[key] = None if target is None else judged(target, cell)
            peer = PEER_OF.get(name, "")
            other = columns.get(peer, {}).get("operations", {}).get(operation)
            least = least_ratio(row, operation)
            cell["peer"] = None if other is None else compared(PEER_OF[name], least, cell, other)


def quotient(cost: float | None, base: float | None) -> float | None:
    """Give how many times the base a cost is, where both were measured."""
    return round(cost / base, 2) if cost is not None and base else None


def least_ratio(row: Configuration, operation: str) -> int | None:
    """Give how many times vel2's instructions the peer must take; None if nothing is asked."""
    if row.depth > 1:
        return None
    return (AT_LEAST if row.level == 2 else AT_LEAST_FOR_L3).get(row.name, {}).get(operation)


def compared(peer: str, least: int | None, cell: Tree, other: Tree) -> Tree:
    """Say how many times the cost of an operation the peer's is, and whether that is enough."""
    key = "host_ns_per_op" if cell["instructions_per_op"] is None else "instructions_per_op"
    ratio = other[key] / cell[key]
    by_host = cell["host_ns_per_op"] is not None and other["host_ns_per_op"] is not None
    counted = key == "instructions_per_op" and least is not None
    return {
        "configuration": peer,
        "ratio": three_digits(ratio),
        "host_ratio": three_digits(other["host_ns_per_op"] / cell["host_ns_per_op"])
        if by_host
        else None,
        "at_least": least,
        "met": ratio >= least if counted else None,
    }


def three_digits(value: float) -> float:
    """Round so that neither 22.3 nor 0.00175 loses what it says."""
    return float(f"{value:.3g}")


def judged(target: Cost, cell: Tree) -> Tree:
    """Give a target and whether the cell meets it."""
    return {
        "instructions": target.instructions,
        "traps": target.traps,
        "met": is_met(target, cell["instructions_per_op"], cell["usual_traps"]),
    }


def is_met(target: Cost, instructions: float | None, traps: int | None) -> bool | None:
    """Whether a cost is no more than the target; None when that was not measured."""
    if instructions is None:
        return None
    if target.traps is not None and (traps is None or traps > target.traps):
        return None if traps is None else False
    return instructions <= target.instructions

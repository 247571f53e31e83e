"""One page with all results: charts, and the tables behind them.

It is made from the trees that `--json` writes, of one run or of several. Single operations, macro
benchmarks, growth curves and profiles have one or more sections each. What was not measured is not
on the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from vel2.bench.charts import bars, curves, stacks
from vel2.bench.published import CITATION, PUBLISHED
from vel2.bench.report_parts import (
    Cell,
    Section,
    cell,
    html_table,
    marked,
    number,
    of_cell,
    page,
    plural,
    ratio,
)
from vel2.bench.result import Tree
from vel2.bench.targets import PEER_OF
from vel2.errors import UserError

__all__ = ("kind_of", "report_page")

TITLE = "vel2: what nesting costs"
TELLING = (
    "hypercall",
    "mmio_read",
    "gicd_read",
    "id_register",
    "self_sgi",
    "vtimer_interrupt",
    "stage2_fault",
)
"""The operations that charts show: one of each kind."""
PLAIN = ("native", "native-nvhe")
PARTIES = ("L2", "L1", "L0", "EL0")


def kind_of(tree: Tree) -> str:
    """Say what a result is of: `growth`, `profile`, `macro` or `micro`.

    :raises UserError: when it is no result of `vel2 bench`.
    """
    columns = tree.get("configurations")
    if not isinstance(columns, dict) or "qemu" not in tree:
        raise UserError("there is JSON that is no result of `vel2 bench --json`; leave it out.")
    if "curves" in tree:
        return "growth"
    if any("levels" in found for found in cells_of(tree)):
        return "profile"
    return "macro" if "l2" in tree else "micro"


def cells_of(tree: Tree) -> list[Tree]:
    """List all that was measured."""
    columns = tree["configurations"].values()
    return [found for column in columns for found in column["operations"].values()]


def report_page(trees: Sequence[Tree]) -> str:
    """Write the page.

    :raises UserError: when one of the results is none, or charts cannot be drawn.
    """
    makers = {"micro": micro, "macro": macro, "growth": growth, "profile": profiles}
    order = list(makers)
    found = sorted(trees, key=lambda tree: order.index(kind_of(tree)))
    sections = [part for tree in found for part in makers[kind_of(tree)](tree) if part.body]
    return page(TITLE, about(found), runs_of(found), sections)


def about(trees: Sequence[Tree]) -> str:
    """Say what was measured with."""
    said = [f"Machine: QEMU {tree['qemu']}, one CPU." for tree in trees]
    said += [f"L1: Linux {tree['l1_kernel']} with KVM." for tree in trees]
    for what, key in (("L2 of the macro benchmarks", "l2_kernel"), ("KVM as L0", "kvm_l0_kernel")):
        said += [f"{what}: Linux {tree[key]}." for tree in trees if tree.get(key)]
    return " ".join(dict.fromkeys(said))


def runs_of(trees: Sequence[Tree]) -> str:
    """Say when, by which vel2 and by what command each result was got; older ones do not know."""
    rows = [
        [Cell(run["date"]), Cell(run["vel2"]), Cell(run["command"], is_text=True)]
        for tree in trees
        if (run := tree.get("run"))
    ]
    return html_table(["measured", "vel2", "command"], rows) if rows else ""


def columns_of(tree: Tree) -> dict[str, Tree]:
    """Give the configurations that have figures."""
    return {
        name: column["operations"]
        for name, column in tree["configurations"].items()
        if column["operations"]
    }


def names_of(columns: Mapping[str, Tree]) -> list[str]:
    """List the operations of all configurations, in order."""
    return list(dict.fromkeys(name for column in columns.values() for name in column))


def series(
    columns: Mapping[str, Tree], operations: Sequence[str], key: str
) -> dict[str, list[float | None]]:
    """Give one figure of each operation, by configuration; leave out what has none at all."""
    made = {
        name: [of_cell(column, operation, key) for operation in operations]
        for name, column in columns.items()
    }
    return {name: values for name, values in made.items() if any(v is not None for v in values)}


# --- single operations --------------------------------------------------------------------------


def micro(tree: Tree) -> Iterator[Section]:
    """Give the sections about single operations."""
    columns = columns_of(tree)
    operations = names_of(columns)
    telling = [name for name in TELLING if name in operations] or operations
    nested = {name: column for name, column in columns.items() if name not in PLAIN}
    bases = {name: column.get("base") for name, column in tree["configurations"].items()}
    text = "What the rest of this page shows in detail."
    yield Section("In short", text, in_short(nested, bases))
    yield costs(tree, columns, operations, telling)
    traps = series(nested, telling, "usual_traps")
    yield Section(
        "Traps",
        "Entries to real EL2 by one operation. Two are the least that the architecture allows for "
        "an exit of L2 that L1 is to see: the exit, and L1's ERET.",
        [bars("Traps to real EL2 per operation", telling, traps, "traps", is_log=True)]
        if traps
        else [],
    )
    yield targets(nested, operations)
    yield against_published(columns)


def in_short(nested: Mapping[str, Tree], bases: Mapping[str, str | None]) -> list[str]:
    """Say in a list what the most telling figures are.

    :param bases: what each configuration is compared with.
    """
    said = []
    for name, column in nested.items():
        found = cell(column, "hypercall")
        if found is None or found["instructions_per_op"] is None:
            continue
        text = (
            f"{name}: a hypercall of L2 takes {number(found['instructions_per_op'])} instructions"
        )
        if found["usual_traps"] is not None:
            text += f" and {plural(found['usual_traps'], 'trap')}"
        if found["ratio_to_native"] is not None:
            text += f", {ratio(found['ratio_to_native'])} times {bases[name] or 'native'}"
        if found["peer"] is not None:
            text += f"; KVM as L0 takes {ratio(found['peer']['ratio'])} times as many"
        said.append(f"{text}.")
    for key in ("must", "aims"):
        verdicts = [
            found[key]["met"]
            for column in nested.values()
            for found in column.values()
            if found.get(key) and found[key]["met"] is not None
        ]
        if verdicts:
            said.append(f"Targets: {sum(verdicts)} of {len(verdicts)} `{key}` are met.")
    items = "\n".join(f"<li>{marked(text)}</li>" for text in said)
    return [f"<ul>\n{items}\n</ul>"] if said else []


def costs(
    tree: Tree, columns: Mapping[str, Tree], operations: Sequence[str], telling: Sequence[str]
) -> Section:
    """Give the section about what each operation costs."""
    is_counted = tree["clock"] != "host"
    key = "instructions_per_op" if is_counted else "host_ns_per_op"
    ratio_key = "ratio_to_native"
    nested = {name: column for name, column in columns.items() if name not in PLAIN}
    ratios = series(nested, telling, ratio_key)
    unit = "instructions of all levels together" if is_counted else "nanoseconds of the host"
    charts = []
    if ratios:
        title = "Cost of one operation of L2, times that under the same L1 at real EL2"
        charts.append(bars(title, telling, ratios, "times native", is_log=True, decimals=1))
    rows = []
    for operation in operations:
        row = [Cell(operation)]
        for name in columns:
            cost = of_cell(columns[name], operation, key)
            times = of_cell(columns[name], operation, ratio_key)
            traps = of_cell(columns[name], operation, "usual_traps")
            small = [] if times is None else [f"x{ratio(times)}"]
            small += [] if traps is None else [plural(traps, "trap")]
            row.append(Cell(number(cost), small=", ".join(small)))
        rows.append(row)
    text = (
        f"What one operation of L2 costs: {unit}, how many times that of the same L1 without an "
        "L0, and entries to real EL2. L1 without an L0 is at the machine's real EL2: `native` for "
        "the VHE columns, `native-nvhe` for the nVHE ones."
    )
    return Section("Operations", text, [*charts, html_table(["operation", *columns], rows)])


def targets(nested: Mapping[str, Tree], operations: Sequence[str]) -> Section:
    """Give the section about vel2's own targets, and KVM as L0."""
    parts: list[str] = []
    for name, column in nested.items():
        judged = [op for op in operations if (cell(column, op) or {}).get("must")]
        if not judged:
            continue
        found = [column[operation] for operation in judged]
        is_counted = all(each["instructions_per_op"] is not None for each in found)
        if is_counted:
            parts.append(targets_chart(name, judged, found))
        peers = nested.get(PEER_OF.get(name, ""), {})
        rows = [target_row(op, each, peers) for op, each in zip(judged, found, strict=True)]
        head = [name, "vel2", "must", "aims", "KVM as L0", "KVM / vel2"]
        parts.append(html_table(head, rows))
    text = (
        "`must` and `aims` are what vel2 has set itself (instructions, in brackets traps). KVM as "
        "L0 is the same L1 and L2 on Linux's KVM: from this run, or else as once recorded "
        "(Linux 7.3.4, QEMU 10.0.2)."
    )
    return Section("Targets, and KVM as L0", text, parts)


def targets_chart(name: str, operations: Sequence[str], found: Sequence[Tree]) -> str:
    """Draw what operations cost as a part of what they may cost."""
    must = [each["must"]["instructions"] for each in found]

    def percent(costs: Sequence[float | None]) -> list[float | None]:
        pairs = zip(costs, must, strict=True)
        return [None if cost is None else 100 * cost / most for cost, most in pairs]

    marks = {"must": percent(must)}
    if any(each["aims"] for each in found):
        marks["aims"] = percent([each["aims"] and each["aims"]["instructions"] for each in found])
    costs = {name: percent([each["instructions_per_op"] for each in found])}
    title = f"{name}: instructions, in percent of what is the most"
    return bars(title, operations, costs, "percent", marks=marks)


def target_row(operation: str, found: Tree, peers: Tree) -> list[Cell]:
    """Write what was asked of one operation.

    :param peers: what KVM as L0 costs in this run.
    """
    cost, traps = found["instructions_per_op"], found["usual_traps"]
    row = [Cell(operation), Cell(with_traps(cost, traps))]
    for key in ("must", "aims"):
        judged = found[key]
        if judged is None:
            row.append(Cell("-"))
        else:
            # That an aim is not reached yet is nothing to be marked as wrong.
            met = judged["met"] if key == "must" else judged["met"] or None
            row.append(Cell(with_traps(judged["instructions"], judged["traps"]), met))
    peer, recorded = cell(peers, operation), found["kvm_as_l0"]
    if peer is not None and cost and peer["instructions_per_op"]:
        theirs = peer["instructions_per_op"]
        row.append(Cell(with_traps(theirs, peer["usual_traps"]), small="this run"))
        row.append(Cell(ratio(theirs / cost), found["peer"]["met"]))
    elif recorded is not None and cost:
        row.append(Cell(with_traps(recorded["instructions"], recorded["traps"]), small="recorded"))
        row.append(Cell(ratio(recorded["instructions"] / cost)))
    else:
        row += [Cell("-"), Cell("-")]
    return row


def with_traps(cost: float | None, traps: float | None) -> str:
    """Write instructions, and in brackets traps."""
    return number(cost) + ("" if traps is None else f" ({traps:,.0f})")


def against_published(columns: Mapping[str, Tree]) -> Section:
    """Give the section that lays NEVE's figures beside ours."""
    names = [name for name in ("nvhe-nv", "vhe-nv", "nvhe-nv2", "vhe-nv2") if name in columns]
    charts, rows = [], []
    for row in PUBLISHED:
        ours = {name: of_cell(columns[name], row.operation, "ratio_to_native") for name in names}
        traps = {name: of_cell(columns[name], row.operation, "usual_traps") for name in names}
        if not any(value is not None for value in ours.values()):
            continue
        theirs = {name: row.ratio(name) for name in names}
        where = f"{row.name} / {row.operation}"
        if max(value or 0 for value in theirs.values()) > 1:
            both = {"NEVE 2017": list(theirs.values()), "vel2": list(ours.values())}
            title = f"{where}: times a VM that is not nested"
            charts.append(bars(title, names, both, "times", is_log=True, decimals=1))
        rows.append(
            [
                Cell(where),
                *(Cell(f"{ratio(theirs[name])} / {ratio(ours[name])}") for name in names),
                *(Cell(f"{number(row.traps.get(name))} / {number(traps[name])}") for name in names),
            ]
        )
    head = ["paper / here", *(f"{n}: ratio" for n in names), *(f"{n}: traps" for n in names)]
    text = (
        f"{CITATION}: KVM of its day as L0 and L1, in cycles of Armv8.0 hardware that imitated "
        "Armv8.3 (here `nv`) and NEVE (`nv2`). Each cell is theirs / ours. Cycles are no "
        "instructions, and L1's kernel is another: comparable are the ratio to a VM that is not "
        "nested, and traps to L0. Their Device I/O is held against the read of a register that "
        "L1's kernel emulates; Virtual IPI needs a second CPU."
    )
    return Section("Beside NEVE", text, [*charts, html_table(head, rows)] if rows else [])


# --- macro, growth, profiles --------------------------------------------------------------------


def macro(tree: Tree) -> Iterator[Section]:
    """Give the section about booting, processes and memory."""
    columns = columns_of(tree)
    parts = names_of(columns)
    nested = {name: column for name, column in columns.items() if name not in PLAIN}
    shown: list[str] = []
    scales = (
        ("instructions", "ratio_to_native", "instructions_per_op"),
        ("host time", "host_ratio_to_native", "host_ns_per_op"),
    )
    for scale, ratio_key, key in scales:
        ratios = series(nested, parts, ratio_key)
        if ratios:
            title = f"One of each part, times native, in {scale}"
            most = {"at most": [limit_of(nested, part, ratio_key) for part in parts]}
            marks = most if any(most["at most"]) else None
            shown.append(bars(title, parts, ratios, "times native", decimals=2, marks=marks))
        costs = series(columns, parts, key)
        if costs:
            rows = []
            for part in parts:
                found = (macro_cell(column, part, key, ratio_key) for column in columns.values())
                rows.append([Cell(part), *found])
            shown.append(html_table([scale, *columns], rows))
    text = (
        "Linux boots as L1, starts Linux as L2, and process 1 of both does the same: "
        "system calls, pipes, processes, and memory written for the first time and again. Cells "
        "are coloured where vel2 has set itself a target."
    )
    yield Section("Booting, processes, memory", text, shown)


def limit_of(nested: Mapping[str, Tree], part: str, ratio_key: str) -> float | None:
    """Give what vel2 has set itself for a part."""
    key = "ratio" if ratio_key == "ratio_to_native" else "host_ratio"
    found = ((cell(column, part) or {}).get("target") or {} for column in nested.values())
    return next((target[key] for target in found if target.get(key)), None)


def macro_cell(column: Tree, part: str, key: str, ratio_key: str) -> Cell:
    """Write one part of one configuration."""
    found = cell(column, part) or {}
    times = found.get(ratio_key)
    target = found.get("target") or {}
    met = target.get("met" if key == "instructions_per_op" else "host_met")
    return Cell(number(found.get(key)), met, "" if times is None else f"x{ratio(times)}")


def growth(tree: Tree) -> Iterator[Section]:
    """Give the section about what an exit costs while something grows."""
    columns = columns_of(tree)
    scales = (
        ("instructions", "instructions_per_op"),
        ("nanoseconds of the host", "host_ns_per_op"),
    )
    shown: list[str] = []
    for name, curve in tree["curves"].items():
        for scale, key in scales:
            lines = {
                configuration: points
                for configuration, column in columns.items()
                if (points := curve_points(curve, column, key))
            }
            if lines:
                title = f"{name}: {curve['costs']}"
                shown.append(f"<h3>{escape(title)}</h3>")
                shown.append(curves(title, lines, curve["grows"], scale))
    text = "What one exit costs while there is more of something."
    yield Section("Growth", text, shown)


def curve_points(curve: Tree, column: Tree, key: str) -> list[tuple[float, float]]:
    """Give the points of a curve that were measured."""
    points = ((point["x"], of_cell(column, point["operation"], key)) for point in curve["points"])
    return [(x, y) for x, y in points if y is not None]


def profiles(tree: Tree) -> Iterator[Section]:
    """Give the section about who executes the instructions."""
    columns = columns_of(tree)
    shown: list[str] = []
    for operation in names_of(columns):
        rows = [name for name, column in columns.items() if cell(column, operation)]
        levels = [columns[name][operation]["levels"] for name in rows]
        sums = {party: [sum_of(level, party) for level in levels] for party in PARTIES}
        parts = {party: counts for party, counts in sums.items() if any(counts)}
        shown.append(stacks(f"{operation}: who executes it", rows, parts, "instructions"))
        table = [
            [Cell(name), *(Cell(number(counts[at])) for counts in parts.values())]
            for at, name in enumerate(rows)
        ]
        shown.append(html_table([operation, *parts], table))
    text = (
        "Each instruction of one operation, by who executed it, out of QEMU's log. Without an L0, "
        "`native` has L1 alone. EL0 is user space that may be L0's or L1's."
    )
    yield Section("Who executes the instructions", text, shown)


def sum_of(levels: Mapping[str, int], party: str) -> int:
    """Count the instructions of one party, wherever it ran."""
    return sum(count for who, count in levels.items() if who.split()[0] == party)

"""The page about a run: what ran, when, what trapped and why, what it cost, what is unusual."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from vel2.arch.nesting import Kind, Level
from vel2.bench.charts import areas, bars
from vel2.bench.report_parts import Cell, Section, html_table, marked, number, page, plural
from vel2.report.flame import flame_graph
from vel2.report.reasons import function_reasons, saved, with_nv2
from vel2.report.summary import BINS, Distribution, Summary, ranked
from vel2.report.warnings import Warning, warnings_of
from vel2.trace.recording import Recording

__all__ = ("kind_and_level", "run_page")

TITLE = "vel2: what a run trapped on"
LEVELS = ("L0", "L1", "L2")
SHOWN = 20
REASONS = 4
"""Of one function."""
SECOND, MICROSECOND = 1e9, 1e3


def kind_and_level(run: Mapping[str, Any]) -> tuple[Kind, Level]:
    """Give the virtual EL2 of a run; VHE and NV2 where nothing says."""
    return Kind(run.get("el2", Kind.VHE.value)), Level(run.get("nv", Level.NV2.value))


def run_page(trace: Recording, summary: Summary) -> str:
    """Write the page.

    :raises UserError: when charts cannot be drawn.
    """
    kind, level = kind_and_level(trace.about.run)
    found = warnings_of(trace, summary)
    sections = [
        in_short(summary, found, kind, level),
        warnings_section(found),
        time_line(summary),
        classes(summary),
        registers(summary),
        functions(summary, kind, level),
        flame(summary),
        exits(summary),
        shadow(summary),
    ]
    about = f"{number(summary.events)} events within {summary.duration / SECOND:,.3f} s"
    return page(TITLE, f"{about} of the guest's time.", provenance(trace), sections)


def provenance(trace: Recording) -> str:
    """Say what ran."""
    about = trace.about
    said = {**about.run, **{f"{level}'s kernel": name for level, name in about.kernels.items()}}
    said["vCPUs"] = about.vcpus
    rows = [[Cell(str(name)), Cell(str(value), is_text=True)] for name, value in said.items()]
    return html_table(["run", ""], rows)


def in_short(summary: Summary, found: list[Warning], kind: Kind, level: Level) -> Section:
    """Say the most telling things in a list."""
    busy = sum(summary.time_of(each) for each in LEVELS) or 1
    shares = ", ".join(f"{each} {summary.time_of(each) / busy:.0%}" for each in LEVELS)
    said = [
        f"{plural(summary.traps, 'trap')} to L0; time: {shares}.",
        f"{plural(sum(each.count for each in summary.exits.values()), 'exit')} of"
        f" {plural(len(summary.guests), 'guest')} of L1.",
    ]
    ranks = list(function_reasons(summary, kind, level, 1))
    if ranks:
        function, count, reasons = ranks[0]
        said.append(
            f"At virtual EL2 `{function}` of L1 traps most: {number(count)} times,"
            f" mostly on `{reasons[0].cause}`."
        )
    if level is Level.NV:
        total, gone = saved(summary, kind)
        said.append(
            f"FEAT_NV2 would have saved {number(gone)} of L1's {number(total)} traps at vEL2."
        )
    said.append(f"{plural(len(found), 'warning')}.")
    items = "\n".join(f"<li>{marked(text)}</li>" for text in said)
    return Section("In short", "What the rest of this page shows.", [f"<ul>\n{items}\n</ul>"])


def warnings_section(found: list[Warning]) -> Section:
    """Give every warning with its explanation."""
    items = "\n".join(
        f"<li><strong>{escape(each.what)}</strong> {escape(each.why)}</li>" for each in found
    )
    text = "What is unusual, and what it may mean." if found else "Nothing is unusual."
    return Section("Warnings", text, [f"<ul>\n{items}\n</ul>"] if found else [])


def time_line(summary: Summary) -> Section:
    """Draw who ran, and how often it trapped."""
    seconds = summary.duration / SECOND
    width = summary.duration / BINS
    shares = {
        level: [100 * each[level] / width for each in summary.busy] for level in reversed(LEVELS)
    }
    rate = {"traps": [count / (width / SECOND) for count in summary.rate]}
    text = (
        "Who ran, in percent of one CPU, and traps per second, by the guest's clock. A level that"
        " waits in WFI counts as running, unless the wait traps."
    )
    charts = [
        areas("Who ran", seconds, shares, "seconds", "percent"),
        areas("Traps", seconds, rate, "seconds", "per second"),
    ]
    return Section("Time line", text, charts)


def classes(summary: Summary) -> Section:
    """Give traps by exception class and level."""
    top = list(ranked(summary.classes, SHOWN))
    names = list(dict.fromkeys(name for name, _, _ in top))
    series = {
        level: [float(tally.count) if tally else None for tally in tallies]
        for level in LEVELS[1:]
        if any(tallies := [summary.classes.get((name, level)) for name in names])
    }
    rows = [
        [Cell(name), Cell(level), Cell(number(tally.count)), *costs(tally.cost, tally.count)]
        for name, level, tally in top
    ]
    chart = bars("Traps by exception class", names, series, "traps", is_log=True)
    text = "Traps to L0 by exception class and who trapped; `cost` is L0's time."
    head = ["class", "from", "traps", "cost, µs", "mean, µs"]
    return Section("Traps by class", text, [chart, html_table(head, rows)])


def costs(total: int, count: int) -> tuple[Cell, Cell]:
    """Write a time in all and its mean."""
    return (
        Cell(number(total / MICROSECOND)),
        Cell(f"{total / max(1, count) / MICROSECOND:,.2f}"),
    )


def registers(summary: Summary) -> Section:
    """Give the registers and instructions that trapped."""
    rows = [
        [Cell(name), Cell(level), Cell(number(tally.count)), *costs(tally.cost, tally.count)]
        for name, level, tally in ranked(summary.registers, SHOWN)
    ]
    text = "System registers and instructions that trapped most."
    head = ["name", "from", "traps", "cost, µs", "mean, µs"]
    return Section("Registers", text, [html_table(head, rows)] if rows else [])


def functions(summary: Summary, kind: Kind, level: Level) -> Section:
    """Say which function of L1 traps most, why each trap is taken, and what FEAT_NV2 saves."""
    rows = []
    for function, count, reasons in function_reasons(summary, kind, level, SHOWN):
        name, times = function, number(count)
        for reason in reasons[:REASONS]:
            told = with_nv2(reason)
            rows.append(
                [
                    Cell(name),
                    Cell(times),
                    Cell(reason.cause),
                    Cell(number(reason.count)),
                    Cell(reason.why, is_text=True),
                    Cell(told, True if told == "no trap" else None),
                ]
            )
            name = times = ""
    total, gone = saved(summary, kind)
    text = (
        f"Functions of L1 that trapped at virtual EL2 ({kind.value}, {level.value}), with what they"
        f" trapped on and why. Of {number(total)} traps FEAT_NV2 takes away {number(gone)}."
    )
    head = ["function", "traps", "on", "times", "why it traps", "with FEAT_NV2"]
    return Section("Functions of L1", text, [html_table(head, rows)] if rows else [])


def flame(summary: Summary) -> Section:
    """Draw where the time of exits goes."""
    text = (
        "Time of all exits of L2, from its trap to the next entry: by cause, by function of L2, and"
        " then L1 itself or, by function of L1, what trapped there. The pointer shows names."
    )
    drawn = flame_graph(summary.flame, "Exits of L2, by time", "ns")
    return Section("Flame graph", text, [drawn] if drawn else [])


def exits(summary: Summary) -> Section:
    """Give how long exits and switches took."""
    text = (
        "How long exits of L2 took, by cause, and L0's time for a change of level. Half of them and"
        " 99 % are below the power of two that is given."
    )
    body = []
    for title, found in (("exit by", summary.exits), ("change of level", summary.switches)):
        order = sorted(found.items(), key=lambda item: (-item[1].total, item[0]))
        rows = [[Cell(name), *spread(times)] for name, times in order]
        if rows:
            head = [title, "times", "all, ms", "mean, µs", "half, µs", "99 %, µs", "longest, µs"]
            body.append(html_table(head, rows))
    return Section("Exits and switches", text, body)


def spread(times: Distribution) -> Iterator[Cell]:
    """Write a distribution in microseconds."""
    yield Cell(number(times.count))
    yield Cell(f"{times.total / 1e6:,.2f}")
    for value in (times.mean, times.below(0.5), times.below(0.99), times.longest):
        yield Cell(f"{value / MICROSECOND:,.2f}")


def shadow(summary: Summary) -> Section:
    """Give what became of shadow stage 2."""
    leaves = ", ".join(
        f"{number(count)} at level {level}" for level, count in sorted(summary.leaves.items())
    )
    fills = sum(summary.leaves.values())
    text = (
        f"{plural(fills, 'leaf').replace('leafs', 'leaves')} put into shadow stage-2 tables"
        f"{f' ({leaves})' if leaves else ''}; taken out {plural(summary.unmaps, 'time')}. The pages"
        " that were put in most often:"
    )
    rows = [
        [Cell(f"{ipa:#x}"), Cell(str(vmid)), Cell(number(count))]
        for (vmid, ipa), count in summary.pages.most_common(SHOWN // 2)
    ]
    return Section("Shadow stage 2", text, [html_table(["IPA", "VMID", "fills"], rows)])

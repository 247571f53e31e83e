"""The page that explains one operation: Markdown, made from profiles."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vel2.arch.esr import describe_esr
from vel2.bench.configuration import Configuration
from vel2.bench.explain import Step, steps_of, why_it_traps
from vel2.bench.operations import OPERATIONS
from vel2.bench.profile import Profile
from vel2.bench.targets import AIMS, MUST, Cost

__all__ = ("Explained", "explain_page")

MOST_FUNCTIONS = 12

HEAD = "# Where the instructions of one `{operation}` go"
WRITTEN = "<!-- Written by `{command}`: change what writes it, not this file. -->"
INTRODUCTION = (
    "L2 is a bare-metal program at EL1 that does this: {does} This page follows it through all "
    "levels, instruction by instruction, as `docs/bench.md` says under `--profile`: nothing is "
    "sampled or estimated, and the figures of each part add up to those above it."
)
MEASURED = "L1 is {l1}, the machine {qemu} with `-icount shift=0`."
READING = (
    "A *trap* is an entry to L0; `must` and `aims` are vel2's own targets. In each step, functions "
    "are those of the party whose turn it is. A function of L0 is that of the source, and what the "
    "compiler expanded in it from others is counted to those; `(no line)` is what it made for "
    "several lines at once, and `assembly` is `hyp/vectors.py`."
)
NOTHING_COMPLETED = "Its first instruction traps at once, so that nothing completes."
WIDTH = 116


@dataclass(frozen=True)
class Explained:
    """One configuration's profile."""

    configuration: Configuration
    profile: Profile


def explain_page(found: Sequence[Explained], about: Mapping[str, str], command: str) -> str:
    """Write the page about one operation.

    :param about: `l1`, `qemu`: what was measured with.
    :param command: what writes this page.
    """
    operation = found[0].profile.operation
    does = next(row for row in OPERATIONS if row.name == operation).run.__doc__ or ""
    first, *_ = does.strip().splitlines()
    parts = [
        HEAD.format(operation=operation),
        WRITTEN.format(command=command),
        prose(INTRODUCTION.format(does=first[0].lower() + first[1:])),
        prose(MEASURED.format(**about)),
        summary(operation, found),
        prose(READING),
        *(section(each) for each in found),
    ]
    return "\n\n".join(parts) + "\n"


def prose(text: str) -> str:
    """Break a paragraph into lines."""
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Write a table whose first columns are text and whose others are numbers."""
    lines = [columns, ["---"] * texts + ["---:"] * (len(columns) - texts), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def summary(operation: str, found: Sequence[Explained]) -> str:
    """Write the table of all configurations."""
    rows = []
    for each in found:
        name, levels = each.configuration.name, each.profile.levels
        l1 = sum(count for who, count in levels.items() if who.startswith("L1"))
        targets = [cost_text(t.get(name, {}).get(operation)) for t in (MUST, AIMS)]
        total = f"{levels.total():,} ({len(each.profile.traps)})"
        rows.append([name, total, f"{levels['L2']:,}", f"{l1:,}", f"{levels['L0']:,}", *targets])
    columns = ("configuration", "instructions (traps)", "L2", "L1", "L0", "must", "aims")
    return table(columns, rows)


def cost_text(cost: Cost | None) -> str:
    """Write a target."""
    if cost is None:
        return "-"
    return f"{cost.instructions:,}" + ("" if cost.traps is None else f" ({cost.traps})")


def section(explained: Explained) -> str:
    """Write about one configuration: its steps in order, then each of them."""
    profile = explained.profile
    steps = steps_of(profile)
    title = f"## {explained.configuration.name}: {profile.levels.total():,} instructions"
    if traps := len(profile.traps):
        title += f", {traps} traps"
    rows = []
    for number, step in enumerate(steps, 1):
        counts = (step.instructions(of_l0=False), step.instructions(of_l0=True), step.traps)
        rows.append([str(number), step_title(step), *map(count_text, counts)])
    parts = [title, table(("step", "what", "guests", "L0", "traps"), rows, texts=2)]
    for number, step in enumerate(steps, 1):
        parts.append(step_text(number, step, explained.configuration))
    return "\n\n".join(parts)


def count_text(count: int) -> str:
    """Write a number; nothing for none."""
    return f"{count:,}" if count else ""


def step_title(step: Step) -> str:
    """Say in a few words what a step is."""
    if step.who == "L0":
        return f"{step.kind.title} ({step.trap})"
    where = step.who.removeprefix("L1 ")
    return step.kind.title if step.who == "L2" else f"{step.kind.title} at {where}"


def step_text(number: int, step: Step, configuration: Configuration) -> str:
    """Write about one step."""
    title = f"### {configuration.name}, step {number}: {step_title(step)}"
    parts = [title, prose(step.kind.text)]
    if not step.functions:
        return "\n\n".join([*parts, prose(NOTHING_COMPLETED)])
    if step.syndrome is not None and step.who == "L0":
        parts.append(f"ESR_EL2: `{describe_esr(step.syndrome)}`.")
    parts.append(functions_table(step.who, step.functions))
    if step.answers:
        parts.append(answers_table(step, configuration))
        parts.append(functions_table("L0 within the step", step.functions_of_answers))
    parts += map(prose, moved(step.system))
    return "\n\n".join(parts)


def functions_table(who: str, functions: Counter[str]) -> str:
    """Write functions, most instructions first, the others in one row."""
    counted = functions.most_common()
    rows = [[f"`{name}`", f"{count:,}"] for name, count in counted[:MOST_FUNCTIONS]]
    if rest := counted[MOST_FUNCTIONS:]:
        rows.append([f"{len(rest)} others", f"{sum(count for _, count in rest):,}"])
    return table((f"function of {who}", "instructions"), rows)


def answers_table(step: Step, configuration: Configuration) -> str:
    """Write the traps within a step of L1."""
    rows = []
    for answer in step.answers:
        why = why_it_traps(answer.kind, configuration)
        rows.append([answer.kind, why, str(len(answer.each)), f"{sum(answer.each):,}"])
    return table(("trap within the step", "why", "times", "instructions of L0"), rows, texts=2)


def moved(system: Counter[str]) -> list[str]:
    """Say which system registers L0 read and wrote."""
    said = []
    for verb, word in (("MRS", "read"), ("MSR", "written")):
        names = [name.split()[1] for name in system if name.startswith(f"{verb} ")]
        times = sum(count for name, count in system.items() if name.startswith(f"{verb} "))
        if names:
            more = f" in {times} accesses" if times != len(names) else ""
            noun = "register" if len(names) == 1 else "registers"
            said.append(f"{len(names)} {noun} {word}{more}: {', '.join(names)}.")
    others = [
        f"{count} {name}" for name, count in system.items() if not name.startswith(("MRS ", "MSR "))
    ]
    if others:
        said.append(f"Barriers and maintenance: {', '.join(others)}.")
    return said

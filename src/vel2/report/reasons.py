"""Why L1's traps trap, and what another level of FEAT_NV* makes of them.

What traps at vEL2 is asked of the tables and of L0's own code (`explain.instruction`), for the
virtual EL2 that the run had and for its other level.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vel2.arch.nesting import Kind, Level
from vel2.explain.instruction import Access as Executed
from vel2.explain.instruction import fate_at_vel2
from vel2.report.summary import Access, Summary

__all__ = ("Reason", "function_reasons", "markdown", "saved")

NO_TRAP = "no trap"
BY_CLASS = {
    "ERET": "HCR_EL2.NV: an ERET at vEL2 enters a guest or returns, and only L0 can do it",
    "SMC": "HCR_EL2.TSC: a call to firmware, such as PSCI, is L0's to pass on",
    "hypercall": "an HVC at vEL2 is an exception to vEL2 itself, which L0 delivers",
    "IRQ": "HCR_EL2.IMO: interrupts come to L0, which gives them to L1",
    "data abort": "stage 2: memory of L1 that is not mapped yet, or a device that L0 emulates",
    "instruction abort": "stage 2: memory of L1 that is not mapped yet",
    "FP": "CPTR_EL2: floating point, until L0 gives it away",
}


@dataclass(frozen=True)
class Reason:
    """What one function of L1 trapped on.

    :ivar with_nv2, with_nv: whether it traps with FEAT_NV2, and with FEAT_NV alone; None where that
        does not depend on it.
    """

    function: str
    cause: str
    count: int
    why: str
    with_nv2: bool | None = None
    with_nv: bool | None = None


def reason_of(access: Access, count: int, kind: Kind, level: Level) -> Reason:
    """Say why something traps."""
    if not access.is_access:
        why = BY_CLASS.get(access.cause, "an exception that L0 takes for L1")
        return Reason(access.function, access.cause, count, why)
    executed = Executed(access.key, access.is_read, 0)
    fates = {each: fate_at_vel2(executed, kind, each) for each in Level}
    why = fates[level]
    if why.startswith(NO_TRAP):
        why = "a control that L0 sets at times: a live timer or interrupt controller, or a debugger"
    return Reason(
        access.function,
        access.cause,
        count,
        why.removeprefix("traps: "),
        not fates[Level.NV2].startswith(NO_TRAP),
        not fates[Level.NV].startswith(NO_TRAP),
    )


def function_reasons(
    summary: Summary, kind: Kind, level: Level, limit: int = 12
) -> Iterator[tuple[str, int, list[Reason]]]:
    """Give L1's functions at vEL2 with most traps, and what each traps on, most first."""
    totals: Counter[str] = Counter()
    accesses: defaultdict[str, list[tuple[Access, int]]] = defaultdict(list)
    for access, count in summary.l1.items():
        totals[access.function] += count
        accesses[access.function].append((access, count))
    for function, total in sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:limit]:
        found = sorted(accesses[function], key=lambda item: (-item[1], item[0].cause))
        yield function, total, [reason_of(access, count, kind, level) for access, count in found]


def saved(summary: Summary, kind: Kind) -> tuple[int, int]:
    """Count L1's traps at vEL2, and those of them that FEAT_NV2 makes go away."""
    gone = total = 0
    for access, count in summary.l1.items():
        total += count
        if reason_of(access, count, kind, Level.NV).with_nv2 is False:
            gone += count
    return total, gone


INTRODUCTION = """\
# Why L1 traps

This page is about one run: {what}. `vel2 trace report TRACE --markdown FILE` wrote it from
the run's trace. It answers three questions: which function of L1 traps most, why each trap is
taken, and what FEAT_NV2 makes of it.

L1 trapped {total:,} times at virtual EL2. `{function}` traps most: {count:,} times, {cause_count:,}
of them on `{cause}`. {saving}

*with FEAT_NV2* says what becomes of the same instruction where L0 has FEAT_NV2. *no trap* means
that hardware makes it an access to memory, or to a register of EL1.

"""


def markdown(
    summary: Summary, run: Mapping[str, Any], kind: Kind, level: Level, *, limit: int = 12
) -> str:
    """Write the answers as a page.

    :param run: what ran, as a trace has it. :param limit: how many functions.
    """
    total, gone = saved(summary, kind)
    found = list(function_reasons(summary, kind, level, limit))
    if not found:
        return "# Why L1 traps\n\nL1 did not trap at virtual EL2.\n"
    function, count, [first, *_] = found[0]
    share = f"{gone:,} of all traps ({gone / total:.0%})"
    saving = (
        f"FEAT_NV2 would have saved {share}."
        if level is Level.NV
        else "The run had FEAT_NV2: what is here is what it leaves."
    )
    what = f"`{run.get('command', 'a guest')}`, at {kind.value.upper()} with FEAT_{level.name}"
    text = INTRODUCTION.format(
        what=what,
        total=total,
        function=function,
        count=count,
        cause=first.cause,
        cause_count=first.count,
        saving=saving,
    )
    lines = [
        "| function of L1 | traps | on | times | why | with FEAT_NV2 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, times, reasons in found:
        lines += _rows(name, times, reasons)
    return text + "\n".join(lines) + "\n"


def _rows(function: str, count: int, reasons: Sequence[Reason], most: int = 4) -> Iterator[str]:
    first = (f"`{function}`", f"{count:,}")
    for reason in reasons[:most]:
        yield _row(*first, f"`{reason.cause}`", f"{reason.count:,}", reason.why, with_nv2(reason))
        first = ("", "")
    if rest := reasons[most:]:
        yield _row("", "", f"{len(rest)} others", f"{sum(r.count for r in rest):,}", "", "")


def with_nv2(reason: Reason) -> str:
    """Say what FEAT_NV2 makes of it."""
    if reason.with_nv2 is None:
        return "the same"
    return "traps" if reason.with_nv2 else "no trap"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"

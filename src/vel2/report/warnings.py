"""What is unusual in a run, and what it may mean."""

from collections.abc import Iterator
from dataclasses import dataclass

from vel2.report.summary import BINS, Summary
from vel2.trace.recording import Recording

__all__ = ("Warning", "warnings_of")

STORM_TIMES = 8
"""A bin of the time line with so many times the mean is a storm,"""
STORM_LEAST = 1000
"""if it has so many traps."""
REFILLS = 16
"""Fills of one page from here on."""
LONG_EXIT_NS = 10_000_000
SLOW_L0 = 0.5
"""L0's part of the time from here on."""
NEVER_NORMAL = {
    "UNKNOWN": "an UNDEFINED instruction at virtual EL2 or vEL1: software that asks for a feature"
    " which the identification registers do not show",
    "SError": "an asynchronous abort: of a device, or injected",
    "SERROR": "an asynchronous abort: of a device, or injected",
    "ILLEGAL_STATE": "an illegal exception return: SPSR_EL2 had a mode that is not there",
    "PC_ALIGN": "a branch to an address that is no instruction's",
    "SP_ALIGN": "a stack pointer that is not aligned",
    "DABT_SAME": "an abort at EL2's own level",
}


@dataclass(frozen=True)
class Warning:
    """One observation, and its explanation."""

    what: str
    why: str


def warnings_of(trace: Recording, summary: Summary) -> list[Warning]:
    """List everything unusual."""
    return [
        *_incomplete(trace),
        *_storms(summary),
        *_classes(summary),
        *_exits(summary),
        *_pages(summary),
        *_share(summary),
    ]


def _incomplete(trace: Recording) -> Iterator[Warning]:
    if trace.caveat:
        yield Warning(
            f"The trace is not complete: {trace.caveat}.",
            "Counts on this page are too small. Filter events, or run on a machine with less to"
            " do.",
        )
    if trace.about.filters:
        yield Warning(
            f"The trace was filtered: {', '.join(trace.about.filters)}.",
            "Only what the filters let through is on this page; exits may be cut.",
        )


def _storms(summary: Summary) -> Iterator[Warning]:
    mean = sum(summary.rate) / BINS
    for number, count in enumerate(summary.rate):
        if count >= STORM_LEAST and count > STORM_TIMES * mean:
            at = number * summary.duration / BINS / 1e9
            length = summary.duration / BINS / 1e6
            yield Warning(
                f"A storm: {count:,} traps within {length:.1f} ms, {at:.3f} s after the start.",
                f"That is {count / mean:.0f} times the mean rate. The trace's events of that time"
                " say which function it was.",
            )


def _classes(summary: Summary) -> Iterator[Warning]:
    for (name, level), tally in sorted(summary.classes.items()):
        if name in NEVER_NORMAL:
            yield Warning(
                f"{tally.count:,} traps of class {name} from {level}.", NEVER_NORMAL[name]
            )


def _exits(summary: Summary) -> Iterator[Warning]:
    for cause, times in sorted(summary.exits.items()):
        if times.longest >= LONG_EXIT_NS and cause != "WFI":
            yield Warning(
                f"An exit by {cause} took {times.longest / 1e6:.1f} ms.",
                "L1 did something else before it entered its guest again: it scheduled, waited for"
                " a lock or a device, or its VMM was slow. Ask the table exits for it.",
            )


def _pages(summary: Summary) -> Iterator[Warning]:
    for (vmid, ipa), count in summary.pages.most_common(3):
        if count >= REFILLS:
            yield Warning(
                f"Page {ipa:#x} of VMID {vmid} was put into the shadow {count:,} times.",
                "L1 unmaps it again and again (dirty logging, swapping, or a TLBI of all), or more"
                " guests run than L0 keeps shadows for.",
            )


def _share(summary: Summary) -> Iterator[Warning]:
    busy = sum(summary.time_of(level) for level in ("L0", "L1", "L2"))
    if busy and summary.time_of("L0") > SLOW_L0 * busy:
        yield Warning(
            f"L0 had {summary.time_of('L0') / busy:.0%} of the time.",
            "Recording every event costs L0 time, too; a filter makes it less.",
        )

"""Run many hostile programs: seed after seed, in every combination, until enough have run.

Programs are independent, so several run at once. The first seed alone decides which programs run;
the host's speed decides only how many.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from vel2.arch.nesting import Kind, Level
from vel2.check.hostile.machine import End, Ended, Rig, Where
from vel2.check.hostile.program import make_program
from vel2.check.limits import BURSTS_OF_A_PROGRAM

__all__ = ("COMBINATIONS", "Campaign", "Totals", "result_tree", "run_campaign")

COMBINATIONS = tuple(
    Where(el2, nv, recursion) for el2 in Kind for nv in Level for recursion in (False, True)
)


@dataclass(frozen=True)
class Campaign:
    """What to run.

    :ivar seed: of the first program; the next ones count up from it.
    :ivar events, seconds, programs: when to stop, whatever comes first; None is no limit. Time does
        not keep a combination from its first program.
    :ivar bursts: how many bursts of each program.
    :ivar only: one burst alone.
    """

    seed: int
    combinations: Sequence[Where] = COMBINATIONS
    events: int | None = None
    seconds: float | None = None
    programs: int | None = None
    bursts: int = BURSTS_OF_A_PROGRAM
    only: int | None = None
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    deterministic: bool = False


@dataclass
class Totals:
    """What a combination, or all of them, showed."""

    programs: int = 0
    events: int = 0
    exceptions: int = 0
    traps: int = 0
    ends: Counter[End] = field(default_factory=Counter)

    def add(self, ended: Ended) -> None:
        """Count one program."""
        self.programs += 1
        self.events += ended.events
        self.exceptions += ended.exceptions
        self.traps += ended.traps
        self.ends[ended.end] += 1

    @property
    def failures(self) -> int:
        """How many programs failed because of L0."""
        return sum(number for end, number in self.ends.items() if end.is_failure)


def run_campaign(campaign: Campaign) -> Iterator[Ended]:
    """Run programs, and yield how each ended."""
    rigs = [Rig(where, campaign.deterministic) for where in campaign.combinations]
    began = time.monotonic()
    events = begun = 0
    work = todo(campaign, rigs)
    with ThreadPoolExecutor(campaign.jobs) as pool:
        running: set[Future[Ended]] = set()
        try:
            while True:
                late = campaign.seconds is not None and time.monotonic() - began > campaign.seconds
                late = late and begun >= len(rigs)
                enough = campaign.events is not None and events >= campaign.events
                while len(running) < campaign.jobs and not late and not enough:
                    task = next(work, None)
                    if task is None:
                        break
                    running.add(pool.submit(task))
                    begun += 1
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    ended = each.result()
                    events += ended.events
                    yield ended
        finally:
            for each in running:
                each.cancel()


def todo(campaign: Campaign, rigs: Sequence[Rig]) -> Iterator[Callable[[], Ended]]:
    """Yield the work: one program in one combination after the other."""
    for number in count() if campaign.programs is None else range(campaign.programs):
        for rig in rigs:
            yield partial(run_one, campaign, rig, campaign.seed + number)


def run_one(campaign: Campaign, rig: Rig, seed: int) -> Ended:
    """Make one program and run it."""
    program = make_program(seed, rig.where.el2, rig.places, recursion=rig.where.recursion)
    if campaign.only is not None:
        return rig.run(program, campaign.only, campaign.only)
    return rig.run(program, 0, campaign.bursts - 1)


def result_tree(
    campaign: Campaign, totals: dict[str, Totals], failures: Sequence[Ended]
) -> dict[str, object]:
    """Give what a campaign showed, as JSON takes it."""
    return {
        "seed": campaign.seed,
        "combinations": {
            name: {
                "programs": each.programs,
                "events": each.events,
                "exceptions": each.exceptions,
                "traps": each.traps,
                "ends": {end.name.lower(): number for end, number in each.ends.items()},
            }
            for name, each in totals.items()
        },
        "failures": [
            {
                "seed": each.seed,
                "combination": str(each.where),
                "burst": each.burst,
                "end": each.end.name.lower(),
                "detail": each.detail,
                "replay": each.replay,
            }
            for each in failures
        ],
    }

"""Profiles of a campaign, and each as a tree for JSON."""

from collections import Counter
from collections.abc import Mapping

from vel2.arch.esr import describe_esr
from vel2.bench.campaign import Campaign, Result, Runs
from vel2.bench.configuration import Configuration
from vel2.bench.measure import MicroRequest
from vel2.bench.payload import Payload
from vel2.bench.profile import Profile, Run, profile, trap_kind
from vel2.bench.result import Tree

__all__ = ("profile_operations", "profile_tree", "traps_by_kind")


def profile_operations(
    campaign: Campaign, payload: Payload
) -> tuple[Result, list[tuple[Configuration, Profile]]]:
    """Profile the payload's operations in each configuration; give the profiles besides."""

    def once(row: Configuration, counts: bool) -> Mapping[str, Profile]:
        return profile(MicroRequest(row, campaign.kernel, payload, counts, campaign.timeout))

    def column(runs: Runs[Mapping[str, Profile]]) -> Tree:
        operations = {name: profile_tree(each) for name, each in runs.first.items()}
        return {"error": None, "operations": operations}

    found = campaign.measure(once)
    profiles = [
        (row, each)
        for row in campaign.configurations
        if (counted := found[row.name].counted) is not None
        for each in counted.values()
    ]
    return campaign.result(found, column), profiles


def traps_by_kind(profile: Profile) -> list[tuple[str, str, int, int]]:
    """List kind of trap, who was interrupted, how often, and L0's instructions; most first."""
    times: Counter[tuple[str, str]] = Counter()
    instructions: Counter[tuple[str, str]] = Counter()
    for who, run in profile.traps:
        key = trap_kind(run.taken), who
        times[key] += 1
        instructions[key] += len(run.pcs)
    return [(*key, times[key], n) for key, n in instructions.most_common()]


def profile_tree(profile: Profile) -> Tree:
    """Give all of it. Every list of counts adds up to `instructions`, that of lines to L0's."""
    return {
        "instructions": profile.levels.total(),
        "idle_ticks": profile.idle,
        "timed_round_per_op": round(profile.figures.ticks_per_op, 3),
        "levels": dict(profile.levels.most_common()),
        "functions": [
            {"level": level, "function": name, "instructions": count}
            for (level, name), count in profile.functions.most_common()
        ],
        "l0_lines": dict(profile.lines.most_common()),
        "traps": [
            {"kind": kind, "from": who, "times": times, "instructions": count}
            for kind, who, times, count in traps_by_kind(profile)
        ],
        "runs": [run_tree(run) for run in profile.runs],
    }


def run_tree(run: Run) -> Tree:
    """Give what ran without a change of level or EL."""
    taken = run.taken
    return {
        "who": run.who,
        "began_with": trap_kind(taken),
        "syndrome": None if taken is None or taken.esr is None else describe_esr(taken.esr),
        "instructions": len(run.pcs),
        "functions": dict(run.functions.most_common()),
        "system": dict(run.system.most_common()),
    }

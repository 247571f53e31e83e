"""All scenes and all broken variants, several at once, and what came of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from vel2.check.interleave.play import Scene
from vel2.check.interleave.rules import RULES, Variant
from vel2.check.interleave.run import RUNS_AT_MOST, Result, run_scene, run_variant
from vel2.check.interleave.scenes import SCENES, scene_named

__all__ = ("Judged", "judge", "result_tree", "variant_named")


@dataclass(frozen=True)
class Judged:
    """One scene, or one broken variant of the code in its scene.

    :ivar variant: the variant's name, or "" for the code as it is.
    """

    scene: str
    variant: str
    result: Result

    @property
    def is_well(self) -> bool:
        """Whether all was explored and holds; of a variant, whether it was found, as it should."""
        fault = self.result.explored.fault
        if not self.variant:
            return fault is None and self.result.explored.is_complete
        return fault is not None and variant_named(self.variant).finds in fault.what

    @property
    def sentence(self) -> str:
        """Say what was found."""
        explored = self.result.explored
        if explored.fault is not None:
            return explored.fault.what
        if not explored.is_complete:
            return f"not complete after {RUNS_AT_MOST:,} runs"
        return ""


def variant_named(name: str) -> Variant:
    """Find a broken variant."""
    return next(variant for rule in RULES for variant in rule.variants if variant.name == name)


def judge_one(scene: str, variant: str) -> Judged:
    """Run one scene in every order; that is what a worker does."""
    if variant:
        return Judged(scene, variant, run_variant(variant_named(variant)))
    return Judged(scene, variant, run_scene(scene_named(scene)))


def judge(scenes: Sequence[Scene] = SCENES, jobs: int | None = None) -> Iterator[Judged]:
    """Run scenes, and the broken variants that are to be found in them; yield what is ready.

    :param jobs: how many at once; one for each CPU if None.
    """
    names = {scene.name for scene in scenes}
    # What takes longest is begun first.
    work = [(scene.name, "") for scene in sorted(scenes, key=lambda scene: scene.short)]
    for rule in RULES:
        work += [(each.scene, each.name) for each in rule.variants if each.scene in names]
    with ProcessPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        running = [pool.submit(judge_one, *each) for each in work]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def result_tree(judged: Sequence[Judged]) -> dict[str, Any]:
    """Make the JSON result."""
    scenes = [each for each in judged if not each.variant]
    variants = {each.variant: each for each in judged if each.variant}
    return {
        "runs_at_most": RUNS_AT_MOST,
        "interleavings": sum(each.result.explored.interleavings for each in scenes),
        "scenes": [
            {
                "name": each.scene,
                "what": scene_named(each.scene).what,
                "interleavings": each.result.explored.interleavings,
                "cut_short": each.result.explored.cut_short,
                "steps": each.result.explored.steps,
                "shared_words": each.result.explored.shared,
                "complete": each.result.explored.is_complete,
                "seconds": round(each.result.seconds, 3),
                "fault": each.sentence or None,
                "story": list(each.result.story),
            }
            for each in scenes
        ],
        "rules": [
            {
                "name": rule.name,
                "what": rule.what,
                "variants": [
                    {
                        "name": variant.name,
                        "what": variant.what,
                        "scene": variant.scene,
                        "caught": variants[variant.name].is_well,
                        "finding": variants[variant.name].sentence or None,
                        "story": list(variants[variant.name].result.story),
                    }
                    for variant in rule.variants
                    if variant.name in variants
                ],
            }
            for rule in RULES
        ],
    }

"""Interleavings: L0 on two and three pcpus at once, in every order.

A *scene* (`scenes`, `power_scenes`) gives each pcpu a short program of what L1 and its guests do.
L0 is the resident functions themselves, run by CPython on a simulated machine whose pcpus take
turns at every access to shared memory (`machine`). `explore` makes a run for every order of
conflicting accesses, and `order` looks for accesses that nothing orders. What hardware may have
walked at any time is in `tlb`; what has to hold is asked by `board`. `rules` says which rules of
the protocol this shows, and has for each of them variants of the code without it (`seeded`), which
have to be found. `story` tells a run that breaks a rule; `campaign` does it all.
"""

from vel2.check.interleave.campaign import Judged, judge, result_tree, variant_named
from vel2.check.interleave.play import Scene
from vel2.check.interleave.rules import RULES, Rule, Variant
from vel2.check.interleave.run import Result, run_scene, run_variant
from vel2.check.interleave.scenes import SCENES, scene_named

__all__ = (
    "RULES",
    "SCENES",
    "Judged",
    "Result",
    "Rule",
    "Scene",
    "Variant",
    "judge",
    "result_tree",
    "run_scene",
    "run_variant",
    "scene_named",
    "variant_named",
)

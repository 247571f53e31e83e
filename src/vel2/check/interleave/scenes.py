"""The scenes: who does what at the same time, and where they begin.

A scene gives each pcpu a short program of what L1 and its guests do. Everything of L0 that follows
from it is run by the resident functions themselves. What a program says with `Board.uses`,
`forbids` and `finish` is what has to hold whatever the order.
"""

from __future__ import annotations

from vel2.check.interleave.context_scenes import CONTEXT_SCENES
from vel2.check.interleave.fill_scenes import FILL_SCENES
from vel2.check.interleave.gic_scenes import GIC_SCENES
from vel2.check.interleave.lock_scenes import LOCK_SCENES
from vel2.check.interleave.play import Scene
from vel2.check.interleave.power_scenes import POWER_SCENES
from vel2.check.interleave.regime_scenes import REGIME_SCENES
from vel2.check.interleave.window_scenes import WINDOW_SCENES

__all__ = ("SCENES", "scene_named")

SCENES = (
    *POWER_SCENES,
    *WINDOW_SCENES,
    *REGIME_SCENES,
    *GIC_SCENES,
    *LOCK_SCENES,
    *FILL_SCENES,
    *CONTEXT_SCENES,
)


def scene_named(name: str) -> Scene:
    """Find a scene."""
    return next(scene for scene in SCENES if scene.name == name)

"""Hostile programs: a seeded fuzz of L0 from every place that a guest can stand in.

One bare-metal program runs as L1 (`harness`). The host makes thousands of *bursts* for it
(`program`): words that are executed at virtual EL2, at EL1 or EL0 of an L2, at AArch32 EL0, or at
EL0 of a VHE host, with registers, tables of both stages and controls that somebody means harm by
(`words`, `values`, `tables`, `encodings`). What the program gets in return is its own affair. What
L0 does is the host's: it must not stop, not hang, and have nothing changed (`machine`).
`campaign` runs seed after seed in the four combinations, `minimise` makes a failure small.
"""

from vel2.check.hostile.campaign import COMBINATIONS, Campaign, Totals, result_tree, run_campaign
from vel2.check.hostile.machine import End, Ended, Rig, Where
from vel2.check.hostile.minimise import describe, minimise
from vel2.check.hostile.program import make_program

__all__ = (
    "COMBINATIONS",
    "Campaign",
    "End",
    "Ended",
    "Rig",
    "Totals",
    "Where",
    "describe",
    "make_program",
    "minimise",
    "result_tree",
    "run_campaign",
)

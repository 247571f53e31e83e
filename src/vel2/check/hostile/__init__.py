"""Hostile programs: a seeded fuzz of L0 from every level that a guest can run at.

One bare-metal program runs as L1 (`harness`). The host generates thousands of *bursts* for it
(`program`): instructions to be executed at virtual EL2, at EL1 or EL0 of an L2, at EL0 in AArch32,
or at EL0 of a VHE host. Registers, tables of both stages and controls are chosen to do harm
(`words`, `values`, `tables`, `encodings`). What becomes of the program does not matter. What
becomes of L0 does: it must not stop, hang or be changed (`machine`). `campaign` runs seed after
seed in the four combinations; `minimise` reduces a failure.
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

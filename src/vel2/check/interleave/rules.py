"""The rules of the protocol, and what breaks each: the source of the table in docs/stage2.md.

Each rule has at least one *broken variant*: resident functions with the rule taken out of them. A
checker that did not find it in the scene named would show nothing when it finds no fault in L0 as
it is.
"""

from __future__ import annotations

from vel2.check.interleave.context_rules import CONTEXT_RULES
from vel2.check.interleave.fill_rules import FILL_RULES
from vel2.check.interleave.gic_rules import GIC_RULES
from vel2.check.interleave.guest_rules import GUEST_RULES
from vel2.check.interleave.power_rules import POWER_RULES
from vel2.check.interleave.rule import Rule, Variant
from vel2.check.interleave.window_rules import WINDOW_RULES

__all__ = ("RULES", "Rule", "Variant")

RULES = (*FILL_RULES, *CONTEXT_RULES, *GUEST_RULES, *WINDOW_RULES, *GIC_RULES, *POWER_RULES)

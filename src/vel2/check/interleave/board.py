"""A small machine for scenes: L0's state, L1's tables, and what L1 and its guests do.

Nothing of L0 is imitated: what L0 does is `vel2.hyp`. What the guests do is the checker's: a
guest's access is translated by all that `Tlbs` says its pcpu may hold, and held to what L1 allows.
Each module adds a part: `ground` has where things are, `stage` runs on it, `invariants` says what
has to hold, `guests` and `hypervisor` act, `firmware` turns CPUs on and off.
"""

from __future__ import annotations

from vel2.check.interleave import names
from vel2.check.interleave.firmware import Firmware
from vel2.check.interleave.ground import AF, IPAS, L1_VTCR_HA, RAM_BASE, VTCR
from vel2.check.interleave.guests import ALLOWED_WORD

__all__ = ("AF", "ALLOWED_WORD", "IPAS", "L1_VTCR_HA", "RAM_BASE", "VTCR", "Board")


class Board(Firmware):
    """See the module's text."""

    def name(self, word: int) -> str:
        """Name a word of memory."""
        return names.name_of(self, word)

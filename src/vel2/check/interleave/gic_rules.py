"""Rules of the GIC that L0 mediates."""

from __future__ import annotations

from vel2.check.interleave.rule import Rule, Variant, edit
from vel2.hyp import its_commands, its_submit, mmio

__all__ = ("GIC_RULES",)

GIC_RULES = (
    Rule(
        "gic",
        "An access to a register that L0 emulates is answered under one hold of `Gic.lock`; a "
        "command of L1's is read once, and L1 reads that it is done when hardware has done it.",
        (
            Variant(
                "commands-unlocked",
                "accesses are answered without the lock",
                "its-queue",
                "wrong",
                (edit(mmio.access, ("    acquire(lock)\n", ""), ("    release(lock)\n", "")),),
            ),
            Variant(
                "properties-unlocked",
                "redistributors are accessed without the lock",
                "lpi-enable",
                "no order",
                (
                    edit(
                        mmio.access,
                        ("    acquire(lock)", "    if frame == ITS:\n        acquire(lock)"),
                        ("    release(lock)", "    if frame == ITS:\n        release(lock)"),
                    ),
                ),
            ),
            Variant(
                "command-read-again",
                "what hardware is told is read from L1's queue once more",
                "its-command",
                "wrong",
                (
                    edit(
                        its_commands.map_event,
                        (
                            "second = u64(event | ITS_DW1.pINTID.put(intid))",
                            "from vel2.arch.gicv3 import GITS_CBASER\n"
                            "    from vel2.lang import load_u64\n"
                            "    queue = gic.cbaser & GITS_CBASER.Physical_Address.mask\n"
                            "    second = load_u64(PA(queue + gic.creadr + 8))",
                        ),
                    ),
                ),
            ),
            Variant(
                "done-not-asked",
                "a command counts as done when hardware has it",
                "its-slow",
                "wrong",
                (edit(its_submit.is_done, ("return False", "return True")),),
            ),
        ),
    ),
)

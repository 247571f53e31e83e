"""Rules of filling a shadow and taking leaves out of it, and what breaks each."""

from __future__ import annotations

from vel2.check.interleave.rule import UNLOCKED, Rule, Variant, edit
from vel2.hyp import abort, pool, stage1, stage2, tlbi

__all__ = ("FILL_RULES",)

FILL_RULES = (
    Rule(
        "one-lock",
        "L1's tables are walked and the leaf is added under one hold of the lock.",
        (
            Variant(
                "fill-unlocked",
                "a fault is resolved without the lock",
                "fill-tlbi",
                "stale",
                (edit(abort.stage2_fault, *UNLOCKED),),
            ),
            Variant(
                "fill-in-two-holds",
                "the lock is given back between the walk and the fill",
                "fill-tlbi",
                "stale",
                (
                    edit(
                        abort.resolve,
                        (
                            "    if shadow.fill(",
                            "    release(vm.stage2.lock)\n    acquire(vm.stage2.lock)\n"
                            "    if shadow.fill(",
                        ),
                    ),
                ),
            ),
            Variant(
                "walk-unlocked",
                "what AT needs is filled without the lock",
                "walk-tlbi",
                "stale",
                (edit(stage1.reach_entry, *UNLOCKED),),
            ),
            Variant(
                "tlbi-unlocked",
                "a TLBI takes leaves out without the lock",
                "fill-tlbi",
                "stale",
                (
                    edit(tlbi.unmap_ipa, UNLOCKED[0]),
                    edit(
                        tlbi.unmap_from,
                        (
                            "            release(vm.stage2.lock)\n"
                            "            acquire(vm.stage2.lock)\n"
                            "    release(vm.stage2.lock)",
                            "            pass",
                        ),
                    ),
                ),
            ),
            Variant(
                "fills-unlocked",
                "two pcpus fill one context at once",
                "fill-fill",
                "no break before make",
                (edit(abort.stage2_fault, *UNLOCKED),),
            ),
        ),
    ),
    Rule(
        "unmap",
        "An entry is cleared, that is waited for (DSB), its VMID is invalidated on all pcpus, and "
        "that is waited for (DSB), before the lock is given back.",
        (
            Variant(
                "tlbi-local",
                "the TLBI is for this pcpu alone",
                "run-tlbi",
                "stale",
                (edit(pool.flush, ("TLBI.VMALLS12E1IS", "TLBI.VMALLS12E1")),),
            ),
            Variant(
                "tlbi-before-dsb",
                "no DSB between the store and the TLBI",
                "run-tlbi",
                "stale",
                (edit(pool.flush, ('pcpus."""\n    dsb_ish()', 'pcpus."""')),),
            ),
            Variant(
                "tlbi-not-waited-for",
                "no DSB behind the TLBI",
                "run-tlbi",
                "stale",
                (
                    edit(
                        pool.flush,
                        ("VMALLS12E1IS)\n    dsb_ish()", "VMALLS12E1IS)"),
                    ),
                ),
            ),
            Variant(
                "unmap-without-tlbi",
                "the leaf is taken out, and no TLBI follows",
                "run-tlbi",
                "stale",
                (edit(tlbi.unmap_from, ("pool.flush(context)", "pass")),),
            ),
            Variant(
                "part-not-flushed",
                "the lock is given back between two parts of a range before the TLBI",
                "range-in-parts",
                "stale",
                (
                    edit(
                        tlbi.unmap_from,
                        ("        if context.unflushed != 0:", "        if False:"),
                    ),
                ),
            ),
            Variant(
                "flush-of-another-vmid",
                "the TLBI is run under the VMID that was loaded",
                "run-tlbi",
                "stale",
                (
                    edit(
                        pool.flush,
                        (
                            "msr(sr.VTTBR_EL2, context.vttbr)",
                            "pass",
                        ),
                    ),
                ),
            ),
        ),
    ),
    Rule(
        "break-before-make",
        "A valid entry is cleared and its VMID invalidated before another one is made there.",
        (
            Variant(
                "leaf-over-leaf",
                "a leaf is stored over another",
                "replace-leaf",
                "no break before make",
                (edit(stage2.map_leaf, ("store_u64(slot, 0)\n        pool.flush(owner)", "pass")),),
            ),
            Variant(
                "leaf-not-flushed",
                "the leaf is cleared, but not invalidated",
                "replace-leaf",
                "no break before make",
                (edit(stage2.map_leaf, ("pool.flush(owner)", "pass")),),
            ),
            Variant(
                "table-over-block",
                "a table is stored over a block",
                "replace-block",
                "no break before make",
                (
                    edit(
                        stage2.table_at,
                        ("store_u64(slot, 0)\n                pool.flush(owner)", "pass"),
                    ),
                ),
            ),
        ),
    ),
)

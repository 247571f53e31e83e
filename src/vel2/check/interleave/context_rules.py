"""Rules of the pool, and of contexts that change hands."""

from __future__ import annotations

from vel2.check.interleave.rule import UNLOCKED, Rule, Variant, edit
from vel2.hyp import pool, power, shadow, stage2

__all__ = ("CONTEXT_RULES",)

CONTEXT_RULES = (
    Rule(
        "table-before-link",
        "A table is cleared, and that is waited for (DSB), before an entry leads to it.",
        (
            Variant(
                "link-before-dsb",
                "no DSB between the clearing and the link",
                "evict",
                "stale",
                (edit(stage2.table_at, ("dsb_ish()", "pass")),),
            ),
            Variant(
                "table-not-cleared",
                "a page is linked as it comes from the pool",
                "evict",
                "not its context's",
                (edit(pool.take, ("zero_page(page)", "pass")),),
            ),
        ),
    ),
    Rule(
        "page-after-tlbi",
        "A page goes back to the pool only when no pcpu can walk it any more.",
        (
            Variant(
                "given-back-first",
                "the pages are given back, and the TLBI follows",
                "evict",
                "not its context's",
                (
                    edit(
                        pool.empty,
                        (
                            "flush(context)\n        give_back_all(vm, context)",
                            "give_back_all(vm, context)\n        flush(context)",
                        ),
                    ),
                ),
            ),
            Variant(
                "evicted-without-tlbi",
                "the pages are given back, and no TLBI follows",
                "evict",
                "stale",
                (edit(pool.empty, ("flush(context)\n        give_back_all", "give_back_all")),),
            ),
            Variant(
                "root-keeps-its-tables",
                "the pages are given back with the root still leading to them",
                "evict",
                "stale",
                (edit(pool.empty, ("zero_page(PA(context.root + (i << PAGE_SHIFT)))", "pass")),),
            ),
        ),
    ),
    Rule(
        "held",
        "A context that `Vcpu.shadow` names is given to nobody else; it is written under the lock.",
        (
            Variant(
                "given-away",
                "a context is drawn whoever runs it",
                "held",
                "stale",
                (edit(shadow.draw, ("not is_held(vm, vm.stage2.shadows[number])", "True")),),
            ),
            Variant(
                "named-too-late",
                "`Vcpu.shadow` is written when the lock is given back",
                "held-3",
                "no order",
                (
                    edit(
                        shadow.select,
                        (
                            "vcpu.shadow = address_of(vm.stage2.shadows[claim("
                            "vm, off, vttbr, vtcr)])",
                            "mine = address_of(vm.stage2.shadows[claim(vm, off, vttbr, vtcr)])",
                        ),
                        ("at(Stage2, vcpu.shadow).last_use", "at(Stage2, mine).last_use"),
                        ("at(Stage2, vcpu.shadow).dirty", "at(Stage2, mine).dirty"),
                        (
                            "release(vm.stage2.lock)",
                            "release(vm.stage2.lock)\n        vcpu.shadow = mine",
                        ),
                    ),
                ),
            ),
            Variant(
                "claimed-unlocked",
                "a context is looked for without the lock",
                "reassign",
                "stale",
                (edit(shadow.select, *UNLOCKED),),
            ),
            Variant(
                "given-up-unlocked",
                "a CPU that goes off gives its context up without the lock",
                "off-held",
                "no order",
                (edit(power.turn_off, *UNLOCKED),),
            ),
        ),
    ),
    Rule(
        "vmid-reuse",
        "A context that changes hands is emptied, and its VMID invalidated, first.",
        (
            Variant(
                "not-emptied",
                "the new guest finds the old one's tables",
                "reuse-vmid",
                "stale",
                (edit(shadow.claim, ("pool.empty(vm, context)", "pass")),),
            ),
            Variant(
                "vmid-not-invalidated",
                "the new guest finds the old one's TLB entries",
                "reuse-vmid",
                "stale",
                (edit(pool.empty, ("flush(context)\n        give_back_all", "give_back_all")),),
            ),
        ),
    ),
    Rule(
        "dirty",
        "That a TLB may hold something of a context is seen by all (DSB) before hardware walks it.",
        (
            Variant(
                "dirty-not-waited-for",
                "no DSB behind the store that says so",
                "never-run",
                "stale",
                (
                    edit(
                        shadow.select, ("context.dirty = 1\n        dsb_ish()", "context.dirty = 1")
                    ),
                ),
            ),
            Variant(
                "dirty-not-said",
                "a context that was clean is entered as if it stayed so",
                "never-run",
                "stale",
                (edit(shadow.select, ("context.dirty = 1", "pass")),),
            ),
        ),
    ),
)

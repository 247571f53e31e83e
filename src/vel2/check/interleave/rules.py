"""The rules of the protocol, and what breaks each: the source of the table in docs/stage2.md.

Each rule has at least one *broken variant*: resident functions with the rule taken out of them. A
checker that did not find it in the scene named would show nothing when it finds no fault in L0 as
it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from vel2.check.interleave.seeded import Edit
from vel2.hyp import abort, fallible, lock, pool, power, shadow, stage1, stage2, tlbi, walk

__all__ = ("RULES", "Rule", "Variant")


@dataclass(frozen=True)
class Variant:
    """A rule taken out of the code.

    :ivar what: what is missing.
    :ivar scene: where it is found.
    :ivar finds: a word of the sentence that says what goes wrong.
    """

    name: str
    what: str
    scene: str
    finds: str
    edits: tuple[Edit, ...]

    @property
    def is_of_order(self) -> bool:
        """Whether only the search for accesses without an order can find it."""
        return self.finds == "no order"


@dataclass(frozen=True)
class Rule:
    """What holds whatever the order."""

    name: str
    what: str
    variants: tuple[Variant, ...]


def edit(function: object, *changes: tuple[str, str]) -> Edit:
    """Change a function."""
    assert callable(function)
    return Edit(function, changes)


UNLOCKED = (("acquire(vm.stage2.lock)", "pass"), ("release(vm.stage2.lock)", "pass"))

RULES = (
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
    Rule(
        "el1-names",
        "A TLBI by EL1's name is run under the VMID of every context of the guest, without the "
        "lock; whose a context is, is seen by all (DSB) before its guest runs.",
        (
            Variant(
                "claim-not-waited-for",
                "no DSB behind the stores that give a context to a guest",
                "el1-names",
                "stale",
                (edit(shadow.select, ("        dsb_ish()\n        release(", "        release(")),),
            ),
            Variant(
                "el1-tlbi-not-waited-for",
                "no DSB behind the TLBI",
                "el1-names",
                "stale",
                (edit(tlbi.run_for_guest, ("            dsb_ish()\n", "")),),
            ),
            Variant(
                "el1-tlbi-of-another-vmid",
                "the TLBI is run under the VMID that was loaded",
                "el1-names",
                "stale",
                (edit(tlbi.run_for_guest, ("msr(sr.VTTBR_EL2, context.vttbr)", "pass")),),
            ),
        ),
    ),
    Rule(
        "access-flag",
        "The access flag is set in the very leaf that was read (CAS); if that has changed, the "
        "walk begins again.",
        (
            Variant(
                "stored",
                "the flag is stored, not exchanged",
                "access-flag",
                "stale",
                (
                    edit(
                        fallible.try_exchange,
                        (
                            "walk.entry = compare_exchange_u64(address, expected, value)",
                            "from vel2.lang import store_u64\n"
                            "        walk.entry = load_u64(address)\n"
                            "        if walk.entry == expected:\n"
                            "            store_u64(address, value)",
                        ),
                    ),
                ),
            ),
            Variant(
                "not-looked-at",
                "the leaf is used even if the exchange failed",
                "access-flag-clear",
                "stale",
                (edit(walk.set_access_flag, ("result.fsc = CHANGED", "pass")),),
            ),
        ),
    ),
    Rule(
        "one-on",
        "Who changes `Power.state` from OFF to PENDING turns the CPU on; nobody else does.",
        (
            Variant(
                "on-by-load-and-store",
                "the state is read, and then written",
                "on-on",
                "starts at",
                (
                    edit(
                        power.turn_on,
                        (
                            "before = compare_exchange_u64(state_of(other), OFF, PENDING)",
                            "before = other.power.state\n    if before == OFF:\n"
                            "        other.power.state = PENDING",
                        ),
                    ),
                ),
            ),
            Variant(
                "entry-before-state",
                "the entry is written before the CPU is ours",
                "on-on",
                "starts at",
                (
                    edit(
                        power.turn_on,
                        (
                            "before = compare_exchange_u64",
                            "other.power.entry_pc = entry\n    before = compare_exchange_u64",
                        ),
                    ),
                ),
            ),
            Variant(
                "pending-kept",
                "a CPU_ON that the firmware refuses leaves the state PENDING",
                "on-off",
                "PSCI",
                (edit(power.turn_on, ("store_release_u64(state_of(other), OFF)", "pass")),),
            ),
            Variant(
                "off-said-too-late",
                "a CPU says that it is off when it cannot any more",
                "on-off",
                "PSCI",
                (edit(power.turn_off, ("store_release_u64(state_of(vcpu), OFF)", "pass")),),
            ),
        ),
    ),
    Rule(
        "last-stays",
        "The last CPU is not turned off: the count says who it is.",
        (
            Variant(
                "counted-by-load-and-store",
                "the count is read, and then written",
                "off-off",
                "CPUs",
                (
                    edit(
                        power.turn_off,
                        (
                            "if count_online(vm, MINUS_ONE) == 1:\n        count_online(vm, 1)\n",
                            "online = vm.online\n    vm.online = online - 1\n"
                            "    if online == 1:\n        count_online(vm, 1)\n",
                        ),
                    ),
                ),
            ),
        ),
    ),
    Rule(
        "alone",
        "L1's own TLBIs go untrapped only while one CPU is online.",
        (
            Variant(
                "not-watched-again",
                "CPU_ON leaves the caller's TLBIs untrapped",
                "alone",
                "not seen",
                (edit(power.turn_on, ("watch_tlbis(vcpu)", "pass")),),
            ),
            Variant(
                "in-company",
                "TLBIs go untrapped however many are online",
                "alone",
                "not seen",
                (edit(tlbi.note_own, (" and vm_of(vcpu).online == 1", "")),),
            ),
        ),
    ),
    Rule(
        "lock",
        "The lock is a ticket lock: taken by one atomic add, waited for by a load with acquire, "
        "given back by a store with release.",
        (
            Variant(
                "ticket-by-load-and-store",
                "the ticket is read, and then written",
                "lock",
                "deadlock",
                (
                    edit(
                        lock.acquire,
                        (
                            "ticket = fetch_add_u64(PA(base + NEXT), 1)",
                            "ticket = lock.next\n    lock.next = ticket + 1",
                        ),
                    ),
                ),
            ),
            Variant(
                "not-waited-for",
                "whoever has a ticket goes on",
                "lock",
                "the lock",
                (
                    edit(
                        lock.acquire,
                        ("while load_acquire_u64(PA(base + SERVED)) != ticket", "while False"),
                    ),
                ),
            ),
            Variant(
                "plain-release",
                "the lock is given back by a plain store",
                "lock",
                "no order",
                (
                    edit(
                        lock.release,
                        (
                            "store_release_u64(PA(address_of(lock) + SERVED), served)",
                            "lock.served = served",
                        ),
                    ),
                ),
            ),
            Variant(
                "plain-wait",
                "the lock is waited for by plain loads",
                "lock",
                "no order",
                (edit(lock.acquire, ("load_acquire_u64(PA(base + SERVED))", "lock.served")),),
            ),
        ),
    ),
)

"""Rules of CPUs that go on and off, and of the lock."""

from __future__ import annotations

from vel2.check.interleave.rule import Rule, Variant, edit
from vel2.hyp import lock, power, tlbi

__all__ = ("POWER_RULES",)

POWER_RULES = (
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
                            "if count_online(vm, U64_MAX) == 1:\n        count_online(vm, 1)\n",
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
        "L1's own TLBIs go untrapped only while the firmware says of all other CPUs that they are "
        "off.",
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
                (edit(tlbi.note_own, ("if power.is_alone(vcpu):", "if True:")),),
            ),
            Variant(
                "firmware-not-asked",
                "the count alone says who is online",
                "off-denied",
                "not seen",
                (edit(power.is_alone, ("if state != AFFINITY_OFF:", "if False:")),),
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

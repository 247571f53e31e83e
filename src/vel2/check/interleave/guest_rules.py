"""Rules of what a guest's own tables and names have to do with L0."""

from __future__ import annotations

from vel2.check.interleave.rule import Rule, Variant, edit
from vel2.hyp import fallible, shadow, tlbi, walk

__all__ = ("GUEST_RULES",)

GUEST_RULES = (
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
)

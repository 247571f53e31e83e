"""Rules of L1's own VNCR pages, and of E2H that changes on one CPU."""

from __future__ import annotations

from vel2.check.interleave.rule import Rule, Variant, edit
from vel2.hyp import hcr, vhe, vncr

__all__ = ("WINDOW_RULES",)

WINDOW_RULES = (
    Rule(
        "window",
        "L1's VNCR page is found (AT) and shown under one hold of `Vm.vncr_lock`; a TLBI of L1's "
        "regime empties the windows of all other pcpus under it, and is waited for (DSB) first.",
        (
            Variant(
                "found-unlocked",
                "the page is found and shown without the lock",
                "window-fill",
                "stale",
                (
                    edit(
                        vncr.refill,
                        ("acquire(vm.vncr_lock)", "pass"),
                        ("release(vm.vncr_lock)", "pass"),
                    ),
                ),
            ),
            Variant(
                "found-before-the-lock",
                "the page is found, and then the lock taken",
                "window-fill",
                "stale",
                (
                    edit(
                        vncr.refill,
                        (
                            "acquire(vm.vncr_lock)\n    leaf = find(vcpu, is_write)",
                            "leaf = find(vcpu, is_write)\n    acquire(vm.vncr_lock)",
                        ),
                    ),
                ),
            ),
            Variant(
                "windows-not-emptied",
                "a TLBI of L1's regime leaves the windows",
                "window-run",
                "stale",
                (edit(vncr.invalidate, ("i != vcpu.index and", "False and")),),
            ),
            Variant(
                "windows-emptied-too-late",
                "the lock is given back before the TLBIs are waited for",
                "window-fill",
                "stale",
                (
                    edit(
                        vncr.invalidate,
                        (
                            "dsb_ish()\n    release(vm.vncr_lock)",
                            "release(vm.vncr_lock)",
                        ),
                    ),
                ),
            ),
            Variant(
                "window-tlbi-local",
                "the window's TLBI is for this pcpu alone",
                "window-run",
                "stale",
                (edit(vncr.unmap, ("TLBI.VAE2IS", "TLBI.VAE2")),),
            ),
            Variant(
                "window-of-another",
                "the TLBI is for this pcpu's own window",
                "window-run",
                "stale",
                (edit(vncr.unmap, ("window_of(index) >>", "window_of(u64(index ^ 1)) >>")),),
            ),
            Variant(
                "window-tlbi-before-dsb",
                "no DSB between the store and the window's TLBI",
                "window-run",
                "stale",
                (edit(vncr.unmap, ("    dsb_ish()\n", "")),),
            ),
        ),
    ),
    Rule(
        "e2h",
        "What a TLBI of L1 means is asked of the E2H that its CPU has now; a CPU that changes it "
        "leaves nothing of the other regime in its TLB, and waits for that (DSB).",
        (
            Variant(
                "e2h-not-asked",
                "whoever has set TGE counts as a host",
                "e2h-guest",
                "stale",
                (edit(hcr.is_vhe_host, ("vcpu.e2h != 0 and ", "")),),
            ),
            Variant(
                "regime-not-forgotten",
                "the TLB is left as it is when E2H changes",
                "e2h-regimes",
                "stale",
                (edit(vhe.forget_regime, ("sysop(TLBI.VMALLE1)", "pass")),),
            ),
            Variant(
                "regime-not-waited-for",
                "no DSB behind that TLBI",
                "e2h-regimes",
                "stale",
                (edit(vhe.forget_regime, ("dsb_ish()", "pass")),),
            ),
        ),
    ),
)

"""Stress: small guests with two vCPUs come and go while L1 moves their memory.

A shadow stage 2 that L0 does not take back in time shows a guest a page that is another's by now.
So each guest (`guest`) keeps writing patterns that name it, the page and the round, and its vCPUs
check each other's. L1's side (`program`) replaces what is behind the guest's addresses, by the
guest's leave and without: balloon, memory slots that change places, copy-on-write by fork, merging
and splitting. `campaign` runs eight of them in L1, with compaction, KSM and huge pages at work, and
sees that L0's pool and contexts come back to what they were.
"""

from vel2.check.stress.campaign import Stress, StressResult, run_stress

__all__ = ("Stress", "StressResult", "run_stress")

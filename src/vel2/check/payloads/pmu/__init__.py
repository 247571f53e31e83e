"""Payload `pmu`: PMUv3 at EL2 and in L2."""

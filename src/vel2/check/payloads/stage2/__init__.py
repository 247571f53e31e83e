"""Payload `stage2`: L2's stage-2 faults and TLBI."""

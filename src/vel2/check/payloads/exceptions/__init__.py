"""Payload `exceptions`: exceptions to EL2, exception returns and traps of L2."""

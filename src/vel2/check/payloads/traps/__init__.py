"""Payload `traps`: every access of L2 by every trap control of EL2."""

"""Payload `pointers`: pointer authentication at EL2."""

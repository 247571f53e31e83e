"""Payload `features`: what an identification register does not show is UNDEFINED."""

"""Payload `survival`: what a guest may do to make L0 hang or fall."""

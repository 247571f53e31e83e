"""Payload `isolation`: L1 tries to reach memory that is not its own."""

"""Room `guests`."""

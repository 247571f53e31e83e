"""Room `arch`."""

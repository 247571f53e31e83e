"""Room `check`."""

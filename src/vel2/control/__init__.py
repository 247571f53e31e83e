"""Room `control`."""

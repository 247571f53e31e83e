"""Room `trace`."""

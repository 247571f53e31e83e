"""Room `machine`."""

"""Room `bench`."""

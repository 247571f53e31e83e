"""Room `hyp`."""

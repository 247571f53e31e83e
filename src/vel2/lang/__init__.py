"""Room `lang`."""

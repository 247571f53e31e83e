"""vel2: a nested hypervisor for Armv8-A, written in Python."""

__version__ = "0.2.0.dev0"

"""What the command line has to know of the checks before it runs one."""

__all__ = ("BURSTS_OF_A_PROGRAM",)

BURSTS_OF_A_PROGRAM = 640
"""Of a hostile program."""

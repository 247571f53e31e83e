"""How much of each part every thread does."""

__all__ = ("ADDITIONS", "MAX_CPUS", "REMAPS", "ROUNDS", "SLICE", "SUM_SHIFT")

MAX_CPUS = 8
SLICE = 50_000
"""Numbers that each thread mixes and sums up."""
ROUNDS = 500
"""How often the token goes round, by each kind of wake-up."""
ADDITIONS = 2_000
"""How often each thread adds to the shared counts."""
REMAPS = 200
"""How often the first thread puts another page to the address that all others read."""
SUM_SHIFT = 8
"""The sum is shown without its lowest bits: a marker's integer has at most 18 digits."""

"""Time limits of tests. One that is reached means failure, so none is tight.

`make test` uses all cores, and a machine has other users: at a load of 10 on two cores, what takes
seconds alone takes a minute.
"""

from __future__ import annotations

LIMIT_S = 300.0
"""For one thing that a test waits for; pytest's own limit for a test is twice that."""

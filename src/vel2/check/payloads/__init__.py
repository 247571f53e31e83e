"""Payloads: small bare-metal guest hypervisors, each of which checks one part of the machine.

A payload runs as L1 at virtual EL2, or at a machine's real EL2, from the same image, and says on
the console what it saw:

    ok NAME [SUBJECT]
    not ok NAME [SUBJECT] FIELD got=0x... want=0x...
    saw NAME FIELD=0x... ...
    note NAME FIELD=0x...
    done CHECKS failed FAILURES

then it powers the machine off by PSCI. `saw` lines are for comparing two machines, `note` lines
are not. The code is in
the subset of `vel2.lang`, with a little assembly (`assembly`). Nothing here needs a host at run
time, and nothing may depend on being under vel2.
"""

from vel2.check.payloads.build import PAYLOADS, build_payload
from vel2.check.payloads.differences import (
    DECLARED,
    DEEPER,
    Difference,
    Unlike,
    declared,
    is_about_the_machine,
    is_unlike,
    undeclared,
)
from vel2.check.payloads.runner import Report, run_at_real_el2, run_at_virtual_el2

__all__ = (
    "DECLARED",
    "DEEPER",
    "PAYLOADS",
    "Difference",
    "Report",
    "Unlike",
    "build_payload",
    "declared",
    "is_about_the_machine",
    "is_unlike",
    "run_at_real_el2",
    "run_at_virtual_el2",
    "undeclared",
)

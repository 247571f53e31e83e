"""What `probe` keeps, in the `Vm` and for each pcpu; it has the protocol."""

from vel2.lang import Struct, array, scalar, u64

__all__ = ("NOWHERE", "REQUESTS", "SITES", "ProbeRequest", "Probes", "Probing")

SITES = 2
"""Where probes are called: when a trap begins, and when it ends."""
NOWHERE = SITES
"""The site of a request that only brings code."""
REQUESTS = 64


class ProbeRequest(Struct):
    """A change that the host asks for: code to bring, and what a site calls from then on."""

    offset = scalar(u64)
    """Where the code is, in `PROBE_STAGING` and, when it is done, in `PROBE_CODE`."""
    length = scalar(u64)
    """In bytes; 0 if there is none to copy."""
    site = scalar(u64)
    """Below `SITES`, or `NOWHERE`."""
    entry = scalar(u64)
    """The address to call; 0 for none."""


class Probes(Struct):
    """What is called at traps besides L0's own handlers (`probe`, which has the protocol)."""

    posted = scalar(u64)
    """How many requests there were. The host writes it, behind the request."""
    taken = scalar(u64)
    """How many of these a pcpu has begun with, one at a time."""
    done = scalar(u64)
    """How many are done."""
    refused = scalar(u64)
    """How many of these were none: a mistake of the host's."""
    requests = array(ProbeRequest, REQUESTS)
    """[number % `REQUESTS`]. The host writes those that are not posted yet."""
    entries = array(u64, SITES)
    """What each site calls, for a pcpu to take over (`Probing.entries`)."""


class Probing(Struct):
    """One pcpu's part in it."""

    busy = scalar(u64)
    """Not 0 while a probe may be running, or is about to. The pcpu writes it."""
    pending = scalar(u64)
    """Not 0 if there is something new. The host sets it, and the pcpu clears it."""
    entries = array(u64, SITES)
    """What this pcpu calls at each site, or 0. It alone uses them."""

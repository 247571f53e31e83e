"""What the threads share, in one mapping."""

from vel2.guests.parallel.work import MAX_CPUS
from vel2.lang import Struct, array, scalar, u32, u64


class Worker(Struct):
    """One thread."""

    state = scalar(u64)
    """Address of the `State`."""
    number = scalar(u64)
    """Its number, and that of its CPU."""
    sum_ = scalar(u64)
    token = scalar(u64)
    """Where it reads the token from its pipe."""
    pipe = array(u32, 2)
    """The ends of its pipe: for itself, and for the thread before it."""
    affinity = scalar(u64)
    """A `cpu_set_t`."""
    cpu = scalar(u64)
    """What getcpu writes to."""


class State(Struct):
    """One run."""

    cpus = scalar(u64)
    level = scalar(u64)
    """Address of what the names of markers begin with."""
    arrived = scalar(u64)
    """How many threads have come to the end of a part, in all parts so far."""
    turn = scalar(u64)
    """The token of the futex ring: how many turns there were."""
    token = scalar(u64)
    """The token of the pipe ring, at its end."""
    atomic = scalar(u64)
    lock = scalar(u64)
    locked = scalar(u64)
    page = scalar(u64)
    """Address of the page that is replaced again and again."""
    remapped = scalar(u64)
    """How often it has been, with the new page's number written to it."""
    stale = scalar(u64)
    """How often a thread read a page that had been replaced before."""
    elsewhere = scalar(u64)
    """How often a thread was not on its CPU."""
    workers = array(Worker, MAX_CPUS)

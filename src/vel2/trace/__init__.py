"""Room `trace`: what L0 tells of what it does, event by event.

What lives here: the schema of an event (`schema`), which is the only description of it, and what
reads, writes, filters and prints events. L0 is the producer: `hyp` takes the places of the columns
from here. What must not live here: a machine, or the structures of L0, so that a trace is read
where neither is. Imports `arch`; `hyp` and every room after it may import it.
"""

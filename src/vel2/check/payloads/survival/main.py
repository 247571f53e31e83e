"""Payload `survival`: what a guest may do to make L0 hang or fall, and must not.

The architecture has an answer to every attempt, though no sane hypervisor asks: tables that lead
back to themselves, sizes out of range, tables where nothing answers, somebody else's rights, loops
without an end. The answers are `saw` lines, which must be the same at real EL2. Half of the test is
that the payload reaches its end. The other half is the host's, which examines L0 afterwards.
"""

from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.checks import finish
from vel2.check.payloads.library.guest import reset_guest
from vel2.check.payloads.survival import ahead, running, walks
from vel2.lang import resident


@resident
def survival_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    reset_guest()
    walks.guest_walks(state, parameters)
    running.guest_accesses(state, parameters)
    walks.maintenance(state, parameters)
    walks.tables_in_flash(state)
    walks.tables_in_a_device(state)
    if parameters.forgets == 0:
        walks.without_tables(state, parameters)
    ahead.what_follows_a_trap(state, parameters)
    finish(state)

"""Room `check`: what shows that vel2 does what the architecture says.

What lives here: payloads (small guest hypervisors run at real and at virtual EL2), proofs, and
equivalence runs. What must not: anything the hypervisor needs to run. Only `cli` may import it.
"""

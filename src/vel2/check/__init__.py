"""Room `check`: evidence that vel2 does what the architecture says.

It holds the payloads (small guest hypervisors that run at real and at virtual EL2), the guest
matrix, hostile programs, the interleavings of several pcpus, and the checks of L0's integrity.
Nothing that the hypervisor needs to run may live here. Only `cli` may import it.
"""

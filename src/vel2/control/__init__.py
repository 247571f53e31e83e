"""Room `control`: the host's side of a VM.

What lives here: what to run (`request`, and `guest` with a class for each kind of guest); the
launcher, which makes a machine of that with vel2 below the guest (`vm`) or without; the views of
L0's state in shared memory. What must not: anything resident, anything of the command line. Imports
`hyp`, `machine` and below. `check`, `bench` and `cli` import it.
"""

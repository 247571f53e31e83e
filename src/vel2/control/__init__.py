"""Room `control`: the host's side of a VM.

What lives here: `Vm`, which puts L0, L1's images and the memory map into a machine and runs it, and
the views of L0's state in shared memory. What must not: anything resident, anything of the command
line. Imports `hyp`, `machine` and below. `check`, `bench` and `cli` import it.
"""

"""Room `hyp`: the hypervisor itself, resident at real EL2.

What lives here: contexts, trap dispatch, system register emulation, exceptions and ERET, stage 2,
AT and TLBI, the GIC, timers, PSCI, and start-up, all in the subset of `vel2.lang`. What must not:
host I/O, QEMU, anything that is not compiled or does not describe what is compiled. Imports `arch`
and `lang`. `control`, `check` and `bench` import it.
"""

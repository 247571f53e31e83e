"""Facts of the Arm ARM as data that checks itself when it is imported.

Here live: registers and their fields (`sysregs`), system instructions (`insn`), syndromes
(`esr`), PSTATE (`pstate`), translation descriptors and granules (`descriptors`), the page of
FEAT_NV2 (`vncr`), how EL2 looks to a guest (`nesting`) and trap controls (`controls`, whose rows
are in `trap_rows`). Names and spelling are Arm's.

Here must not live: state, I/O, decisions about guests, anything of vel2's own layout in memory.

Imports nothing of ours. Every room may import it; resident code uses the fields and encodings
as compile-time constants.
"""

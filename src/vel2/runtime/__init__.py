"""Room `runtime`: what a program stands on when there is nothing below it, or only Linux.

Here lives what every freestanding program of ours shares, written in the subset and in assembly:
start-up, exception vectors, consoles, reading and printing numbers, PSCI, semihosting, the system
calls of Linux, and the two ways to build such a program: `bare.build_bare` for bare metal, at EL1
or EL2, and `process.build_process` for a static Linux program. What a program does with it lives
with the program, and so do the addresses of its board's devices. Nothing of L0 lives here: `hyp`
has its own start-up and no console. This room imports `arch` and `lang`; `guests`, `control`,
`check` and `bench` may import it.
"""

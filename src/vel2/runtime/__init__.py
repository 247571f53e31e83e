"""Room `runtime`: what a program needs when nothing is below it but hardware, or Linux.

It holds what all our freestanding programs share, written in the subset and in assembly: start-up,
exception vectors, consoles, numbers as text, PSCI, semihosting, Linux's system calls, and two ways
to build a program: `bare.build_bare` for bare metal at EL1 or EL2, and `process.build_process` for
a static Linux program. What a program does stays with the program, and so do the addresses of its
board's devices. L0 does not use this room: it has its own start-up and no console. `runtime`
imports `arch` and `lang`; `guests`, `control`, `check` and `bench` may import it.
"""

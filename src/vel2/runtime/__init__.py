"""Room `runtime`: what a program stands on when there is nothing below it, or only Linux.

Here lives what every freestanding program of ours shares, in the subset and in assembly. What a
program does with it lives with the program. This room imports `arch` and `lang`; `guests`,
`control`, `check` and `bench` may import it.
"""

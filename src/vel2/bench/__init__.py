"""Room `bench`: what nesting costs, counted.

This room has the bare-metal L2 that does one kind of operation at a time (`payload`, in the
subset), the Linux programs of the macro benchmarks and of the growth curves, the runs that measure
them in each configuration, and published figures to compare with. Tables for people and options
belong to the command line. It imports `control` and below; `cli` imports it.
"""

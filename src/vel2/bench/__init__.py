"""Room `bench`: what nesting costs, counted.

Lives here: the bare-metal L2 that does one kind of operation at a time (`payload`, in the subset),
the runs that measure it in each configuration, and the figures to compare with. Must not live here:
tables for people and options, which are the command line's. Imports `control` and below; `cli`
imports it.
"""

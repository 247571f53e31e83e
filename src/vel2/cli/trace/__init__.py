"""`vel2 trace`: a command for each thing that is done with a trace.

`group` joins them, `options` has what they share. What a trace is, and what its tables are, is the
affair of the room `trace`.
"""

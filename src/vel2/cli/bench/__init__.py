"""`vel2 bench`: a command for each kind of measurement.

`group` joins them, `options` has what they share, `tables` what they print with. What is measured,
in which order, and how it compares is the affair of the room `bench`.
"""

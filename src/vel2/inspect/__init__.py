"""Room `inspect`: the public library, and the only door into a running machine.

What lives here: `boot` and the objects that it gives (`vm`, `vcpu`), registers and memory as each
level sees them (`registers`, `memory`, `walk`), and what runs a machine to a point (`running`).
What must not: a launcher (`control` has it), a table of facts (`arch` has them), or a second
account of where L0 keeps a value: L0's own code is asked (`frozen`). Imports `control`, `explain`
and below; `cli` and the package itself import it.
"""

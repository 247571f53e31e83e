"""Room `pack`: vel2 and its guest in one file, which any boot loader can start.

What lives here: the file (`file`), its format (`manifest`), the loader at its start, written in the
subset (`loader`, `tree`, `start`), and the guest that has a vel2 of its own below it (`nested`).
What must not: anything of L0's own work, which is `hyp`'s, or of what L0 is told, which is
`control`'s and the same for a machine that vel2 starts itself. It imports the rooms below it;
`check` and `cli` may import it.
"""
